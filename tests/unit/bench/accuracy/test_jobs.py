"""Job seconds against the ledger: a correct report agrees, and each planted defect is caught and named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.accuracy.compare import certify
from bench.accuracy.distribution import STATS
from bench.accuracy.jobs import BEGUN_BEFORE, CUT, HUMAN, RESPONSE_END, SIDE_BY_SIDE, JobTruth
from bench.accuracy.join import Pair
from bench.metrics.quantile import describe
from bench.records import Outcome, RequestRecord, to_line
from bench.results.base import to_plain
from bench.results.sessions import Jobs
from bench.results.summary import RunSummary
from bench.run_files.run_directory import RunDirectory
from bench.verdict.finding import Status
from tests.support.certified_run import judged, summary_of
from tests.support.changed import replace
from tests.support.made_jobs import two_agents
from tests.support.made_ledger import LAG_NS, WAY_IN_NS, made_line
from tests.support.made_records import START_NS
from tests.support.rendered import certificate_text
from tests.support.results import filled
from tests.support.tables import measured

MS = 1e6


def _longer(record: RequestRecord, by_ns: int) -> RequestRecord:
    first, last = record.chunk_ns
    return replace(record, chunk_ns=(first, last + by_ns), end_ns=record.end_ns + 90_000_000)


def _records(jobs: int = 30) -> list[RequestRecord]:
    """Jobs of four steps, each a session: one was cut off, one failed, and one began in the warm-up."""
    records = [record for k in range(jobs) for record in two_agents(4 * k, 1500.0 * k + 7 * (k % 4), session=k)]
    stretched = [
        _longer(record, k % 9 * 10_000_000) if record.job_step == 3 else record for k, record in enumerate(records)
    ]
    at = 1500.0 * jobs
    cut = two_agents(4 * jobs, at, session=jobs)[:3]
    failed = [*two_agents(4 * jobs + 4, at, session=jobs + 1)[:3],
              replace(two_agents(4 * jobs + 4, at, session=jobs + 1)[3], outcome=Outcome.HTTP_ERROR, status=500, chunk_ns=(),
                      chunk_kind="", chunk_tokens=())]  # fmt: skip
    begun = [replace(r, phase="warmup" if k < 2 else "run")
             for k, r in enumerate(two_agents(4 * jobs + 8, -500.0, session=jobs + 2))]  # fmt: skip
    return [*stretched, *cut, *failed, *begun]


RECORDS = _records()


def _certified(
    folder: Path, change: Callable[[Any], Any] = lambda summary: summary, *, shared: bool = True
) -> dict[str, Any]:
    directory = RunDirectory.create(folder / "run")
    lines = [made_line(record, **({"status": 500} if record.status == 500 else {})) for record in RECORDS]
    (directory.path / "requests.jsonl").write_bytes(b"".join(map(to_line, RECORDS)))
    (directory.path / "ledger.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    found = certify(
        directory, filled(RunSummary, change(summary_of(RECORDS))), measured, start_ns=START_NS, shared_clock=shared
    )
    assert found is not None
    return to_plain(found[0]) | {"plots": to_plain(found[1])}


def _of_jobs(certificate: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["stat"]: row for row in certificate["metrics"] if row["metric"] == "job_ms"}


def _reported(seconds: Sequence[float]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A report with these job seconds instead of its own."""

    def changed(summary: Any) -> Any:
        job_s = summary["jobs"]["job_s"] | to_plain(describe(sorted(seconds)))
        return summary | {"jobs": summary["jobs"] | {"job_s": job_s}}

    return changed


def _by_job(of: Callable[[list[RequestRecord]], float], *, cut: bool = False) -> list[float]:
    """One value per completed job, plus one for the job that was cut off."""
    jobs = range(31 if cut else 30)
    return [of([r for r in RECORDS if r.session_number == number]) for number in jobs]


def _seconds(steps: list[RequestRecord]) -> float:
    return (max(r.chunk_ns[-1] for r in steps) - min(r.intended_ns for r in steps)) / 1e9


