"""Any sample of a page can be drawn by its name."""

from __future__ import annotations

import pytest

from bench.metrics.page_data import NamedSeries
from bench.server_metrics.by_name import UnknownName, named_series
from bench.server_metrics.exposition import Page
from bench.server_metrics.scrapes import Scrape, ScrapeLines, read_scrapes

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
        NamedSeries(name="level", rising=False, values=[2.0, 4.0, None]),
        NamedSeries(name="x_total", rising=True, values=[10.0, 10.0, None]),
    ]


def test_a_name_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName) as raised:
        named_series(SCRAPES, ["levels"], [0.0], 1.0, 0)
    assert (raised.value.name, raised.value.near) == ("levels", ("level",))


def scrape(at: int, page: int = 0, **values: float) -> Scrape:
    return Scrape(t_ns=at * S, asked_ns=at * S, page=page, values=values)


def test_pages_are_added_up_where_they_were_asked_around_the_middle_of_a_step() -> None:
    scrapes = [scrape(0, level=2.0), scrape(0, 1, level=10.0), scrape(4, level=6.0), scrape(8, 1, level=10.0)]
    (found,) = named_series(scrapes, ["level"], [0.0, 3.0, 5.0, 8.0], 2.0, 0)
    assert found.values == [13.0, 16.0, 10.0, None]


@pytest.mark.parametrize("name", ["x_total", "x_sum", "x_count", "x_bucket"])
def test_what_rises_is_per_second_also_of_longer_steps_and_over_a_restart(name: str) -> None:
    scrapes = [scrape(at, 0, **{name: value}) for at, value in ((0, 100.0), (2, 110.0), (4, 4.0), (6, 4.0))]
    (found,) = named_series(scrapes, [name], [0.0, 2.0, 4.0], 2.0, 0)
    assert (found.rising, found.values) == (True, [5.0, 2.0, 0.0])


@pytest.mark.parametrize(
    ("name", "kind", "rising"),
    [
        ("x_count", "gauge", False),
        ("x_success", "counter", True),
        ("x_count", "unknown", True),
        ("x", "unknown", False),
    ],
)
def test_the_type_that_a_page_declares_decides_what_rises(name: str, kind: str, rising: bool) -> None:
    """Triton's nv_inference_pending_request_count is a gauge, its nv_inference_request_success a counter."""
    lines = ScrapeLines(0, "http://h")
    rows = [lines.line(at * S, at * S, Page({name: value}, {name: kind})) for at, value in ((0, 9.0), (2, 3.0))]
    (found,) = named_series(read_scrapes(rows), [name], [0.0], 2.0, 0)
    assert (found.rising, found.values) == (rising, [1.5] if rising else [6.0])


def test_what_rises_is_counted_for_each_set_of_labels() -> None:
    rows = ({'x_total{e="0"}': 100.0, 'x_total{e="1"}': 50.0}, {'x_total{e="0"}': 160.0, 'x_total{e="1"}': 4.0})
    scrapes = [
        Scrape(t_ns=at * S, asked_ns=at * S, page=0, values=values) for at, values in zip((0, 2), rows, strict=True)
    ]
    (found,) = named_series(scrapes, ["x_total"], [0.0], 2.0, 0)
    assert found.values == [32.0]


def test_times_are_those_of_the_run() -> None:
    scrapes = [scrape(at, level=float(at)) for at in (10, 12, 14)]
    (found,) = named_series(scrapes, ["level"], [0.0, 2.5], 1.0, 10 * S)
    assert found.values == [10.5, 13.0]


def test_names_are_in_the_order_that_was_asked_for_and_up_to_three_near_ones_are_told() -> None:
    scrapes = [scrape(0, b=1.0, a=2.0, abcd_1=1.0, abcd_2=1.0, abcd_3=1.0, abcd_4=1.0), scrape(1, b=1.0, a=2.0)]
    assert [one.name for one in named_series(scrapes, ["b", "a"], [0.0], 1.0, 0)] == ["b", "a"]
    with pytest.raises(UnknownName) as raised:
        named_series(scrapes, ["a", "abcd_"], [0.0], 1.0, 0)
    assert len(raised.value.near) == 3
    with pytest.raises(UnknownName) as raised:
        named_series(scrapes, ["zzzzzz"], [0.0], 1.0, 0)
    assert raised.value.near == ()
