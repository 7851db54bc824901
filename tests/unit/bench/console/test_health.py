"""The console's warning about a client that begins to spoil the measurement."""

from __future__ import annotations

from typing import Any

import pytest

from bench.console.health import warnings_of
from bench.verdict.limits import Band, Limits

CALM: dict[str, Any] = {"loop_lag_ms": 0.1, "cpu": 0.1, "run_queue_share": 0.0}


def test_a_calm_client_is_no_news() -> None:
    assert warnings_of(CALM) == []


def test_the_slowest_of_several_workers_is_named() -> None:
    late = {**CALM, "loop_lag_ms": 812.0}
    assert warnings_of(late) == ["The client was up to 812 ms late in the last second: its machine is too busy."]
    (named,) = warnings_of({**late, "slowest": "worker 3 on node-b"})
    assert named == "Worker 3 on node-b was up to 812 ms late in the last second: its machine is too busy."


def test_each_number_has_a_sentence_of_its_own() -> None:
    found = warnings_of({**CALM, "cpu": 0.97, "run_queue_share": 0.31})
    assert [sentence.partition(":")[0] for sentence in found] == [
        "A sender uses 97% of a processor",
        "A sender waited 31% of the time for a processor",
    ]


@pytest.mark.parametrize(
    ("number", "of_it", "is_news"),
    [
        ("cpu", None, False),
        ("cpu", 0.9, False),
        ("cpu", 0.91, True),
        ("run_queue_share", None, False),
        ("run_queue_share", 0.05, False),
        ("run_queue_share", 0.06, True),
    ],
)
def test_a_share_is_news_above_its_limit_and_never_where_it_was_not_measured(
    number: str, of_it: float | None, is_news: bool
) -> None:
    limits = Limits(run_queue_wait=Band(suspect=0.05))
    assert bool(warnings_of({**CALM, number: of_it}, limits)) is is_news


@pytest.mark.parametrize(
    ("invalid", "lag_ms", "is_late"), [(10.0, 10.0, False), (10.0, 10.1, True), (None, 812.0, False), (0.0, 0.1, True)]
)
def test_a_lag_is_news_above_the_limit_of_the_run_and_never_where_no_lag_is_invalid(
    invalid: float | None, lag_ms: float, is_late: bool
) -> None:
    limits = Limits(loop_lag_p99_ms=Band(suspect=0.0, invalid=invalid))
    assert bool(warnings_of({**CALM, "loop_lag_ms": lag_ms}, limits)) is is_late