def test_a_report_that_is_right_is_off_by_the_lag_of_one_stamp(tmp_path: Path) -> None:
    certificate = _certified(tmp_path)
    assert [problem for problem in certificate["problems"] if "job" in problem] == []
    assert [cause for cause in certificate["causes"] if cause["metric"] == "job_ms"] == []
    rows = _of_jobs(certificate)
    assert set(rows) == {"mean", "p50", "p75", "p90", "p95", "p99", "max"}
    assert all(row["error"] == pytest.approx(LAG_NS / MS, abs=1e-6) for row in rows.values())
    assert rows["max"]["true"] == pytest.approx(1080.0, abs=0.01)
    printed = certificate_text(certificate)
    assert "Job (ms)" in printed


def test_without_a_shared_clock_the_network_is_in_the_error(tmp_path: Path) -> None:
    rows = _of_jobs(_certified(tmp_path, shared=False))
    assert rows["p50"]["error"] == pytest.approx((LAG_NS + WAY_IN_NS) / MS, abs=1e-6)


@pytest.mark.parametrize(
    ("seconds", "cause", "problem"),
    [
        (_by_job(lambda steps: sum((r.chunk_ns[-1] - r.intended_ns + (r.pause_ns or 0) * (r.pause == "tool")) / 1e9
                                   for r in steps)), SIDE_BY_SIDE, None),
        (_by_job(lambda steps: _seconds(steps) + sum((r.pause_ns or 0) / 1e9 for r in steps if r.pause == "human")),
         HUMAN, None),
        (_by_job(_seconds, cut=True), CUT, "job_ms: 31 values measured, and 30 in the ledger"),
        ([s + 0.08 for s in _by_job(_seconds)], "all quantiles are shifted by +80", None),
    ],
    ids=["side by side twice", "the human pause", "a cut job", "a shift"],
)  # fmt: skip
def test_a_planted_defect_is_caught_and_named(
    seconds: list[float], cause: str, problem: str | None, tmp_path: Path
) -> None:
    certificate = _certified(tmp_path, _reported(seconds))
    (found,) = [one["cause"] for one in certificate["causes"] if one["metric"] == "job_ms"]
    assert cause in found
    assert (problem is None) or problem in certificate["problems"]
    rows = {"metrics": list(_of_jobs(certificate).values()), "problems": [problem] if problem else []}
    assert judged({**certificate, **rows}).status is Status.INVALID


def test_a_job_that_the_run_entered_in_its_middle_is_known_among_the_values() -> None:
    # Two whole jobs of a second, and one whose first step was sent in the warm-up.
    truth = JobTruth(shared_clock=True)
    begun = [
        replace(record, phase="run" if k else "warmup") for k, record in enumerate(two_agents(8, 4000.0, session=2))
    ]
    for record in [*two_agents(0, 0.0, session=0), *two_agents(4, 2000.0, session=1), *begun]:
        truth.add(Pair(record, made_line(record)))
    seconds = 1.0 - LAG_NS / 1e9
    reported = filled(Jobs, job_s={"n": 3, **dict.fromkeys(STATS, seconds), "p999": None})
    rows, problems, causes = truth.compared(reported)
    assert {row.stat: row.error for row in rows} == dict.fromkeys(set(STATS) - {"p999"}, pytest.approx(0.0, abs=1e-6))
    assert problems == ["job_ms: 3 values measured, and 2 in the ledger"]
    (cause,) = causes
    assert cause.cause.startswith(f"{BEGUN_BEFORE} are included: there are 1 values too many")
    assert JobTruth(shared_clock=True).compared(None) == ([], [], [])


