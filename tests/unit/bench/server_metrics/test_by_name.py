"""Any sample of a page can be drawn by its name."""

from __future__ import annotations

import pytest

from bench.server_metrics.by_name import NamedSeries, UnknownName, named_series
from bench.server_metrics.scrapes import Scrape

S = 1_000_000_000
SCRAPES = [
    Scrape(
        t_ns=at * S,
        asked_ns=at * S,
        page=0,
        values={'level{a="1"}': 2.0 * at, 'level{a="2"}': 1.0, "x_total": 10.0 * at},
    )
    for at in range(4)
]


def test_all_labels_are_together_and_what_rises_is_per_second() -> None:
    assert named_series(SCRAPES, ["level", "x_total"], [0.0, 1.0, 3.0], 1.0, 0) == [
        NamedSeries("level", False, [2.0, 4.0, None]),
        NamedSeries("x_total", True, [10.0, 10.0, None]),
    ]


def test_a_name_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName) as raised:
        named_series(SCRAPES, ["levels"], [0.0], 1.0, 0)
    assert (raised.value.name, raised.value.near) == ("levels", ("level",))
