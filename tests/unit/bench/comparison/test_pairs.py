"""Runs made in turn: their order, which are made and which are kept, and what is said of each."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import cli
from bench.comparison.pairs import _said, make_missing, order, refuse_other_loads, run_pairs
from bench.config import RunConfig, resolve
from bench.errors import Interrupted, UsageError
from bench.observer import Observer
from tests.support.made_gate import row


class Heard(Observer):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_pairs_are_there_and_back() -> None:
    assert list(order(2, 2)) == [(1, 0), (1, 1), (2, 1), (2, 0)]
    assert list(order(3, 1)) == [(1, 0), (1, 1), (1, 2)]


def test_settings_that_must_be_equal_are_all_named_unless_they_are_allowed() -> None:
    settings: list[dict[str, Any]] = [
        {"rate": 5.0, "seed": 1, "input_tokens": "7"},
        {"rate": 6.0, "seed": 2},
        {"rate": 5.0},
    ]
    with pytest.raises(UsageError) as caught:
        refuse_other_loads(settings, [])
    assert caught.value.problems == [
        "rate differs (5 against 6 against 5), so that the runs could not be compared: make it equal, or say --allow rate",
        "input_tokens differs (7 against not set against not set), so that the runs could not be compared: make it equal, "
        "or say --allow input_tokens",
    ]
    refuse_other_loads(settings, ["rate", "input_tokens"])
    refuse_other_loads([settings[0], settings[0]], [])


def told(latency: dict[str, Any], **throughput: Any) -> str:
    """What is said of a run with these numbers."""
    nothing = {key: row(0) for key in ("ttft_ms", "tpot_ms", "e2el_ms")}
    summary = {"latency": nothing | latency, "throughput": {"output_tokens_per_s": None, **throughput}}
    result: Any = SimpleNamespace(summary=summary, verdict=SimpleNamespace(status="VALID"))
    return _said(result)


def test_a_run_is_told_by_its_latencies_and_its_rate() -> None:
    latency = {"ttft_ms": row(9, p90=81.234), "tpot_ms": row(9, p50=5.0), "e2el_ms": row(9, p90=345.67)}
    assert told(latency, output_tokens_per_s=1234.5) == "VALID, TTFT p90 81.23 ms, TPOT p50 5 ms, 1234 tokens/s"
    del latency["tpot_ms"]
    assert told(latency, output_tokens_per_s=40.0) == "VALID, TTFT p90 81.23 ms, 40 tokens/s"
    assert told(latency, inputs_per_s=12.0) == "VALID, E2EL p90 345.7 ms, 12 inputs/s"
    assert told({}) == "VALID"


class MadeUp:
    """Runs of a side, of which those of the first pairs are finished; the one named `cut_off` is interrupted."""

    def __init__(self, made: list[tuple[str, str, int]], side: str, finished: int, cut_off: str = "") -> None:
        self._made, self._side, self._finished, self._cut_off = made, side, finished, cut_off

    def finished(self, name: str) -> Any:
        return self._result(name) if int(name) <= self._finished else None

    def run(self, name: str, config: RunConfig) -> Any:
        self._made.append((self._side, name, config.seed))
        return self._result(name)

    def _result(self, name: str) -> Any:
        nothing = {key: row(0) for key in ("ttft_ms", "tpot_ms", "e2el_ms")}
        summary = {"latency": nothing, "throughput": {"output_tokens_per_s": None}}
        return SimpleNamespace(
            summary=summary, verdict=SimpleNamespace(status="VALID"), interrupted=name == self._cut_off
        )


def test_the_runs_that_are_missing_are_made_in_turn_with_one_seed_a_pair() -> None:
    configs = [resolve({}, {"url": "http://a", "rate": 10.0, "requests": 2, "seed": seed}) for seed in (7, 20)]
    made: list[tuple[str, str, int]] = []
    heard = Heard()
    make_missing(configs, 3, [MadeUp(made, "A", 1), MadeUp(made, "B", 2)], heard)
    assert made == [("A", "2", 8), ("A", "3", 9), ("B", "3", 22)]
    assert heard.said == [
        "pair 1 of 3, A: VALID", "pair 1 of 3, B: VALID", "pair 2 of 3, B: VALID", "pair 2 of 3, A",
        "pair 2 of 3, A: VALID", "pair 3 of 3, A", "pair 3 of 3, A: VALID", "pair 3 of 3, B", "pair 3 of 3, B: VALID",
    ]  # fmt: skip


def test_an_interrupted_run_is_the_last_and_is_named() -> None:
    configs = [resolve({}, {"url": "http://a", "rate": 10.0, "requests": 2})] * 2
    made: list[tuple[str, str, int]] = []
    with pytest.raises(Interrupted, match=r"^interrupted in pair 1 of 2, B$"):
        make_missing(configs, 2, [MadeUp(made, "A", 0), MadeUp(made, "B", 0, cut_off="1")], Heard())
    assert made == [("A", "1", 0), ("B", "1", 0)]


def test_configurations_of_other_loads_are_refused_before_a_run(tmp_path: Path) -> None:
    configs = [resolve({}, {"url": "http://a", "rate": rate, "requests": 2}) for rate in (10.0, 20.0)]
    with pytest.raises(UsageError, match="rate differs"):
        run_pairs(configs, 1, tmp_path)
    assert run_pairs(configs, 0, tmp_path, allow=["rate"]) == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(("pairs", "taken"), [("1", False), ("2", True), ("100", True), ("101", False), ("x", False)])
def test_two_to_a_hundred_pairs_can_be_asked_for(
    pairs: str, taken: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    assert cli.main(["compare", "--run", *missing, "--pairs", pairs]) == 2
    refused = f"--pairs {pairs}: give a number from 2 to 100; one pair has no spread"
    assert (refused in capsys.readouterr().err) is not taken
