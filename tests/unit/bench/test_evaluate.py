"""From a run directory to its numbers and its exit status; repeatedly, with the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bench import manifest as stored
from bench.accuracy import compare
from bench.api.runs import result_of
from bench.clock import NS_PER_S
from bench.config import resolve
from bench.errors import PRECEDENCE, Exit, UsageError
from bench.evaluate import _evidence, _read, evaluate, exit_status, too_many_errors
from bench.records import Outcome, to_line
from bench.results.summary import Counts, RunSummary
from bench.run_facts import facts_of
from bench.run_files.load_change import LoadChange
from bench.run_files.run_directory import CHANGES, MOCK, RunDirectory
from bench.verdict.finding import Status
from tests.support.made_records import START_NS, made_record
from tests.support.results import filled

MANIFEST = {
    "run_id": "run-1", "started": "2030-01-01T00:00:00+00:00", "command": ["python"], "model": "m", "notes": [],
    "exact_lengths": False, "versions": {}, "host": {}, "start_ns": START_NS, "run_start_ns": START_NS,
    "stop_reason": "requests",
}  # fmt: skip


def run_directory(
    folder: Path, *records: Any, settings: Mapping[str, Any] | None = None, **manifest: Any
) -> RunDirectory:
    directory = RunDirectory.create(folder)
    config = resolve({"url": "http://h", "requests": 20, **(settings or {})})
    directory.write_manifest({"config": config.public(), "manifest": MANIFEST | manifest})
    (directory.path / "requests.jsonl").write_bytes(b"".join(map(to_line, records)))
    return directory


@pytest.mark.parametrize(
    ("of_probes", "of_others", "counted", "seen"), [(90, 0, 100, False), (90, 90, 100, True), (90, 90, None, False)]
)
def test_probes_may_come_from_the_cache_and_other_prompts_not(
    of_probes: int, of_others: int, counted: int | None, seen: bool, tmp_path: Path
) -> None:
    """If the tokens of probes are not counted, hits are no sign."""
    probes = [
        made_record(i, sent_ms=10 * i, probe=0, input_tokens=counted, input_tokens_asked=None, cached_tokens=of_probes)
        for i in range(5)
    ]
    others = [made_record(i, sent_ms=10 * i, input_tokens=100, cached_tokens=of_others) for i in range(5, 20)]
    settings = {"check_answers": "25%"}
    result = evaluate(run_directory(tmp_path / "run", *probes, *others, settings=settings))
    assert ("cache_hits" in (result.summary.verdict.signs or ())) is seen


def test_the_same_files_give_the_same_bytes_again(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", *(made_record(i, sent_ms=10 * i) for i in range(20)))
    evaluate(directory)
    first = [(directory.path / name).read_bytes() for name in ("summary.json", "report.html")]
    evaluate(RunDirectory.open(directory.path))
    assert [(directory.path / name).read_bytes() for name in ("summary.json", "report.html")] == first


def test_a_run_that_was_killed_is_evaluated_from_what_it_wrote(tmp_path: Path) -> None:
    records = [made_record(i, sent_ms=100 + 10 * i) for i in range(5)]
    warmup = made_record(8, sent_ms=50, phase="warmup")
    directory = run_directory(tmp_path / "run", warmup, *records, run_start_ns=None, stop_reason=None)
    with (directory.path / "requests.jsonl").open("ab") as file:
        file.write(to_line(made_record(9))[:-30])
    result = evaluate(directory)
    assert result.summary.counts.succeeded == 5
    assert result.exit is Exit.GOOD
    # Its time begins with its first request after the warm-up.
    assert facts_of(stored.read(directory), directory).start_ns == records[0].intended_ns


@pytest.mark.parametrize(("warmup_s", "start_s"), [(0, 5.0), (3, 2.0), (5, 0.0), (9, 0.0)])
def test_the_window_begins_when_all_users_have_come_even_if_they_came_in_the_warm_up(
    warmup_s: int, start_s: float, tmp_path: Path
) -> None:
    records = [made_record(i, sent_ms=100 * i) for i in range(100)]
    settings = {"rate": None, "concurrency": 4, "ramp_up": "5s"}
    directory = run_directory(tmp_path / "run", *records, settings=settings, start_ns=START_NS - warmup_s * NS_PER_S)
    assert evaluate(directory).summary.window.start_s == pytest.approx(start_s, abs=0.01)


@pytest.mark.parametrize("state", ["preparing", "probing"])
def test_a_run_that_ended_before_its_load_has_nothing_to_evaluate(state: str, tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", state=state)
    with pytest.raises(UsageError, match=f"the run was ended while {state}, before it sent any load$"):
        evaluate(directory)


@pytest.mark.parametrize(
    ("length", "end_s"),
    # A duration fixes the end of the load. A number of requests does not: then the part ends with the last due request.
    [({"duration": "10s", "requests": None}, 10.0), ({"requests": 8}, 7.0)],
)
def test_the_last_part_of_a_changed_load_ends_with_the_load(
    length: dict[str, Any], end_s: float, tmp_path: Path
) -> None:
    records = [made_record(i, sent_ms=1000 * i) for i in range(8)]
    stop_reason = "requests" if "duration" not in length else "duration"
    directory = run_directory(
        tmp_path / "run", *records, settings={"rate": "1", **length}, stop_reason=stop_reason, workers=1
    )
    (directory.path / CHANGES).write_bytes(
        LoadChange(t_ns=START_NS + 4 * NS_PER_S, before=1.0, after=2.0, by="terminal").to_line()
    )
    segments = evaluate(directory).summary.segments
    assert segments is not None
    assert [(one.start_s, one.end_s) for one in segments] == [(0.0, 4.0), (4.0, pytest.approx(end_s, abs=1e-6))]


def test_each_class_has_its_planned_share_its_objectives_and_its_verdict(tmp_path: Path) -> None:
    classes = [{"name": "chat", "share": 3}, {"name": "batch", "share": 1}]
    settings = {"mix": {"classes": classes}, "slo": ["ttft{class=chat}:p50<100ms", "ttft{class=batch}:p50<20ms"]}
    chat = [made_record(i, sent_ms=10 * i, chunks_ms=(50.0, 60.0), traffic_class="chat") for i in range(12)]
    batch = [made_record(12 + i, sent_ms=10 * i, chunks_ms=(50.0, 60.0), traffic_class="batch") for i in range(4)]
    rows = evaluate(run_directory(tmp_path / "run", *chat, *batch, settings=settings)).summary.classes
    assert rows is not None
    assert [(row.name, row.planned_share, row.slo_held, row.verdict.status) for row in rows] == [
        ("chat", 0.75, True, Status.VALID), ("batch", 0.25, False, Status.VALID),
    ]  # fmt: skip


@pytest.mark.parametrize(("replicas", "targets"), [(None, ()), ("address", ("http://a", "http://b")), ("reply", ())])
def test_only_a_run_over_addresses_has_numbers_of_each(
    replicas: str | None, targets: tuple[str, ...], tmp_path: Path
) -> None:
    directory = run_directory(tmp_path / "run", settings={"url": ["http://a", "http://b"]}, replicas=replicas)
    facts = facts_of(stored.read(directory), directory)
    assert (facts.replicas, facts.targets) == (replicas, targets)


def test_an_interval_has_its_two_ends_and_a_number_without_one_has_none(tmp_path: Path) -> None:
    records = [made_record(i, sent_ms=10 * i, chunks_ms=(20.0 + i % 7, 60.0)) for i in range(60)]
    found = result_of(evaluate(run_directory(tmp_path / "run", *records)))
    low, high = found.interval("ttft:p50") or (0.0, 0.0)
    value = found.value("ttft:p50")
    assert value is not None
    assert 0 < low <= value <= high
    assert low < high
    assert found.interval("job:p50") is None


def test_a_run_in_which_nothing_ended_has_a_report_too(tmp_path: Path) -> None:
    result = evaluate(run_directory(tmp_path / "run"))
    assert result.summary.counts.sent == 0
    assert (tmp_path / "run" / "report.html").stat().st_size > 1_000


def test_a_run_in_which_every_request_failed_has_a_report_and_exit_4(tmp_path: Path) -> None:
    records = [made_record(i, chunks_ms=(), outcome=Outcome.CONNECT_ERROR) for i in range(5)]
    assert evaluate(run_directory(tmp_path / "run", *records)).exit is Exit.TARGET


GOOD_RUN: Any = {
    "counts": {"succeeded": 90, "failed": 10}, "verdict": {"status": "VALID"}, "slo": {"held": True},
}  # fmt: skip

STATUSES: list[tuple[str, dict[str, Any], dict[str, Any], Exit]] = [
    # what holds: changes of the summary, the manifest's reason, the status
    ("all is well", {}, {}, Exit.GOOD),
    ("suspect", {"verdict": {"status": "SUSPECT"}}, {}, Exit.GOOD),
    ("no objectives", {"slo": {"held": None}}, {}, Exit.GOOD),
    ("an objective failed", {"slo": {"held": False}}, {}, Exit.OBJECTIVE_FAILED),
    ("invalid", {"verdict": {"status": "INVALID"}}, {}, Exit.INVALID),
    ("invalid and an objective failed", {"verdict": {"status": "INVALID"}, "slo": {"held": False}}, {}, Exit.INVALID),
    ("every request failed", {"counts": {"succeeded": 0, "failed": 10}}, {}, Exit.TARGET),
    ("every request failed and invalid", {"counts": {"succeeded": 0, "failed": 10}, "verdict": {"status": "INVALID"}},
     {}, Exit.TARGET),
    ("the target failed", {"verdict": {"status": "FAILED"}}, {}, Exit.TARGET),
    ("the target failed and an objective", {"verdict": {"status": "FAILED"}, "slo": {"held": False}}, {}, Exit.TARGET),
    ("interrupted", {}, {"stop_reason": "interrupted"}, Exit.INTERRUPTED),
    ("interrupted, failed and invalid", {"counts": {"succeeded": 0, "failed": 10}, "verdict": {"status": "INVALID"}},
     {"stop_reason": "interrupted"}, Exit.INTERRUPTED),
]  # fmt: skip


@pytest.mark.parametrize(("what", "changes", "manifest", "status"), STATUSES, ids=[row[0] for row in STATUSES])
def test_of_all_that_holds_the_first_in_the_order_is_the_exit_status(
    what: str, changes: dict[str, Any], manifest: dict[str, Any], status: Exit
) -> None:
    assert exit_status(filled(RunSummary, GOOD_RUN | changes), stop_reason=manifest.get("stop_reason")) is status


def test_the_order_of_the_exit_statuses_is_the_promised_one() -> None:
    assert [int(status) for status in PRECEDENCE] == [130, 2, 70, 4, 3, 1, 0]


@pytest.mark.parametrize(
    ("limit", "failed", "succeeded", "too_many"),
    [
        (None, 100, 0, False), ("10", 10, 90, False), ("10", 11, 89, True), ("0", 1, 99, True), ("0", 0, 99, False),
        ("10%", 10, 90, False), ("10%", 11, 89, True), ("0.5%", 1, 99, True), ("5%", 0, 0, False),
    ],
)  # fmt: skip
def test_max_errors_is_a_number_or_a_share(limit: str | None, failed: int, succeeded: int, too_many: bool) -> None:
    assert too_many_errors(filled(Counts, failed=failed, succeeded=succeeded), limit) is too_many


def test_too_many_errors_fail_a_run() -> None:
    assert exit_status(filled(RunSummary, GOOD_RUN), max_errors="9") is Exit.OBJECTIVE_FAILED
    assert exit_status(filled(RunSummary, GOOD_RUN), max_errors="10") is Exit.GOOD


@pytest.mark.parametrize(
    ("load", "planned"), [({"rate": 10, "arrivals": "constant"}, True), ({"concurrency": 2}, False)]
)
def test_a_certificate_compares_with_the_arrivals_that_the_rate_planned(
    load: dict[str, Any], planned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a constant 10/s an arrival follows the last by 100 ms, from the start of the load on."""
    given: list[Any] = []
    monkeypatch.setattr(compare, "certify", lambda *of, planned, **more: given.append(planned))
    directory = run_directory(tmp_path / "run", made_record(0), settings=load)
    directory.write(MOCK, b"{}")
    evaluate(directory)
    (arrivals,) = given
    assert (arrivals is not None) is planned
    if planned:
        first, second = islice(arrivals, 2)
        assert (START_NS <= first <= START_NS + NS_PER_S, second - first) == (True, NS_PER_S // 10)


@pytest.mark.parametrize(("host", "limit"), [({}, None), ({"cpu_limit": "0.5"}, "0.5"), ({"cpu_limit": 2}, "2")])
def test_the_cpu_limit_of_a_container_is_evidence(host: dict[str, object], limit: str | None, tmp_path: Path) -> None:
    measured = _read(run_directory(tmp_path / "run", made_record(0), host=host))
    assert _evidence(measured, None, None).cpu_limit == limit
