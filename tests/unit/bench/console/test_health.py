"""What the console says of a client that begins to spoil the measurement."""

from __future__ import annotations

from typing import Any

from bench.console.health import warnings_of

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
