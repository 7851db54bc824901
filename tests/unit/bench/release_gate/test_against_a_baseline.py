"""Runs against a baseline, from its stored numbers: which are compared, the shown values, and the result."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec import structs

from bench.documents.comparison import interval_text, seen_text
from bench.documents.document import Level
from bench.documents.formatting import NOTHING
from bench.documents.gate_document import gate_document
from bench.errors import Exit
from bench.release_gate.document import result_of
from bench.release_gate.gate import Gate, Rules, against, lost_numbers, notes_on
from bench.report import text as report
from bench.results.baseline import BaselineRun
from bench.results.gate import GateLost, GateMetric, GateResult
from bench.statistics.gate import Metric as Judged
from bench.statistics.gate import Verdict, judge
from tests.support.made_gate import entry_with
from tests.support.results import filled

P50, P90, P99 = ({"ttft_ms": level, "tpot_ms": level / 10} for level in (100.0, 200.0, 400.0))


def entry(
    rng: np.random.Generator, spread: float, tail: float = 0.0, started: str = "2026-11-01T12:00:00+00:00"
) -> BaselineRun:
    """A run whose numbers vary by `spread`, and its p99 by twice as much. `tail` changes its TTFT p99."""

    def varied(level: float, times: float = 1.0) -> float:
        return level * math.exp(rng.normal(0, times * spread))

    stats = {
        key: {"p50": varied(P50[key]), "p90": varied(P90[key]), "p99": varied(P99[key], 2.0), "n": 400, "act": 1.0}
        for key in ("ttft_ms", "tpot_ms")
    }
    stats["ttft_ms"]["p99"] *= 1 + tail
    output = varied(1_000.0)
    return filled(
        BaselineRun,
        id=f"{rng.integers(1 << 40)}",
        started=started,
        stats=stats,
        output_tokens_per_s=output,
        error_rate=0.0,
        independent_requests=400.0,
    )


def gated(spread: float, tail: float, candidates: int, seed: int = 0) -> Sequence[GateMetric]:
    rng = np.random.default_rng(seed)
    before = [entry(rng, spread) for _ in range(5)]
    metrics = against(before, [entry(rng, spread, tail) for _ in range(candidates)], Rules())
    return result_of(Gate((), (), (), metrics=metrics), baseline=None, command=[]).metrics


def test_p99_is_held_to_the_baseline_too() -> None:
    assert [row.name for row in gated(0.02, 0.0, 5)] == [
        "ttft:p90", "tpot:p50", "ttft:p99", "tpot:p99", "output_tokens_per_s", "error_rate"
    ]  # fmt: skip
    failed = [{row.name for row in gated(0.02, 0.65, 5, seed) if row.verdict == "failed"} for seed in range(20)]
    assert failed == [{"ttft:p99"}] * 20


@pytest.mark.parametrize(("of_baseline", "of_runs", "held"), [(400, 400, True), (400, 100, False), (60, 400, False)])
def test_a_quantile_is_not_held_by_runs_that_hold_too_few_values_of_it(
    of_baseline: int, of_runs: int, held: bool
) -> None:
    sides = [
        [entry_with(requests=n, stats={"ttft_ms": {"p99": 80.0 + 0.1 * k}}) for k in range(3)] for n in (of_baseline, of_runs)
    ]  # fmt: skip
    before, now = sides
    rows = {row.number.name: row for row in against(before, now, Rules())}
    assert (rows["ttft:p90"].judged.verdict, rows["ttft:p90"].few) == (Verdict.HELD, None)
    # Each value counts as two thirds of an independent one.
    few = f"the runs hold {2 * min(of_baseline, of_runs)} independent values together, and p99 takes 368"
    for name in ("ttft:p99", "tpot:p99"):
        verdict = Verdict.HELD if held else Verdict.NOT_SHOWN
        assert (rows[name].judged.verdict, rows[name].few) == (verdict, None if held else few)


def test_a_slower_tail_of_few_values_fails_all_the_same() -> None:
    before, now = (
        [entry_with(requests=30, stats={"ttft_ms": {"p99": level + k}}) for k in range(3)] for level in (80, 200)
    )
    rows = {row.number.name: row.judged.verdict for row in against(before, now, Rules())}
    assert rows["ttft:p99"] is Verdict.FAILED


def test_the_values_shown_are_those_whose_ratio_is_the_change() -> None:
    for seed in range(10):
        for row in gated(0.3, 0.65, 3, seed):
            shown = row.b / row.a - 1 if row.ratio else row.b - row.a
            assert shown == pytest.approx(row.change, abs=1e-9)


def test_what_is_not_shown_says_which_change_these_runs_find() -> None:
    rows = gated(0.1, 0.3, 3)
    (tail,) = [row for row in rows if row.name == "ttft:p99"]
    assert (tail.verdict, tail.seen_from > 0.3) == ("not shown", True)
    counts = {"failed": 0, "held": 0, "not shown": len(rows)}
    page = gate_document(filled(GateResult, counts=counts, metrics=rows))
    text = report.render(page, Level.FIRST, width=80)
    said = f"TTFT p99: not shown; these runs find a change of +{tail.seen_from:.0%} or more in four gates of five"
    assert said in " ".join(text.split())


@pytest.mark.parametrize("higher_is_worse", [True, False])
def test_the_change_that_is_found_is_found_in_four_gates_of_five(higher_is_worse: bool) -> None:
    rng, sign = np.random.default_rng(5), 1 if higher_is_worse else -1

    def metric(change: float) -> Judged:
        before, now = (rng.normal(0, 0.05, 5) for _ in range(2))
        return Judged(np.exp(before).tolist(), np.exp(now + math.log1p(sign * change)).tolist(), higher_is_worse)

    seen = float(np.mean([judge({"m": metric(0.0)})["m"].seen_from for _ in range(100)]))
    found = sum(judge({"m": metric(seen)})["m"].verdict is Verdict.FAILED for _ in range(200))
    assert 0.7 <= found / 200 <= 0.9


def test_a_baseline_of_one_hour_long_ago_is_noted() -> None:
    rng = np.random.default_rng(1)
    before = [entry(rng, 0.02, started=f"2026-11-01T12:{2 * n:02d}:00+00:00") for n in range(5)]
    late = [entry(rng, 0.02, started="2026-11-04T12:08:00+00:00") for _ in range(3)]
    (note,) = notes_on(before, late)
    assert note.startswith("all runs of the baseline were made within 8 min, about 3 days before these: ")
    soon = [entry(rng, 0.02, started="2026-11-01T12:50:00+00:00") for _ in range(3)]
    assert notes_on(before, soon) == []
    spread_out = [entry(rng, 0.02, started=f"2026-10-{day}T12:00:00+00:00") for day in (10, 17, 24, 30)]
    assert notes_on([*before, *spread_out], late) == []
    # Unreadable dates from elsewhere are no reason to fail.
    assert notes_on([entry(rng, 0.02, started="yesterday"), *before], late) == []
    assert notes_on([entry(rng, 0.02, started="2026-11-01T12:00:00"), *before], late) == []


def test_numbers_of_the_baseline_that_runs_lack_are_named_and_fail_a_strict_gate() -> None:
    rng = np.random.default_rng(0)
    before, now = ([entry(rng, 0.02) for _ in range(n)] for n in (5, 3))
    assert lost_numbers(before, now) == []
    # Two of three runs no longer stream, and one has no tokens.
    whole = [structs.replace(one, stats={"ttft_ms": one.stats["ttft_ms"]}) for one in now[:2]]
    silent = structs.replace(now[2], output_tokens_per_s=0.0)
    assert [(one.name, one.title, one.why) for one in lost_numbers(before, [*whole, silent])] == [
        ("tpot:p50", "TPOT p50", "the baseline has it, and 2 of 3 runs have no known value above 0"),
        ("tpot:p99", "TPOT p99", "the baseline has it, and 2 of 3 runs have no known value above 0"),
        ("output_tokens_per_s", "Output tokens/s", "the baseline has it, and 1 of 3 runs have no known value above 0"),
    ]
    # Nor may a baseline drop a number in silence because some of its runs lack it.
    assert [(one.title, one.why) for one in lost_numbers([*before, *whole], now)] == [
        ("TPOT p50", "the baseline has it, and 2 of its 7 runs have no known value above 0"),
        ("TPOT p99", "the baseline has it, and 2 of its 7 runs have no known value above 0"),
    ]
    for strict, status in ((False, Exit.GOOD), (True, Exit.OBJECTIVE_FAILED)):
        assert (
            Gate((), (), (), lost=(GateLost(name="tpot:p50", title="TPOT p50", why="none"),), strict=strict).exit
            is status
        )


def test_numbers_whose_tokens_were_counted_in_another_way_are_named() -> None:
    before = [entry_with(tokens_by=by) for by in ("usage", None, "usage")]
    now = [entry_with(tokens_by="chunks")] * 3
    other = "the baseline has it, and tokens were counted by usage there, and by chunks here"
    assert [(one.title, one.why) for one in lost_numbers(before, now)] == [
        (title, other) for title in ("TPOT p50", "TPOT p99", "Output tokens/s")
    ]
    assert [row.number.name for row in against(before, now, Rules())] == ["ttft:p90", "ttft:p99", "error_rate"]
    assert lost_numbers(before, [entry_with(tokens_by=by) for by in ("usage", None)]) == []


def test_a_gate_that_can_find_no_change_of_a_share_says_so() -> None:
    row = filled(
        GateMetric, title="Error rate", unit="share", verdict="not shown", ratio=False, low=-3.0, high=3.0, seen_from=3.0,
        margin=0.01,
    )  # fmt: skip
    assert (interval_text(row), seen_text(row)) == ("[-100, +100]", NOTHING)
    text = report.render(
        gate_document(filled(GateResult, counts={"failed": 0, "held": 0, "not shown": 1}, metrics=[row])),
        Level.FIRST,
        width=80,
    )
    assert "Error rate: not shown; these runs can find no change of it" in " ".join(text.split())
