"""The answers of comparisons in a sentence, and the rows behind them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from bench.comparison import capacities, curves, document
from bench.comparison.compare import Compared, Method, Versus
from bench.comparison.numbers import ERRORS, TPOT
from bench.comparison.sides import Side
from bench.errors import UsageError
from bench.results.comparison import ComparedNumber, LeftOut
from bench.statistics.between_runs import Difference
from tests.support.made_gate import row as latency
from tests.support.made_gate import run_of
from tests.support.results import filled


def row(
    answer: str | None, change: float = 0.1, *, name: str = "tpot:p50", worse: bool | None = None, primary: bool = True,
    p: float | None = 0.5, seen_from: float = 0.03, spread_known: bool = True, value: float = 5.0, margin: float = 0.05,
) -> ComparedNumber:  # fmt: skip
    """A row of compare.json."""
    is_share = name == "error_rate"
    values: dict[str, Any] = {
        "name": name, "title": "Error rate" if is_share else name.upper(), "unit": "share" if is_share else "ms",
        "primary": primary, "ratio": not is_share, "a": value, "b": value, "change": change, "low": change - 0.02,
        "high": change + 0.02, "p": p, "seen_from": seen_from, "answer": answer, "spread_known": spread_known,
        "worse": worse, "margin": 0.01 if is_share else margin,
    }  # fmt: skip
    return filled(ComparedNumber, values)


SAME, DIFFERS, NOT_SHOWN = "same within the margin", "differs", "not shown"
NO_ERRORS: dict[str, Any] = {"name": "error_rate", "value": 0.0, "change": 0.0, "seen_from": 0.004}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(None)], "A and B cannot be compared: too few independent values."),
        ([row(None), row(SAME, primary=False)], "A and B cannot be compared: too few independent values."),
        (
            [row(DIFFERS, worse=True), row(DIFFERS, -0.2, name="ttft:p90", worse=True), row(DIFFERS, primary=False)],
            "B is worse than A: TPOT:P50 +10.0% [+8.0, +12.0]; TTFT:P90 -20.0% [-22.0, -18.0].",
        ),
        ([row(DIFFERS, worse=False), row(SAME)], "B is better than A: TPOT:P50 +10.0% [+8.0, +12.0]."),
        (
            [row(DIFFERS, worse=True), row(DIFFERS, worse=False)],
            "B is better and worse than A: TPOT:P50 +10.0% [+8.0, +12.0]; TPOT:P50 +10.0% [+8.0, +12.0].",
        ),
        (
            [row(NOT_SHOWN, 0.045, p=0.01), row(SAME)],
            "B changed against A, by about the margin of 5%: TPOT:P50 +4.5% [+2.5, +6.5].",
        ),
        ([row(SAME), row(SAME)], "B is the same as A within 5%."),
        # The error that a calibration found widens a margin.
        ([row(SAME, margin=0.1234), row(SAME)], "B is the same as A within 12.3%."),
        (
            [row(NOT_SHOWN, 0.1, p=0.01, margin=0.12), row(SAME)],
            "B changed against A, by about the margin of 12%: TPOT:P50 +10.0% [+8.0, +12.0].",
        ),
        (
            [row(NOT_SHOWN, 0.008, name="error_rate", p=0.01), row(SAME)],
            "B changed against A, by about the margin of one point: Error rate +0.8 pts [-1.2, +2.8].",
        ),
        (
            [row(SAME), row(NOT_SHOWN, **NO_ERRORS)],
            "B is the same as A within 5%. No request failed, which leaves room for 0.4 pts of errors.",
        ),
        ([row(SAME), row(SAME, **NO_ERRORS)], "B is the same as A within 5%."),
        (
            [row(SAME), row(NOT_SHOWN, **{**NO_ERRORS, "value": 0.01})],
            "No difference is shown between A and B. These changes would have been found: TPOT:P50 3.0%, "
            "Error rate 0.4 pts.",
        ),
        (
            [row(SAME), row(None), row(NOT_SHOWN, name="ttft:p90", seen_from=0.2, value=0.0)],
            "No difference is shown between A and B. These changes would have been found: TPOT:P50 3.0%, TTFT:P90 20.0%. "
            "Not compared: TPOT:P50.",
        ),
        (
            [row(DIFFERS, worse=True), row(None, name="ttft:p90"), row(None, name="e2el:p50")],
            "B is worse than A: TPOT:P50 +10.0% [+8.0, +12.0]. Not compared: TTFT:P90, E2EL:P50.",
        ),
        (
            [row(NOT_SHOWN, 0.045, p=0.01), row(None, name="ttft:p90"), row(None, name="e2el:p50", primary=False)],
            "B changed against A, by about the margin of 5%: TPOT:P50 +4.5% [+2.5, +6.5]. Not compared: TTFT:P90.",
        ),
    ],
)
def test_the_answer_of_several_runs(rows: list[ComparedNumber], said: str) -> None:
    assert document.headline("A", "B", Method.RUNS, rows, 0.05) == said


UNKNOWN = (
    "A change of the setup from A to B is not shown: the spread between runs is not known (make several runs of each: "
    "run --repeats, or compare --run A.yaml B.yaml --pairs 5)."
)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [row("these two differ"), row("these two agree"), row("these two differ", primary=False)],
            "The runs of A and B differ by more than chance within a run: TPOT:P50 +10.0% [+8.0, +12.0].",
        ),
        (
            [row("these two agree"), row(None), row("not shown", name="ttft:p90", seen_from=0.2)],
            "No difference is shown between the runs of A and B. These changes would have been found: TPOT:P50 3.0%, "
            "TTFT:P90 20.0%. Not compared: TPOT:P50.",
        ),
    ],
)
def test_the_answer_of_one_run_each_is_of_these_two(rows: list[ComparedNumber], said: str) -> None:
    assert document.headline("A", "B", Method.BATCHES, rows, 0.05) == f"{said} {UNKNOWN}"


def side(name: str, *p50: float) -> Side:
    runs = (run_of({"tpot_ms": latency(60, p50=value)}, run_id=f"{name}{k}") for k, value in enumerate(p50))
    return Side(name, Path(name), tuple(runs), ((Path(name) / "9", "INVALID: x"),))


def test_a_row_holds_the_value_of_each_run_unless_there_is_one_each() -> None:
    found = Difference(0.1, 0.05, 0.15, 0.01, 0.04, 9.0, ratio=True)
    compared = Compared(TPOT, False, 5.1, 5.6, 0.05, found, 0.02)
    for method, of_a, of_b in ((Method.RUNS, [5.0, 5.2], [5.6]), (Method.BATCHES, [], [])):
        made = document.row_of(compared, Versus(side("A", 5.0, 5.2), side("B", 5.6), method, (), ()))
        assert (made.runs_a, made.runs_b) == (of_a, of_b)
    assert [getattr(made, key) for key in ("change", "low", "high", "p", "seen_from", "margin")] == [
        0.1, 0.05, 0.15, 0.02, 0.04, 0.05
    ]  # fmt: skip
    assert (made.answer, made.worse, made.spread_known, made.ratio) == (DIFFERS, True, True, True)
    nothing = Compared(ERRORS, True, 0.0, 0.0, 0.01, None, None, "too few")
    made = document.row_of(nothing, Versus(side("A", 5.0), side("B", 5.6), Method.BATCHES, (), ()))
    keys = ("change", "low", "high", "p", "seen_from", "answer", "worse", "spread_known")
    assert [getattr(made, key) for key in keys] == [None] * len(keys)
    assert (made.missing, made.ratio, made.primary) == ("too few", False, True)


def test_a_side_is_written_with_its_runs_and_those_left_out() -> None:
    made = document.side_of(side("A", 5.0, 5.1))
    assert (made.name, made.path, made.model, [run.id for run in made.runs]) == (
        "A", "A", "made", ["A0", "A1"]
    )  # fmt: skip
    assert made.left_out == [LeftOut(directory="A/9", why="INVALID: x")]


def at(load: int, *args: Any, **fields: Any) -> ComparedNumber:
    """A row for a load."""
    made = row(*args, **fields)
    return structs.replace(made, title=f"{load}: {made.title}")


@pytest.mark.parametrize(
    ("rows", "loads", "said"),
    [
        (
            [at(1, DIFFERS, worse=True), at(8, DIFFERS, -0.2, worse=True), at(8, SAME), at(9, NOT_SHOWN)],
            2,
            "B is worse than A in 2 of 4 numbers over 2 loads; most at 8 users: TPOT:P50 -20.0% [-22.0, -18.0].",
        ),
        (
            [at(1, DIFFERS, worse=False)], 1,
            "B is better than A in 1 of 1 numbers over 1 load; most at 1 users: TPOT:P50 +10.0% [+8.0, +12.0].",
        ),
        (
            [at(1, DIFFERS, worse=False), at(2, DIFFERS, 0.3, worse=True)], 2,
            "B is better and worse than A in 2 of 2 numbers over 2 loads; most at 2 users: TPOT:P50 +30.0% [+28.0, +32.0].",
        ),
        ([at(1, SAME)], 1, "No difference is shown between A and B at any of 1 load."),
    ],
)  # fmt: skip
def test_the_answer_of_sweeps(rows: list[ComparedNumber], loads: int, said: str) -> None:
    assert curves._headline("A", "B", rows, loads, "users") == said


def test_the_answer_of_sweeps_of_one_run_a_load_is_of_these_two() -> None:
    unknown = (
        "A change of the setup from A to B is not shown: the spread between sweeps is not known (make several runs of each "
        "load: sweep --repeats 3)."
    )
    rows = [at(1, NOT_SHOWN, spread_known=False), at(2, SAME)]
    assert (
        curves._headline("A", "B", rows, 2, "users")
        == f"No difference is shown between A and B at any of 2 loads. {unknown}"
    )
    rows.append(at(2, "these two differ", spread_known=False))
    assert curves._headline("A", "B", rows, 2, "users") == (
        "These two sweeps differ in 1 of 3 numbers over 2 loads, by more than chance within a run; most at 2 users: "
        f"TPOT:P50 +10.0% [+8.0, +12.0]. {unknown}"
    )


def test_runs_of_a_sweep_are_sides_of_their_load_in_its_order() -> None:
    runs = tuple(
        run_of(run_id=f"{k}", settings={"rate": rate, "concurrency": users})
        for k, (rate, users) in enumerate(((20.0, 4), (5.0, 8), (20.0, 8)))
    )
    whole = Side("A", Path("a"), runs, ((Path("a/9"), "INVALID: x"),))
    by_rate = curves._by_load(whole, "rate")
    assert list(by_rate) == [5.0, 20.0]
    assert by_rate[20.0] == Side("A", Path("a"), (runs[0], runs[2]), whole.left_out)
    assert {load: len(of.runs) for load, of in curves._by_load(whole, "concurrency").items()} == {4.0: 1, 8.0: 2}


def test_sweeps_of_different_things_are_not_compared() -> None:
    a, b = (Side(mode, Path(mode), (run_of(settings={"mode": mode}),)) for mode in ("rate", "concurrency"))
    assert curves._kind([a, a]) == "rate"
    with pytest.raises(UsageError, match=r"they vary different things \(rate against concurrency\)"):
        curves._kind([a, b])


def versus_of(ps: list[float | None], load: int, warnings: tuple[str, ...]) -> Versus:
    """Two sides at a load: a primary number for each p, and one exploratory number."""
    found = [
        None if p is None else Difference(0.1, 0.05, 0.15, p, 0.04, 9.0, ratio=True) for p in ps
    ]  # fmt: skip
    decided = tuple(
        Compared(TPOT, True, 5.0, 5.5, 0.05, one, one.p if one else None, None if one else "m") for one in found
    )
    explored = Compared(TPOT, False, 5.0, 5.5, 0.05, found[0], 0.0001)
    return Versus(side("A", 5.0), side("B", 5.5), Method.RUNS, (*decided, explored), (*warnings, f"of {load}"))


def test_numbers_of_all_loads_are_corrected_together_by_holm() -> None:
    by_load = {4.0: versus_of([0.01, None], 4, ("w",)), 8.5: versus_of([0.02, 0.04], 8, ("w",))}
    found = curves._versus(by_load, "rate")
    assert [row.p for row in found.numbers] == pytest.approx([0.03, None, 0.04, 0.04])
    assert [row.name for row in found.numbers] == ["tpot:p50 at 4"] * 2 + ["tpot:p50 at 8.5"] * 2
    assert found.numbers[2].title == "8.5: TPOT p50"
    assert found.warnings == ["w", "of 4", "of 8"]
    assert [row.missing for row in found.numbers] == [None, "m", None, None]
    assert "most at 4 requests/s" in found.headline


def searched(estimate: float | None, low: float = 0.0, high: float = 0.0, **fields: Any) -> dict[str, Any]:
    capacity = None if estimate is None else {"estimate": estimate, "low": low, "high": high}
    return {
        "load_kind": "rate",
        "objectives": [],
        "capacity": capacity,
        "stopped_by": "budget",
        "binding": "x",
        **fields,
    }


def test_the_change_of_capacity_is_taken_for_normal() -> None:
    # The ends of a 90% interval are 1.6449 standard errors away, so the error of each is ln(1.1 / 0.9) / 3.2897 =
    # 0.061.
    a, b = (searched(value, 0.9 * value, 1.1 * value)["capacity"] for value in (20.0, 22.0))
    found = capacities.difference_of(a, b)
    error = math.sqrt(2) * math.log(1.1 / 0.9) / 3.289707253902945
    z = math.log(1.1) / error
    assert found.p == pytest.approx(math.erfc(z / math.sqrt(2)))
    assert found.change == pytest.approx(0.1)
    assert capacities.difference_of(b, a).p == pytest.approx(found.p)
    assert math.log1p(found.seen_from) == pytest.approx((1.959963984540054 + 0.8416212335729143) * error)
    assert (math.isinf(found.degrees), found.ratio, found.spread_known) == (True, True, False)
    # Two searches without errors of their own still differ by chance.
    sure = searched(20.0, 20.0, 20.0)["capacity"]
    assert capacities.difference_of(sure, sure).p == 1.0
    assert math.log1p(capacities.difference_of(sure, sure).high) == pytest.approx(1.959963984540054e-9, rel=1e-6)


def test_a_comparison_of_searches_has_one_row() -> None:
    a, b = side("A", 5.0), side("B", 5.5)
    found = capacities._versus(a, b, searched(20.0, 18.0, 22.0), searched(20.0, 18.0, 22.0), 0.05)
    assert found.warnings == [
        capacities.SPREAD_UNKNOWN, "A: A/9 is left out, INVALID: x", "B: B/9 is left out, INVALID: x"
    ]  # fmt: skip
    (row,) = found.numbers
    assert [getattr(row, key) for key in ("primary", "ratio", "a", "b", "change", "worse", "missing", "margin")] == [
        True, True, 20.0, 20.0, 0.0, None, None, 0.05
    ]  # fmt: skip
    assert found.headline.startswith("No difference of capacity is shown between these two searches: 0.0% [")
    nothing = capacities._versus(a, b, searched(None), searched(20.0, 18.0, 22.0), 0.05)
    assert nothing.warnings[0] == "A: the search found no capacity (budget): give it more time, or other loads"
    assert len(nothing.warnings) == 3


def test_how_searches_ended_is_listed_where_it_differs() -> None:
    first = searched(1.0)
    assert capacities._loads([first, first]) == []
    found = capacities._loads([first, searched(1.0, stopped_by="precision"), searched(1.0, binding=None)])
    assert [(one.name, one.values, one.refused) for one in found] == [
        ("ended by", ("budget", "precision", "budget"), False), ("binding", ("x", "x", "None"), False)
    ]  # fmt: skip


def test_searches_over_different_loads_are_refused() -> None:
    sides = [("A", Path("a")), ("B", Path("b"))]
    with pytest.raises(
        UsageError, match=r"^A and B cannot be compared: they searched for other load \(rate against users"
    ):
        capacities._refuse_other_goals(sides, [searched(1.0), searched(1.0, load_kind="users")])
    capacities._refuse_other_goals(sides, [searched(1.0), searched(2.0)])


@pytest.mark.parametrize("content", [b"[]", b'{"load_kind": "rate", "objectives": [], "capacity": null}', b"3"])
def test_a_file_that_is_no_result_of_a_search_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "search.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"search\.json is not a result of a search"):
        capacities._read(tmp_path)
    (tmp_path / "search.json").write_bytes(b"{")
    with pytest.raises(UsageError, match=r"search\.json is damaged: "):
        capacities._read(tmp_path)


def test_settings_of_the_load_are_no_difference_between_visits() -> None:
    found = capacities._of_any_load(one_run(rate=5.0, seed=3, input_tokens="7"))
    assert {*found.runs[0].settings} & {"rate", "seed", "input_tokens"} == {"input_tokens"}


def one_run(**settings: Any) -> Side:
    return Side("A", Path("a"), (run_of(settings=settings),))