def test_each_mistake_gives_job_seconds_of_its_own_and_what_is_left_out_is_counted() -> None:
    truth = JobTruth(shared_clock=True)
    lag = LAG_NS / MS
    job = two_agents(0, 0.0, session=0)
    for record in job:
        # Each response ends 90 ms after its last token.
        truth.add(Pair(record, made_line(record) | {"end_ns": record.chunk_ns[-1] + 90_000_000}))
    steps = [
        (r.intended_ns - START_NS, r.chunk_ns[-1] - START_NS, r.pause_ns or 0, r.pause)
        for r in sorted(job, key=lambda r: r.index)
    ]
    whole = (max(end for _, end, _, _ in steps) - min(due for due, _, _, _ in steps)) / MS

    def caused(mean_ms: float, n: int = 1) -> str:
        reported = filled(Jobs, job_s={"n": n, **dict.fromkeys(STATS, mean_ms / 1000), "p999": None})
        (cause,) = truth.compared(reported)[2]
        return cause.cause

    human = sum(pause for _, _, pause, kind in steps if kind == "human") / MS
    tools = sum(pause for _, _, pause, kind in steps if kind == "tool") / MS
    assert human > 50
    assert SIDE_BY_SIDE in caused(sum((end - due) / MS - lag for due, end, _, _ in steps) + tools)
    assert HUMAN in caused(whole - lag + human)
    assert RESPONSE_END in caused(whole + 90)
    assert (
        truth.compared(filled(Jobs, job_s={"n": 1, **dict.fromkeys(STATS, (whole - lag) / 1000), "p999": None}))[2]
        == []
    )
    # If the report has no values, nothing is compared, and the certificate says so.
    none = truth.compared(filled(Jobs, job_s={"n": 0, **dict.fromkeys(STATS)}))
    assert (none[0], none[1]) == ([], ["job_ms: 0 values measured, and 1 in the ledger"])
    assert truth.compared(None)[1] == none[1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"phase": "warmup"}, None),  # All steps of the job were in the warm-up.
        ({"outcome": Outcome.CANCELLED}, CUT),
        ({"sent_ns": None}, CUT),
    ],
)
def test_a_job_of_steps_that_were_not_served_is_left_out(change: dict[str, Any], sentence: str | None) -> None:
    truth = JobTruth(shared_clock=True)
    for record in two_agents(0, 0.0, session=0):
        truth.add(Pair(record, made_line(record)))
    for record in two_agents(4, 9_000.0, session=1):
        truth.add(Pair(replace(record, **change), made_line(record)))
    seconds = max(r.chunk_ns[-1] for r in two_agents(0, 0.0, session=0)) - START_NS - LAG_NS
    for n, cause in ((1, None), (2, sentence)):
        reported = filled(Jobs, job_s={"n": n, **dict.fromkeys(STATS, seconds / 1e9), "p999": None})
        _, problems, causes = truth.compared(reported)
        assert len(problems) == n - 1
        assert any(cause in found.cause for found in causes) if cause else not [c for c in causes if CUT in c.cause]


def test_what_is_no_step_of_a_job_is_passed_over() -> None:
    truth = JobTruth(shared_clock=True)
    for name in ("session_number", "job", "job_step", "job_steps"):
        missing: dict[str, Any] = {name: None}
        for record in two_agents(0, 0.0, session=0):
            truth.add(Pair(replace(record, **missing), made_line(record)))
    assert truth.compared(None) == ([], [], [])


def test_stamps_that_are_late_give_the_job_seconds_that_are_reported_by_their_last_token() -> None:
    truth = JobTruth(shared_clock=True)
    late_ns, after_ns = 80_000_000, 50_000_000
    for record in two_agents(0, 0.0, session=0):
        first, last = record.chunk_ns
        # The usage chunk comes 50 ms after the last token.
        served = replace(record, chunk_ns=(first, last, last + after_ns), chunk_kind="ccu", chunk_tokens=(1, 1, 0))
        seen = replace(served, chunk_ns=(first, last + late_ns, last + late_ns + after_ns))
        truth.add(Pair(seen, made_line(served)))
    reported = filled(Jobs, job_s={"n": 1, **dict.fromkeys(STATS, 1.08), "p999": None})
    rows, problems, (cause,) = truth.compared(reported)
    assert problems == []
    assert [row.error for row in rows] == [pytest.approx(80 + LAG_NS / MS)] * len(rows)
    assert cause.cause == "the time stamps are late: all quantiles are shifted by +80.002 ms"
