"""Comparisons of runs with hand-made summaries: the test, margins, warnings and corrections."""

from __future__ import annotations

import dataclasses
import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.comparison import numbers
from bench.comparison.compare import (
    NOT_INTERLEAVED,
    Compared,
    Comparison,
    Method,
    Versus,
    _certified,
    _corrected,
    _mean,
    compare,
    in_turn,
    method_of,
)
from bench.comparison.numbers import ERRORS, OUTPUT, TPOT, TTFT, Number
from bench.comparison.request_values import RequestValues
from bench.comparison.settings import OTHER_LENGTH
from bench.comparison.sides import MeasuredRun, Side
from bench.errors import UsageError
from bench.statistics.between_runs import Answer, Difference
from tests.support.made_gate import row, run_of


def run_at(minute: int, name: str = "", tpot: float = 5.0, **fields: Any) -> MeasuredRun:
    """A run that began in this minute."""
    latency = {"ttft_ms": row(60, p90=80.0), "tpot_ms": row(60, p50=tpot), **fields.pop("latency", {})}
    counts = {"succeeded": 60, "failed": 0}
    nothing: dict[str, Any] = {"series": {}, "window": {"start_s": None, "end_s": None}, "goodput": None}
    content = {"counts": counts, "run": {"stop_reason": "requests"}, **nothing, **fields}
    return run_of(
        latency,
        run_id=f"{name}{minute}",
        started=f"2026-11-01T12:{minute:02d}:00+00:00",
        **content,
    )


def side(name: str, minutes: Sequence[int], tpots: Sequence[float] | None = None, **fields: Any) -> Side:
    """Runs of these minutes."""
    given = [5.0 + 0.01 * k for k in range(len(minutes))] if tpots is None else tpots
    runs = (run_at(minute, name, tpot, **fields) for minute, tpot in zip(minutes, given, strict=True))
    return Side(name, Path(name), tuple(runs))


