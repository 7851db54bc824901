"""Metamorphic checks: a correct report passes each, and each fails on reports with a planted defect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.accuracy import metamorphic
from bench.accuracy.metamorphic import (
    CHECKS,
    FIRST,
    LOAD,
    REQUESTS,
    STREAMS,
    TOKENS,
    CheckResult,
    ChecksResult,
    Observation,
    _output_tokens,
    chosen,
    expectations,
    load_of,
)
from bench.calibrate import measure
from bench.errors import Interrupted, UsageError
from bench.observer import SILENT
from bench.results.base import to_plain
from bench.results.summary import RunSummary
from tests.support.rendered import checks_text
from tests.support.results import filled


def report(ttft: float = 30.0, tpot: float = 6.0, *, tokens: int = TOKENS, failed: dict[str, int] | None = None,
           ttfo: float | None = None, gap: float | None = None) -> RunSummary:  # fmt: skip
    """The parts of a summary that the checks use."""
    e2el = ttft + (tokens - 1) * tpot
    values = {"ttft_ms": ttft, "tpot_ms": tpot, "itl_ms": tpot, "e2el_ms": e2el, "ttfo_ms": ttft if ttfo is None else ttfo,
              "chunk_gap_ms": tpot if gap is None else gap}  # fmt: skip
    failed = failed or {}
    content = {
        "latency": {metric: {"p50": value, "mean": value} for metric, value in values.items()},
        "counts": {"by_outcome": {"ok": REQUESTS - sum(failed.values()), **failed}},
        "throughput": {"duration_s": 2.0, "output_tokens_per_s": REQUESTS * tokens / 2.0},
        "load": {"plan": {"dispersion_sent": 4.0, "dispersion_ratio": 1.0, "sent_rps": 60.0, "planned_rps": 60.0}},
    }
    return filled(RunSummary, content)


RIGHT: dict[str, Observation] = {
    "fast": Observation(report()),
    "slow": Observation(report(300, 40, tokens=16)),
    "itl-doubled": Observation(report(tpot=12)),
    "refused": Observation(report(failed={"http_error": 8})),
    "error-in-stream": Observation(report(failed={"stream_error": 8})),
    "bursts": Observation(report()),
    "stream-interval": Observation(report(gap=24)),
    "reasoning": Observation(report(ttfo=90)),
    "slow-reader": Observation(report(), blocked_slow=900),
}


def failing(seen: dict[str, Observation]) -> set[str]:
    return {
        name for name, check in CHECKS.items() if not all(r.held for r in expectations(check, seen[name], seen[FIRST]))
    }


def test_right_reports_pass_every_check() -> None:
    assert RIGHT.keys() == CHECKS.keys()
    assert failing(RIGHT) == set()


Change = Callable[[dict[str, Any]], None]


def times(metrics: str, factor: float = 1.0, more: float = 0.0) -> Change:
    def change(summary: Any) -> None:
        for metric in metrics.split():
            row = summary["latency"][f"{metric}_ms"]
            row.update({stat: row[stat] * factor + more for stat in ("p50", "mean")})

    return change


def tpot_with_ttft(summary: Any) -> None:
    latency = summary["latency"]
    latency["tpot_ms"]["p50"] += latency["ttft_ms"]["p50"] / TOKENS


def failures_as_successes(summary: Any) -> None:
    summary["counts"]["by_outcome"] = {"ok": REQUESTS}


def failures_in_the_latencies(summary: Any) -> None:
    share = 1 - summary["counts"]["by_outcome"]["ok"] / REQUESTS
    summary["latency"]["ttft_ms"]["p50"] *= 1 - share


def chunks_as_tokens(summary: Any) -> None:
    summary["latency"]["itl_ms"]["mean"] = summary["latency"]["chunk_gap_ms"]["mean"]


def chunk_count(summary: Any) -> None:
    gap, tpot = (summary["latency"][f"{m}_ms"]["p50"] for m in ("chunk_gap", "tpot"))
    summary["throughput"]["output_tokens_per_s"] *= tpot / gap


def reasoning_ignored(summary: Any) -> None:
    summary["latency"]["ttft_ms"] = summary["latency"]["ttfo_ms"]


def reasoning_as_output(summary: Any) -> None:
    summary["latency"]["ttfo_ms"] = summary["latency"]["ttft_ms"]


def plan(key: str, value: float) -> Change:
    def change(summary: Any) -> None:
        summary["load"]["plan"][key] = value

    return change


PLANTED: list[tuple[str, Change, set[str]]] = [
    ("scaled by 1.05", times("ttft tpot itl e2el ttfo chunk_gap", 1.05), {"fast", "slow"}),
    ("0.6 ms more on every time", times("ttft tpot itl e2el ttfo chunk_gap", more=0.6), {"fast", "itl-doubled"}),
    ("TTFT 5 ms late", times("ttft", more=5), {"fast"}),
    ("TPOT that includes TTFT", tpot_with_ttft, {"fast", "slow", "itl-doubled", "stream-interval"}),
    ("ITL that never changes", lambda s: s["latency"]["itl_ms"].update(mean=6.0), {"slow", "itl-doubled"}),
    ("failures scored as successes", failures_as_successes, {"refused", "error-in-stream"}),
    ("failures among the latencies", failures_in_the_latencies, {"refused", "error-in-stream"}),
    ("chunks taken for tokens in ITL", chunks_as_tokens, {"stream-interval"}),
    ("chunks counted as tokens", chunk_count, {"stream-interval"}),
    ("reasoning ignored", reasoning_ignored, {"reasoning"}),
    ("reasoning taken for output", reasoning_as_output, {"reasoning"}),
    ("bursts smoothed away", plan("dispersion_ratio", 0.3), {"bursts"}),
    ("no bursts drawn", plan("dispersion_sent", 1.0), {"bursts"}),
    ("a rate that is not the plan's", plan("sent_rps", 55.0), {"bursts"}),
]


@pytest.mark.parametrize(("defect", "change", "caught_by"), PLANTED, ids=[name for name, _, _ in PLANTED])
def test_a_planted_defect_fails_the_checks_that_are_for_it(defect: str, change: Change, caught_by: set[str]) -> None:
    wrong = {}
    for name, seen in RIGHT.items():
        summary = to_plain(seen.summary)
        change(summary)
        wrong[name] = Observation(filled(RunSummary, summary), seen.problems, seen.blocked_slow, seen.blocked)
    found = failing(wrong)
    assert caught_by <= found
    if defect not in ("scaled by 1.05", "0.6 ms more on every time", "TTFT 5 ms late", "TPOT that includes TTFT"):
        assert found == caught_by


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        (Observation(report(), blocked_slow=0), "slow-reader"),
        (Observation(report(), blocked_slow=9, blocked=1), "slow-reader"),
        (Observation(report(), ["a record without a line"]), "fast"),
    ],
    ids=["a slow reader that is not noticed", "another client marked too", "a disagreement with the ledger"],
)
def test_what_no_summary_tells_is_checked_too(wrong: Observation, caught_by: str) -> None:
    assert failing(RIGHT | {caught_by: wrong}) == {caught_by}


def test_the_first_check_is_always_among_the_chosen() -> None:
    assert list(chosen(["reasoning"])) == [FIRST, "reasoning"]
    assert list(chosen([])) == list(CHECKS)
    with pytest.raises(UsageError, match="--full nothing: it is one of fast, slow, "):
        chosen(["nothing"])


def test_a_load_is_the_common_one_but_for_what_a_check_changes() -> None:
    assert load_of(CHECKS["fast"], {"workers": "1"}) == LOAD | {"workers": "1"}
    bursts = load_of(CHECKS["bursts"], {})
    assert "concurrency" not in bursts
    assert (bursts["rate"], bursts["burstiness"]) == (60, 0.2)
    assert load_of(CHECKS["slow"], {})["requests"] == 2 * STREAMS


def result(seen: dict[str, Observation]) -> ChecksResult:
    checks = [
        CheckResult(name=n, says=c.says, mock=c.mock, rows=tuple(expectations(c, seen[n], seen[FIRST])), directory=n)
        for n, c in CHECKS.items()
    ]
    return ChecksResult(date="2026-01-02T03:04:05+00:00", version="0.1.0", host={}, checks=tuple(checks))


def test_the_table_says_what_does_not_hold() -> None:
    right = " ".join(checks_text(result(RIGHT)).split())
    assert right.startswith(f"What must follow when the mock changes: all {len(CHECKS)} checks hold. fast: ")
    refused = RIGHT | {"refused": Observation(report(failed={"http_error": 7}))}
    wrong = " ".join(checks_text(result(refused)).split())
    assert wrong.startswith("What must follow when the mock changes: refused: does not hold.")
    assert "outcomes 56 ok, 8 http_error 57 ok, 7 http_error DOES NOT HOLD" in wrong


def test_the_json_names_what_does_not_hold() -> None:
    found = result(RIGHT | {"refused": Observation(report(failed={"http_error": 7}))}).to_json()
    assert found["held"] is False
    assert [check["name"] for check in found["checks"] if not check["held"]] == ["refused"]
    (refused,) = [check for check in found["checks"] if check["name"] == "refused"]
    assert {
        "what": "outcomes", "expected": {"ok": 56, "http_error": 8}, "seen": {"ok": 57, "http_error": 7}, "held": False
    } in refused["rows"]  # fmt: skip


@pytest.mark.parametrize(
    ("throughput", "tokens"),
    [
        ({"duration_s": 2.0, "output_tokens_per_s": 100.4}, 201),
        ({"duration_s": None, "output_tokens_per_s": 100.0}, None),
        ({"duration_s": 2.0, "output_tokens_per_s": None}, None),
        ({"duration_s": None, "output_tokens_per_s": None}, None),
    ],
)
def test_the_output_tokens_of_a_run_are_its_rate_times_its_duration(throughput: Any, tokens: int | None) -> None:
    assert _output_tokens(Observation(filled(RunSummary, throughput=throughput))) == tokens


@pytest.mark.parametrize("ended", [0, 2])
def test_checks_that_are_interrupted_name_the_runs_that_are_kept(ended: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = iter([False] * ended + [True])
    interrupted = SimpleNamespace(path=Path("full/it"))
    monkeypatch.setattr(
        measure, "calibrate", lambda *_, **__: SimpleNamespace(interrupted=next(ways), directory=interrupted)
    )
    monkeypatch.setattr(measure, "_observation", lambda *_: None)
    monkeypatch.setattr(metamorphic, "expectations", lambda *_: [])
    with pytest.raises(Interrupted) as refused:
        measure.check_all(lambda *_: None, {}, [], Path("full"), command=[], observer=SILENT)  # type: ignore[arg-type]
    first, second, *_ = CHECKS
    kept = f". What ended is kept in full: {first}, {second} (python -m bench report full/{second} renders one again)"
    assert str(refused.value) == "interrupted: the checks are incomplete, and full.json is not written" + (
        kept if ended else ""
    )
