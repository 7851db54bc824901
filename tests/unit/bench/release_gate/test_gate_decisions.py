"""A gate's decisions: the exit status, the notes, and which numbers are compared with which runs of a baseline."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from bench.comparison.sides import MeasuredRun, read_run
from bench.errors import Exit, UsageError
from bench.metrics.objectives import parse
from bench.release_gate import baseline as baselines
from bench.release_gate.document import result_of
from bench.release_gate.gate import Gate, Rules, against, decide, notes_on
from bench.release_gate.objectives import ObjectiveVerdict
from bench.results.baseline import Baseline, BaselineRun
from bench.results.gate import GateBaseline
from bench.results.summary import Verdict as JudgedRun
from bench.statistics.gate import Verdict
from bench.statistics.intervals import Interval
from bench.verdict.finding import Status
from tests.support.made_gate import entry_with, run_of
from tests.support.made_runs import made_run, made_side
from tests.support.results import filled

FIRST = datetime.fromisoformat("2026-11-01T12:00:00+00:00")
BASELINE = Path("kept/baseline.json")


def gate_of(*verdicts: Verdict, good: int = 1, unusable: tuple[str, ...] = (), strict: bool = False) -> Gate:
    """A gate with objectives of these verdicts, over usable runs and others with these statuses."""
    (wanted,) = parse(["ttft:p50<1s"])
    found = tuple(ObjectiveVerdict(wanted, 900.0, None, verdict) for verdict in verdicts)
    runs = tuple(run_of(run_id=f"good-{k}") for k in range(good))
    return Gate(runs, (), tuple(run_of(status=status) for status in unusable), found, strict=strict)


HELD, NOT_SHOWN, FAILED = Verdict.HELD, Verdict.NOT_SHOWN, Verdict.FAILED


@pytest.mark.parametrize(
    ("gate", "status"),
    [
        (gate_of(HELD), Exit.GOOD),
        (gate_of(HELD, strict=True), Exit.GOOD),
        (gate_of(HELD, NOT_SHOWN), Exit.GOOD),
        (gate_of(HELD, NOT_SHOWN, strict=True), Exit.OBJECTIVE_FAILED),
        (gate_of(HELD, FAILED), Exit.OBJECTIVE_FAILED),
        (gate_of(HELD, unusable=("INVALID",)), Exit.GOOD),
        (gate_of(FAILED, unusable=("INVALID",)), Exit.OBJECTIVE_FAILED),
        (gate_of(HELD, unusable=("INVALID",), strict=True), Exit.INVALID),
        # The server failed in one of the runs: the others do not show that it works.
        (gate_of(HELD, unusable=("FAILED",)), Exit.TARGET),
        (gate_of(FAILED, unusable=("INVALID", "FAILED")), Exit.TARGET),
        (gate_of(HELD, unusable=("INVALID", "FAILED"), strict=True), Exit.TARGET),
        (gate_of(good=0, unusable=("INVALID", "INVALID")), Exit.INVALID),
        (gate_of(good=0, unusable=("FAILED", "INVALID")), Exit.TARGET),
    ],
)
def test_the_status_says_what_failed(gate: Gate, status: Exit) -> None:
    assert gate.exit is status


def test_a_gate_whose_runs_may_not_be_used_judges_nothing() -> None:
    bad = run_of(status="INVALID")
    rules = Rules(parse(["ttft:p50<1s"]), strict=True)
    assert decide([bad], rules, BASELINE, filled(Baseline)) == Gate((), (), (bad,), strict=True)


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, True),
        ({"output_tokens_per_s": None}, False),
        ({"output_tokens_per_s": 0.0}, False),  # A ratio to zero does not exist.
    ],
)
def test_a_number_that_a_run_lacks_is_not_held_to_a_baseline(changes: dict[str, Any], known: bool) -> None:
    before = [entry_with(error_rate=0.0) for _ in range(5)]
    found = against(before, [entry_with(), entry_with(**changes), entry_with()], Rules())
    names = [metric.number.name for metric in found]
    assert ("output_tokens_per_s" in names) is known
    assert "error_rate" in names


def test_the_margin_is_that_of_the_rules_and_of_a_share_its_own() -> None:
    found = against([entry_with() for _ in range(5)], [entry_with() for _ in range(3)], Rules(margin=0.2))
    assert {metric.number.name: metric.margin for metric in found} == {
        "ttft:p90": 0.2, "tpot:p50": 0.2, "ttft:p99": 0.2, "tpot:p99": 0.2, "output_tokens_per_s": 0.2,
        "error_rate": 0.01,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "now", "high"),
    [(100.0, 100.0, 3 / 300), (100.0, 500.0, 3 / 500), (30.0, 100.0, 3 / 150)],
)
def test_no_error_anywhere_leaves_room_for_three_in_the_independent_requests(
    before: float, now: float, high: float
) -> None:
    # Five runs of the baseline against three: the smaller number of independent requests counts.
    found = against(
        [entry_with(independent=before)] * 5, [entry_with(independent=now)] * 3, Rules()
    )[-1]  # fmt: skip
    assert found.number.name == "error_rate"
    assert found.judged.difference.high == pytest.approx(high)


def started(*minutes: float) -> list[BaselineRun]:
    """Entries of runs that started these minutes after the first."""
    return [entry_with(started=(FIRST + timedelta(minutes=at)).isoformat()) for at in minutes]


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ((0, 3, 8), 68, None),  # One hour after the last run is still close.
        ((0, 3, 8), 68.1, "within 8 min, about 1 hours before"),
        ((8, 0, 3), 128, "within 8 min, about 2 hours before"),
        ((0, 90), 180, None),  # As long after them as they took.
        ((0, 9, 90), 181, "within 90 min, about 2 hours before"),
        ((0, 0.2), 100, "within 1 min, about 2 hours before"),
        ((0, 0), 47 * 60 + 24, "within 1 min, about 47 hours before"),
        ((0, 0), 48 * 60, "within 1 min, about 2 days before"),
        ((0, 0), 84 * 60, "within 1 min, about 4 days before"),
    ],
)
def test_a_baseline_made_in_one_go_is_noted_where_it_is_older_than_it_is_long(
    before: tuple[float, ...], now: float, said: str | None
) -> None:
    # The earliest of the candidate runs counts.
    notes = notes_on(started(*before), started(now + 500, now, now + 900))
    assert [str(said) in note for note in notes] == [True] * (said is not None)


@pytest.mark.parametrize(("runs", "note"), [(1, "1 candidate run: "), (2, "2 candidate runs: "), (3, None)])
def test_fewer_than_three_candidate_runs_are_noted(runs: int, note: str | None) -> None:
    notes = notes_on(started(0, 8), started(*(20,) * runs))
    assert len(notes) == (note is not None)
    assert all(said.startswith(str(note)) for said in notes)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> list[MeasuredRun]:
    """Five runs of one load."""
    side = made_side(tmp_path_factory.mktemp("five") / "five", 5, requests=40)
    return [read_run(path) for path in sorted(side.iterdir())]


def kept(runs: list[MeasuredRun], **changes: Any) -> Baseline:
    """The baseline of these runs."""
    grown = baselines.appended(baselines.new(runs[0]), [baselines.entry_of(run) for run in runs])
    return structs.replace(grown, **changes)


def test_a_run_with_the_id_of_a_kept_one_that_began_another_time_is_another_run(five: list[MeasuredRun]) -> None:
    later = five[0].manifest.model_copy(update={"started": "2026-11-01T12:30:00+00:00"})
    again = dataclasses.replace(five[0], manifest=later)
    assert not any(
        "is in the baseline already" in note for note in decide([again], Rules(), BASELINE, kept(five)).notes
    )


def test_a_run_whose_summary_was_damaged_has_a_note(five: list[MeasuredRun]) -> None:
    damaged = dataclasses.replace(five[0], damage="not JSON")
    (note,) = set(decide([damaged, five[1]], Rules()).notes) - set(decide(five[:2], Rules()).notes)
    assert note.startswith(f"{five[0].directory / 'summary.json'} could not be read (not JSON): it was made again")


def test_a_run_of_the_baseline_is_held_to_the_others_only_while_it_is_updated(five: list[MeasuredRun]) -> None:
    for runs, more in ((five[:1], ""), (five[:2], " (and 1 more)"), (five[:3], " (and 2 more)")):
        with pytest.raises(UsageError) as caught:
            decide(runs, Rules(), BASELINE, kept(five))
        assert str(caught.value).startswith(f"{runs[0].directory}{more} is in --baseline {BASELINE} already")
    # One run needs more than four others, and three candidate runs need two.
    found = decide(five[:1], Rules(), BASELINE, kept(five), updating=True)
    assert (len(found.metrics), found.notes[1].partition(":")[0]) == (0, "nothing is compared yet")
    assert "1 candidate run against 4 of the baseline" in found.notes[1]
    found = decide(five[:3], Rules(), BASELINE, kept(five), updating=True)
    assert len(found.metrics) == 6
    assert sum("is in the baseline already: it is compared" in note for note in found.notes) == 3


def test_a_baseline_of_too_few_runs_is_refused_unless_it_is_being_begun(
    five: list[MeasuredRun], tmp_path: Path
) -> None:
    run = read_run(made_run(tmp_path / "run", at=9, requests=40))
    with pytest.raises(UsageError, match="1 candidate run against 4 of the baseline cannot be told"):
        decide([run], Rules(), BASELINE, kept(five[:4]))
    found = decide([run], Rules(), BASELINE, kept(five[:4]), updating=True)
    assert (found.metrics, len(found.notes)) == ((), 1)
    found = decide([run], Rules(), BASELINE, kept(five))
    assert (len(found.metrics), found.notes[0].partition(":")[0]) == (6, "1 candidate run")


def test_failures_are_said_before_a_run_becomes_part_of_a_baseline(tmp_path: Path) -> None:
    half, few = (read_run(made_run(tmp_path / str(n), requests=100, failed=n)) for n in (50, 1))
    words = f"50.0% of the requests of {half.directory} failed: held to a baseline with it, as many may fail"
    assert words in decide([half, few], Rules(), updating=True).notes
    assert not any("requests of" in note for note in decide([few], Rules(), updating=True).notes)
    assert not any("requests of" in note for note in decide([half], Rules()).notes)


def test_runs_that_are_left_out_and_runs_that_are_suspect_are_noted(five: list[MeasuredRun]) -> None:
    def with_verdict(run: MeasuredRun, status: str) -> MeasuredRun:
        verdict = JudgedRun(status=Status(status), reasons=["sends were late", "and more"])
        return dataclasses.replace(run, summary=structs.replace(run.summary, verdict=verdict))

    invalid, failed, suspect = (
        with_verdict(run, status) for run, status in zip(five, ("INVALID", "FAILED", "SUSPECT"), strict=False)
    )
    found = decide([invalid, suspect, failed, *five[3:]], Rules())
    assert found.runs == (suspect, *five[3:])
    assert found.unusable == (invalid, failed)
    assert found.notes == (
        f"{invalid.directory} is left out: INVALID",
        f"{failed.directory} is left out: FAILED",
        f"{suspect.directory} is SUSPECT: sends were late",
    )


def test_a_run_that_was_cut_off_is_noted(tmp_path: Path) -> None:
    cut, whole = (
        read_run(made_run(tmp_path / word, stop_reason=word, at=at))
        for at, word in enumerate(("interrupted", "requests"))
    )
    assert decide([cut, whole], Rules()).notes == (f"{cut.directory} was interrupted before its end",)


def test_a_machine_that_is_the_same_is_not_noted_and_what_is_new_of_it_is(five: list[MeasuredRun]) -> None:
    assert decide(five[:3], Rules(), BASELINE, kept(five), updating=True).notes[3:-2] == ()
    changed = kept(five, machine={"name": "somewhere", "processors": 2, "memory": 8}, tool_version="0.0.9")
    assert decide(five[:3], Rules(), BASELINE, changed, updating=True).notes[3:-2] == (
        "the baseline was made elsewhere: memory (8 there, not set here), Trueload (0.0.9 there, 0.1.0 here); "
        "what changed may be the machine",
    )


def test_each_machine_of_the_runs_that_is_another_is_noted_once(five: list[MeasuredRun]) -> None:
    here = five[0].manifest.host
    runs = [
        dataclasses.replace(run, manifest=run.manifest.model_copy(update={"host": here | {"processors": n}}))
        for run, n in zip(five[:3], (2, 64, 64), strict=True)
    ]
    (note,) = decide(runs, Rules(), BASELINE, kept(five, machine=here | {"processors": 2}), updating=True).notes[3:-2]
    assert note.startswith("the baseline was made elsewhere: processors (2 there, 64 here)")


def test_a_baseline_of_another_version_is_not_said_to_be_of_another_machine(five: list[MeasuredRun]) -> None:
    older = kept(five, machine=five[0].manifest.host, tool_version="0.0.9")
    assert decide(five[:3], Rules(), BASELINE, older, updating=True).notes[3:-2] == (
        "the baseline was made by another version: Trueload (0.0.9 there, 0.1.0 here); what changed may be how it measures",
    )


def test_the_document_of_a_gate_names_all_runs_and_what_the_baseline_holds() -> None:
    good, bad = run_of(run_id="good"), run_of(run_id="bad", status="INVALID", reasons=("the clock was set",))
    (wanted,) = parse(["ttft:p50 < 1s"])
    shown = ObjectiveVerdict(wanted, 900.0, Interval(800.0, 950.0), HELD)
    unknown = ObjectiveVerdict(wanted, None, None, NOT_SHOWN, "too few")
    gate = Gate(
        (good,), (), (bad,), (shown, unknown), notes=("a",), baseline=filled(Baseline, runs=[{}, {}]), strict=True
    )
    found = result_of(gate, baseline=BASELINE, command=["bench", "gate"], notes=["b"])
    assert (found.exit, found.strict, found.notes) == (3, True, ["a", "b"])
    assert [(run.id, run.verdict, run.reasons, run.seconds) for run in found.runs] == [
        ("good", "VALID", [], 6.0), ("bad", "INVALID", ["the clock was set"], 6.0)
    ]  # fmt: skip
    assert found.baseline == GateBaseline(path="kept/baseline.json", runs=2)
    assert [(row.name, row.value, row.low, row.high, row.verdict, row.why)
            for row in found.objectives] == [
        ("ttft:p50<1s", 900.0, 800.0, 950.0, "held", ""), ("ttft:p50<1s", None, None, None, "not shown", "too few")
    ]  # fmt: skip
    assert found.counts == {"failed": 0, "held": 1, "not shown": 1}
    assert result_of(gate, baseline=None, command=[]).baseline is None
    begun = Gate((good,), (), ())
    assert result_of(begun, baseline=BASELINE, command=[]).baseline == GateBaseline(path="kept/baseline.json", runs=0)