def values(n: int = 60) -> RequestValues:
    return RequestValues({"e2el": array("d", [50.0, 60.0] * (n // 2))}, array("d", [0.0] * n))


def compared(*sides: Side, **options: Any) -> Comparison:
    return compare(sides, **{"values_of": lambda _: values(), **options})


@pytest.mark.parametrize(
    ("a", "b", "turn"),
    [
        ((0, 3), (1, 2), True),  # ABBA
        ((0, 2), (1, 3), True),  # ABAB
        ((0, 1), (2, 3), False),
        ((0, 3, 4), (1, 2, 5), True),
        ((0, 3, 5), (1, 2, 4), True),
        ((0, 1, 5), (2, 3, 4), False),
        ((0, 3, 4), (1, 2), False),
        ((), (), True),
    ],
)
def test_runs_are_in_turn_where_each_pair_is_one_of_either_side(
    a: tuple[int, ...], b: tuple[int, ...], turn: bool
) -> None:
    assert in_turn(side("A", a).runs, side("B", b).runs) is turn
    assert in_turn(side("B", b).runs, side("A", a).runs) is turn


@pytest.mark.parametrize(
    ("a", "b", "method"),
    [
        (1, 1, Method.BATCHES),
        (1, 2, Method.ONE_AGAINST_MANY),
        (2, 1, Method.ONE_AGAINST_MANY),
        (2, 2, Method.RUNS),
        (3, 3, Method.PAIRS),
        (3, 5, Method.RUNS),
    ],
)
def test_the_method_follows_from_the_number_of_runs(a: int, b: int, method: Method) -> None:
    first, second = (side(name, range(at, 2 * n + at, 2)) for name, n, at in (("A", a, 0), ("B", b, 1)))
    assert method_of(first, second) is method


def test_a_comparison_needs_two_sides() -> None:
    with pytest.raises(UsageError, match="a comparison needs two sides"):
        compared(side("A", (0, 2)))
    assert len(compared(side("A", (0, 2)), side("B", (1, 3))).versus) == 1


@pytest.mark.parametrize(("many", "refused"), [(2, True), (4, True), (5, False)])
@pytest.mark.parametrize("swapped", [False, True])
def test_one_run_is_compared_with_at_least_five(many: int, refused: bool, swapped: bool) -> None:
    sides = [side("A", (0,)), side("B", range(1, many + 1))]
    sides = sides[::-1] if swapped else sides
    if refused:
        with pytest.raises(UsageError, match=f"A has one run and B {many}: the spread"):
            compared(*sides)
    else:
        assert compared(*sides).versus[0].method is Method.ONE_AGAINST_MANY


def test_one_run_against_five_is_the_t_test_of_few_candidates_seen_from_either_side() -> None:
    many, one = side("A", range(5), (4.8, 4.9, 5.0, 5.1, 5.2)), side("B", (9,), (7.0,))
    there, back = compared(many, one).versus[0].of("tpot:p50"), compared(one, many).versus[0].of("tpot:p50")
    assert there.difference is not None
    assert back.difference is not None
    geometric = math.exp(sum(map(math.log, (4.8, 4.9, 5.0, 5.1, 5.2))) / 5)
    assert there.difference.change == pytest.approx(7.0 / geometric - 1)
    assert back.difference.change == pytest.approx(geometric / 7.0 - 1)
    assert (there.a, there.b) == pytest.approx((geometric, 7.0))


@pytest.mark.parametrize(
    ("requests", "summarized", "margin", "answer", "missing"),
    [
        (1, 60, 0.05, Answer.NOT_SHOWN, "the runs hold 3 independent values together, and p90 takes 36"),
        (19, 60, 0.05, Answer.NOT_SHOWN, "the runs hold 3 independent values together, and p90 takes 36"),
        (20, 11, 0.05, Answer.NOT_SHOWN, "the runs hold 33 independent values together, and p90 takes 36"),
        (20, 60, 0.05, Answer.SAME, None),
        (1, 60, 1e-15, Answer.NOT_SHOWN, None),
    ],
    ids=["one request a run", "too few for their dependence", "few in summary.json", "enough", "wide interval"],
)
def test_a_quantile_is_the_same_only_if_each_side_holds_enough_independent_values(
    requests: int, summarized: int, margin: float, answer: Answer, missing: str | None
) -> None:
    # A run of A has 60 values, which are worth 40 independent ones; a run of B has 20, worth 13.
    kept = {"A": 60, "B": requests}
    a = side("A", (0, 2, 4), (5.0, 5.0, 5.0))
    b = side("B", (1, 3, 5), (5.0, 5.0, 5.0), latency={"ttft_ms": row(summarized, p90=80.0)})

    def of_run(path: Path) -> RequestValues:
        n = kept[path.name[0]]
        return RequestValues({"ttft": array("d", [50.0, 60.0] * n)[:n], "e2el": array("d")}, array("d", [0.0] * n))

    found = compare((a, b), margin=margin, values_of=of_run).versus[0]
    assert (found.of("ttft:p90").answer, found.of("ttft:p90").missing) == (answer, missing)


def test_no_error_on_both_sides_leaves_room_for_three_in_the_independent_requests() -> None:
    # 60 requests of a run are worth 40: 80 for A, 120 for B.
    found = compared(side("A", (0, 4)), side("B", (1, 2, 3))).versus[0].of("error_rate")
    assert found.difference is not None
    assert (found.difference.low, found.difference.high) == pytest.approx((-3 / 80, 3 / 80))
    found = compared(side("A", (0,)), side("B", (1,))).versus[0].of("error_rate")
    assert found.difference is not None
    assert (found.difference.high, found.difference.spread_known) == (pytest.approx(3 / 40), False)


@pytest.mark.parametrize("runs", [1, 2])
def test_errors_of_one_side_are_compared_with_none_of_the_other(runs: int) -> None:
    failing = values(60)
    failing.failed[:] = array("d", [1.0, 0.0] * 30)
    a = side("A", range(0, 2 * runs, 2))
    for b_fails in (True, False):
        counts = {"succeeded": 30, "failed": 30}
        b = side("B", range(1, 2 * runs, 2), counts=counts)
        first, second = (a, b) if b_fails else (b, a)
        found = compared(
            first, second, values_of=lambda path: failing if path.name.startswith("B") else values()
        ).versus[0].of("error_rate")  # fmt: skip
        assert found.difference is not None
        assert found.difference.change == pytest.approx(0.5 if b_fails else -0.5)


@pytest.mark.parametrize("runs", [1, 2, 3])
@pytest.mark.parametrize("zero", ["A", "B", "AB"])
def test_a_ratio_of_zero_is_not_compared(runs: int, zero: str) -> None:
    sides = [
        side(name, range(at, 2 * runs, 2), (*(5.0,) * (runs - 1), 0.0) if name in zero else None)
        for at, name in enumerate("AB")
    ]
    found = compared(*sides).versus[0].of("tpot:p50")
    assert (found.difference, found.p, found.answer, found.worse) == (None, None, None, None)
    assert found.missing == "a ratio of zero does not exist"


@pytest.mark.parametrize(
    ("number", "of_runs", "mean"),
    [
        (TPOT, (2.0, 8.0), 4.0),
        (TPOT, (0.0, 8.0), 4.0),  # The geometric mean of zero is undefined.
        (ERRORS, (0.25, 0.5), 0.375),
    ],
)
def test_the_mean_is_geometric_where_what_is_compared_is_a_ratio(
    number: Number, of_runs: tuple[float, ...], mean: float
) -> None:
    assert _mean(of_runs, number) == pytest.approx(mean)


def certified(*rows: tuple[str, str, float | None]) -> dict[str, Any]:
    """A calibration with these errors."""
    return {"metrics": [dict(zip(("metric", "stat", "error_share"), one, strict=True)) for one in rows]}


def test_the_margin_is_the_largest_error_that_a_calibration_found_of_this_number() -> None:
    rows = (("tpot_ms", "p50", -0.07), ("tpot_ms", "p99", 0.5), ("ttft_ms", "p50", 0.6), ("tpot_ms", "p50", None))
    runs = [
        run_at(0, calibration=certified(*rows)),
        run_at(1),
        run_at(2, calibration=certified(("tpot_ms", "p50", 0.03))),
    ]
    assert _certified(TPOT, runs) == 0.07
    assert _certified(TPOT, runs[1:]) == 0.03
    assert _certified(TPOT, runs[1:2]) == 0.0
    assert _certified(OUTPUT, runs) == 0.0
    job = Number("job", "p50", "Job p50", "s", higher_is_worse=True)
    assert _certified(job, [run_at(0, calibration=certified(("job_ms", "p50", 0.04), ("job", "p50", 0.5)))]) == 0.04


@pytest.mark.parametrize(("margin", "error", "found"), [(0.05, 0.2, 0.2), (0.3, 0.2, 0.3)])
def test_the_margin_of_a_number_is_at_least_the_one_asked_for(margin: float, error: float, found: float) -> None:
    b = side("B", (1, 3), calibration=certified(("tpot_ms", "p50", error), ("error_rate", "p50", 0.9)))
    versus = compared(side("A", (0, 2)), b, margin=margin).versus[0]
    assert (versus.of("tpot:p50").margin, versus.of("error_rate").margin) == (found, 0.01)


def draft(p: float | None, primary: bool, change: float = 0.1, number: Number = TPOT, ratio: bool = True) -> Compared:
    found = None if p is None else Difference(change, change - 0.01, change + 0.01, p, 0.05, 9.0, ratio=ratio)
    return Compared(number, primary, 5.0, 5.5, 0.05, found, p, "why" if p is None else None)


def test_primary_numbers_are_corrected_by_holm_and_others_by_benjamini_and_hochberg() -> None:
    drafts = [draft(0.01, True), draft(None, True), draft(0.04, True), draft(0.02, False), draft(0.03, False)]
    found = [_corrected(drafts)[id(one)] for one in drafts]
    # Holm: 0.01 x 2, 0.04. Benjamini and Hochberg: 0.02 x 2 / 1 is above 0.03 x 2 / 2.
    assert [one.p for one in found] == pytest.approx([0.02, None, 0.04, 0.03, 0.03])
    assert [one.missing for one in found] == [None, "why", None, None, None]


@pytest.mark.parametrize(
    ("number", "change", "worse"),
    [(TPOT, 0.1, True), (TPOT, -0.1, False), (OUTPUT, 0.1, False), (OUTPUT, -0.1, True), (ERRORS, 0.1, True)],
)
def test_what_differs_is_worse_or_better(number: Number, change: float, worse: bool) -> None:
    found = draft(0.01, True, change, number)
    assert (found.answer, found.worse) == (Answer.DIFFERS, worse)
    assert draft(0.5, True, change, number).worse is None


def test_the_primary_numbers_that_differ_are_named() -> None:
    drafts = (draft(0.01, True), draft(0.01, False), draft(0.5, True, number=TTFT))
    found = Versus(side("A", (0,)), side("B", (1,)), Method.RUNS, drafts, ())
    assert found.differing == drafts[:1]
    assert found.of("ttft:p90") is drafts[2]


def warnings(*sides: Side) -> tuple[str, ...]:
    return compared(*sides).versus[0].warnings


def test_runs_that_were_not_made_in_turn_are_warned_of_unless_they_are_pairs() -> None:
    assert NOT_INTERLEAVED in warnings(side("A", (0, 1)), side("B", (2, 3)))
    assert NOT_INTERLEAVED not in warnings(side("A", (0, 2)), side("B", (1, 3)))
    assert NOT_INTERLEAVED not in warnings(side("A", (0,)), side("B", (3,)))
    assert NOT_INTERLEAVED not in warnings(side("A", (0, 2, 4)), side("B", (1, 3, 5)))


def with_settings(name: str, minutes: Sequence[int], **settings: Any) -> Side:
    runs = tuple(
        run_of(
            {"ttft_ms": row(60, p90=80.0), "tpot_ms": row(60, p50=5.0 + 0.01 * k)}, run_id=f"{name}{at}",
            started=f"2026-11-01T12:{at:02d}:00+00:00", settings=settings, goodput=None,
            run={"stop_reason": "requests"},
        )
        for k, at in enumerate(minutes)
    )  # fmt: skip
    return Side(name, Path(name), runs)


def test_runs_of_another_length_are_warned_of_and_other_settings_that_may_differ_are_not() -> None:
    a = with_settings("A", (0, 2))
    assert OTHER_LENGTH in warnings(a, with_settings("B", (1, 3), requests=90))
    assert OTHER_LENGTH not in warnings(a, with_settings("B", (1, 3), seed=5, url="http://elsewhere"))
    assert warnings(a, with_settings("B", (1, 3))) == ()


def test_runs_that_are_suspect_cut_off_or_left_out_are_warned_of() -> None:
    a, b = side("A", (0, 2)), side("B", (1, 3))
    assert warnings(a, b) == ()
    late, busy = (
        run_at(at, "A", verdict={"status": "SUSPECT", "reasons": [reason, "and more"]})
        for at, reason in ((0, "sends were late"), (2, "the client was busy"))
    )
    suspect = Side("A", a.path, (late, busy))
    killed = Side(
        "B", b.path, (b.runs[0], run_at(3, "B", run={"stop_reason": "killed"})), ((Path("B/2"), "INVALID: x"),)
    )
    assert warnings(suspect, killed) == (
        "A: 2 of 2 runs SUSPECT, such as runs/A0: sends were late",
        "B: B/2 is left out, INVALID: x",
        "B: runs/B3 was killed before its end",
    )
    (said,) = warnings(side("A", (0, 2), run={"stop_reason": "interrupted"}), b)
    assert said == "A: runs/A0 was interrupted before its end"
    remade = Side("B", b.path, (b.runs[0], dataclasses.replace(b.runs[1], damage="not JSON")))
    (said,) = warnings(a, remade)
    file = remade.runs[1].directory / "summary.json"
    assert said == f"B: {file} could not be read (not JSON): it was made again from the records of the run"


@pytest.mark.parametrize("turn", [((0, 3, 4), (1, 2, 5)), ((0, 1, 2), (3, 4, 5))])
@pytest.mark.parametrize(
    ("n", "a", "b", "answer"),
    [
        (5, 1.0, 1.0, Answer.NOT_SHOWN),
        (5, 1.0, 0.8, Answer.NOT_SHOWN),
        (4_000, 1.0, 1.0, Answer.SAME),
        (400, 1.0, 0.9, Answer.DIFFERS),
    ],
)
def test_shares_of_few_things_show_nothing_however_much_the_runs_agree(
    n: int, a: float, b: float, answer: Answer, turn: tuple[Sequence[int], Sequence[int]]
) -> None:
    sides = [
        side(name, minutes, goodput={"share": share}, counts={"succeeded": n, "failed": 0},
             answers={"shares": [{"name": "accuracy", "share": share, "probes": n}]})
        for name, minutes, share in zip("AB", turn, (a, b), strict=True)
    ]  # fmt: skip
    (versus,) = compared(*sides).versus
    assert {versus.of(name).answer for name in ("accuracy", "goodput")} == {answer}


def test_tokens_that_were_counted_in_another_way_are_not_compared() -> None:
    def counted(**by: int) -> dict[str, Any]:
        return {"counted_by": {"usage": 0, "tokenizer": 0, "limit": 0, "chunks": 0, **by}}

    own: dict[str, Any] = {"manifest": {"tokenizer": {"name": "gpt2", "fingerprint": "f"}}}
    a = side("A", (0, 3, 4), tokens=counted(usage=59, chunks=1))
    for minutes in ((1, 2, 5), (6, 7, 8)):
        b = side("B", minutes, tokens=counted(tokenizer=60), **own)
        (versus,) = compared(a, b).versus
        said = "tokens were counted by usage in A, and by the tokenizer gpt2 in B"
        assert {c.number.name: c.missing for c in versus.numbers if c.primary} == {
            "ttft:p90": None, "tpot:p50": said, "output_tokens_per_s": said, "error_rate": None,
        }  # fmt: skip
        assert (versus.of("tpot:p50").difference, versus.of("tpot:p50").answer) == (None, None)
    for same in (counted(usage=60), counted()):
        (versus,) = compared(a, side("B", (1, 2, 5), tokens=same)).versus
        assert {c.missing for c in versus.numbers if c.primary} == {None}


def test_a_number_that_one_run_lacks_is_not_compared() -> None:
    whole = {"e2el_ms": row(60, p90=90.0)}
    a, b = side("A", (0, 2), latency=whole), side("B", (1, 3), latency=whole)
    lacking = Side("B", b.path, (b.runs[0], run_at(3, "B", latency={"ttft_ms": row(0), **whole})))
    names = [one.number.name for one in compared(a, lacking).versus[0].numbers if one.primary]
    assert "ttft:p90" not in names
    assert "ttft:p90" in [one.number.name for one in compared(a, b).versus[0].numbers if one.primary]


def test_the_values_of_a_run_are_read_once() -> None:
    read: list[Path] = []

    def values_of(path: Path) -> RequestValues:
        read.append(path)
        return values()

    errors = {"succeeded": 50, "failed": 10}
    compared(side("A", (0, 2), counts=errors), side("B", (1, 3), counts=errors), values_of=values_of)
    assert sorted(path.name for path in read) == ["A0", "A2", "B1", "B3"]
    read.clear()
    compared(side("A", (0,)), side("B", (1,)), side("C", (2,)), values_of=values_of)
    assert sorted(path.name for path in read) == ["A0", "B1", "C2"]


def test_what_is_allowed_is_one_of_the_settings_that_must_be_equal() -> None:
    with pytest.raises(UsageError, match="--allow colour,url: not a setting"):
        compared(side("A", (0, 2)), side("B", (1, 3)), allow=("colour", "rate", "url"))


CHANGED: dict[str, Any] = {"changes": [{"at_s": 11.5, "from": 10.0, "to": 30.0, "by": "set-load"}]}


def test_a_run_whose_load_was_set_while_it_ran_sent_another_load() -> None:
    as_planned, changed = side("A", (0, 2)), side("B", (1, 3), **CHANGED)
    with pytest.raises(UsageError, match=r"differ in set_load \(not set against 30 from 12 s\)"):
        compared(as_planned, changed)
    assert compared(as_planned, changed, allow=("set_load",)).variations[0].name == "set_load"
    assert compared(side("A", (0, 2), **CHANGED), changed).variations == ()


def test_of_runs_without_a_success_only_errors_are_compared() -> None:
    latency = {"ttft_ms": row(0), "tpot_ms": row(0)}
    nothing = side("A", (0, 2), latency=latency, throughput={}, counts={"succeeded": 0, "failed": 60})
    (found,) = [one for one in compared(nothing, side("B", (1, 3))).versus[0].numbers if one.primary]
    assert found.number is ERRORS


def test_primary_numbers_are_marked() -> None:
    found = compared(side("A", (0, 2)), side("B", (1, 3))).versus[0].numbers
    decided = {number.name for number in numbers.primary(lambda number: number.metric != "inputs_per_s")}
    assert {one.number.name for one in found if one.primary} == decided - {"e2el:p90"}


@pytest.mark.parametrize(
    ("wide", "runs", "answer"),
    [(2.0, 2, Answer.NOT_SHOWN), (1.02, 2, Answer.DIFFERS), (2.0, 4, Answer.DIFFERS)],
)
def test_a_side_of_two_runs_differs_only_beyond_the_intervals_of_its_runs(
    wide: float, runs: int, answer: Answer
) -> None:
    # 10 ms in each run of A, 20 ms in each run of B. If the median lies between two modes, chance alone can do that.
    def of(name: str, tpot: float, ends: tuple[float, float]) -> Side:
        rows = (row(60, {"p50": ends}, p50=tpot + 0.01 * k) for k in range(runs))
        return Side(name, Path(name), tuple(run_at(k, name, latency={"tpot_ms": it}) for k, it in enumerate(rows)))

    a, b = of("A", 10.0, (9.9, 10.1 * wide)), of("B", 20.0, (20.1 / wide, 20.2))
    assert compared(a, b).versus[0].of(TPOT.name).answer is answer
