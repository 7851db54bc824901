"""What a collector receives, read with protobuf; and the exporting process as the run sees it."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import threading
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from typing import Any

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.process import child_process
from bench.telemetry import exporting, otlp
from bench.telemetry.declared import METRICS
from bench.telemetry.exporting import Telemetry
from bench.telemetry.otlp import Otlp
from bench.telemetry.spans import ClientSpan, span_of
from bench.telemetry.task import DIED, Exported, Ready, Subject, TelemetryTask
from bench.telemetry.totals import Distribution, Exemplar, Point
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.otlp_receiver import otlp_receiver, plain
from tests.support.patience import PATIENCE_S

SUBJECT = Subject(run_id="made", name="run", version="0.2", endpoint="chat", generates=True, model="m", host="h", port=8000,
                  load_unit="users", request={})  # fmt: skip
GOOD = ClientSpan(
    name="chat m", trace_id="ab" * 16, span_id="cd" * 8, begin_ns=30, end_ns=40, attributes={"a": 1}, error=None
)
BAD = replace(GOOD, span_id="ef" * 8, error="busy")


def points() -> list[Point]:
    ttft = METRICS["trueload.ttft"]
    values = Distribution([0, 2, 1, *[0] * 17], total=0.5, least=0.002, most=0.007)
    values.exemplars[1] = Exemplar(0.004, 25, "ab" * 16, "cd" * 8)
    return [
        Point(ttft, (("x", "y"),), values),
        Point(METRICS["trueload.requests.ended"], (("a", "1"),), 3),
        Point(METRICS["trueload.requests.ended"], (("a", "2"),), 4),
        Point(METRICS["trueload.load"], (), 2.5),
    ]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(otlp, "GIVEN_UP_WITHIN_S", PATIENCE_S)
    for name in ("OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def until(done: Callable[[], bool]) -> None:
    """Give the sender's thread its turns."""
    for _ in range(round(PATIENCE_S * 1000)):
        if done():
            return
        threading.Event().wait(0.001)
    pytest.fail("it never came")


@pytest.mark.parametrize("ending", ["", "/", "/v1/metrics", "/v1/traces/", "/v1/logs"])
def test_a_collector_gets_every_point_and_span_in_unix_time(ending: str) -> None:
    with otlp_receiver() as collector:
        sender = Otlp(collector.url + ending, SUBJECT, 1000, 10)
        sender.tell(20, points(), [GOOD, BAD])
        assert sender.finish(PATIENCE_S) == Exported(exports=2, spans=2)
    assert collector.resource == {
        "service.name": "trueload", "service.version": "0.2", "service.instance.id": "made", "trueload.run.name": "run",
    }  # fmt: skip
    (scope,) = collector.metrics[-1].resource_metrics[0].scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("trueload", "0.2")
    found = collector.last
    (histogram,) = found["trueload.ttft"].histogram.data_points
    assert (histogram.start_time_unix_nano, histogram.time_unix_nano, histogram.count) == (1010, 1020, 3)
    assert (histogram.sum, histogram.min, histogram.max) == (0.5, 0.002, 0.007)
    assert (list(histogram.bucket_counts), plain(histogram.attributes)) == ([0, 2, 1, *[0] * 17], {"x": "y"})
    assert list(histogram.explicit_bounds) == list(METRICS["trueload.ttft"].bounds)
    (exemplar,) = histogram.exemplars
    assert (exemplar.as_double, exemplar.time_unix_nano) == (0.004, 1025)
    assert (exemplar.trace_id, exemplar.span_id) == (b"\xab" * 16, b"\xcd" * 8)
    ended = found["trueload.requests.ended"].sum
    assert (ended.is_monotonic, ended.aggregation_temporality, found["trueload.ttft"].unit) == (True, 2, "s")
    assert [(plain(point.attributes), point.as_int) for point in ended.data_points] == [
        ({"a": "1"}, 3),
        ({"a": "2"}, 4),
    ]
    assert [(point.time_unix_nano, point.as_double) for point in found["trueload.load"].gauge.data_points] == [
        (1020, 2.5)
    ]
    good, bad = collector.spans
    assert (good.name, good.kind, good.trace_id, good.span_id) == ("chat m", 3, b"\xab" * 16, b"\xcd" * 8)
    assert (good.start_time_unix_nano, good.end_time_unix_nano, plain(good.attributes)) == (1030, 1040, {"a": 1})
    assert (good.status.code, bad.status.code, bad.status.message) == (0, 2, "busy")


def test_of_many_spans_the_oldest_are_lost_and_the_others_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MOST_WAITING", 3)
    monkeypatch.setattr(otlp, "AT_ONCE", 2)
    with otlp_receiver() as collector:
        sender = Otlp(collector.url, SUBJECT, 0, 0)
        sender.tell(20, points(), [replace(GOOD, begin_ns=n) for n in range(1, 11)])
        assert sender.finish(PATIENCE_S) == Exported(exports=3, spans=3, lost_spans=7)
    assert [span.start_time_unix_nano for span in collector.spans] == [8, 9, 10]
    assert [len(traces.resource_spans[0].scope_spans[0].spans) for traces in collector.traces] == [2, 1]


def test_a_collector_that_refuses_is_told_with_what_was_lost() -> None:
    with otlp_receiver() as collector:
        collector.status = 400
        sender = Otlp(collector.url, SUBJECT, 0, 0)
        sender.tell(20, points(), [GOOD, BAD])
        found = sender.finish(PATIENCE_S)
    assert found.failed == found.exports >= 1
    assert (found.spans, found.lost_spans, found.unfinished) == (0, 2, False)
    assert found.error is not None
    assert "400" in found.error


@pytest.mark.parametrize(
    ("status", "kind", "answer", "error", "spans"),
    [
        (301, "text/plain", b"", "status 301 redirects to no place: give the collector's own URL", 0),
        (200, "text/html; charset=utf-8", b"<html>", "an HTML page answered, not a collector", 0),
        (200, "application/x-protobuf", b"\xff\xfe", "the answer is not OTLP", 0),
        (200, "application/x-protobuf", b"\x0a\x06\x08\x01\x12\x02no", "the collector rejected 1: no", 1),
        (200, "application/x-protobuf", b"\x0a\x04\x12\x02ok", None, 2),  # Only a warning: nothing was rejected.
        (200, "application/json", b"{}", None, 2),
        (202, "text/plain", b"", None, 2),
    ],
)
def test_an_answer_that_is_no_success_counts_as_a_failure_with_its_reason(
    status: int, kind: str, answer: bytes, error: str | None, spans: int
) -> None:
    with otlp_receiver() as collector:
        collector.status, collector.kind, collector.answer = status, kind, answer
        sender = Otlp(collector.url, SUBJECT, 0, 0)
        sender.tell(20, points(), [GOOD, BAD])
        found = sender.finish(PATIENCE_S)
    assert (found.error, found.failed) == (error, found.exports if error else 0)
    assert found.exports >= 1
    # After a failure, the spans may not have been sent.
    assert (found.spans, found.lost_spans) in ((spans, 2 - spans), (0, 2) if error else (2, 0))


class Exporter:
    """An exporter of the SDK. `good`: whether it succeeds."""

    def __init__(self, good: bool, shut_down: list[str], result: Any) -> None:
        self.good, self.shut_down, self.result = good, shut_down, result
        self.exported = 0

    def export(self, data: object) -> Any:
        self.exported += 1
        return self.result.SUCCESS if self.good else self.result.FAILURE

    def shutdown(self) -> None:
        self.shut_down.append(self.result.__name__)


@pytest.mark.parametrize(
    ("takes_metrics", "takes_spans", "found", "shut_down"),
    [
        (True, True, Exported(exports=3, spans=4), []),
        (False, True, Exported(exports=3, failed=2, spans=4), []),
        (True, False, Exported(exports=3, failed=1, lost_spans=4), []),
        (False, False, Exported(exports=3, failed=3, lost_spans=4), ["MetricExportResult", "SpanExportResult"]),
    ],
)
def test_spans_are_tried_where_metrics_fail_and_who_took_nothing_is_not_tried_for_long(
    takes_metrics: bool, takes_spans: bool, found: Exported, shut_down: list[str]
) -> None:
    from opentelemetry.sdk.metrics.export import MetricExportResult
    from opentelemetry.sdk.trace.export import SpanExportResult

    sender, ended = Otlp("http://127.0.0.1:1", SUBJECT, 0, 0), list[str]()
    metrics, traces = Exporter(takes_metrics, ended, MetricExportResult), Exporter(takes_spans, ended, SpanExportResult)
    sender._metrics, sender._traces = metrics, traces  # type: ignore[assignment]
    for spans in ([GOOD, BAD, GOOD, BAD], []):
        before = sender._exports
        sender.tell(20, points(), spans)
        until(lambda before=before, spans=spans: sender._exports == before + 1 + bool(spans))  # type: ignore[misc]
    sender._errors.seen.set()  # The SDK sets this at each failure.
    assert sender.finish(PATIENCE_S) == found
    assert ended == shut_down


def test_the_url_of_the_environment_is_left_to_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        sender = Otlp("env", SUBJECT, 0, 0)
        sender.tell(20, points(), [])
        assert sender.finish(PATIENCE_S) == Exported(exports=1)
    assert collector.resource["service.name"] == "mine"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("Failed to export\n batch code: 400, reason: bad", "Failed to export batch code: 400, reason: bad"),
        ("pool(\"[Errno 111] Connection refused'))", "Connection refused"),
        ("Transient error Service Unavailable encountered while exporting", "Service Unavailable"),
        (
            "Max retries exceeded with url: /v1/metrics?key=pw (SSLError)",
            "Max retries exceeded with url: /v1/metrics?*** (SSLError)",
        ),
        ("x" * 300, "x" * 200),
        ("gave up due to timeout", None),
        ("Exporter already SHUTDOWN, ignoring batch", None),
    ],
)
def test_the_reason_of_a_failed_export_is_short(said: str, text: str | None) -> None:
    errors = otlp._LastError()
    errors.handle(logging.makeLogRecord({"msg": said, "levelno": logging.WARNING}))
    assert (errors.text, errors.seen.is_set(), errors.level) == (text, True, logging.WARNING)


@pytest.mark.parametrize(
    ("record", "conversation"),
    [
        ({"session": "s", "session_number": 4}, "s"), ({"session": "s", "session_number": None}, "s"),
        ({"session": None, "session_number": 4}, "made-session-4"), ({"session": None, "session_number": None}, None),
    ],
)  # fmt: skip
def test_a_span_names_its_conversation(record: dict[str, Any], conversation: str | None) -> None:
    span = span_of(made_record(3, traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01", **record), SUBJECT)
    assert span is not None
    assert span.attributes.get("gen_ai.conversation.id") == conversation


# ---- The process, seen from the run ----


class Process(subprocess.Popen[bytes]):
    def __init__(self) -> None:
        self.calls: list[object] = []
        self.ended = False

    def poll(self) -> int | None:
        return 0 if self.ended else None

    def wait(self, timeout: float | None = None) -> int:
        self.calls.append(timeout)
        if timeout is not None:
            raise subprocess.TimeoutExpired("exports", timeout)
        return 0

    def kill(self) -> None:
        self.calls.append("kill")

    def __del__(self) -> None:
        """There is no process."""


TASK = TelemetryTask(directory="d", otlp=None, address=None, linger_s=0.0, finish_within_s=5.0)
Work = Callable[[Telemetry, Connection, Process], Coroutine[Any, Any, None]]


def beside(work: Work, monkeypatch: pytest.MonkeyPatch, task: TelemetryTask = TASK) -> None:
    """Run `work` with the program's end of the connection."""
    process = Process()
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(child_process, "start", lambda module: (process, ours))
    connection = Connection(theirs.detach())
    telemetry = Telemetry(task)

    async def main() -> None:
        await work(telemetry, connection, process)

    asyncio.run(main())
    process.calls.clear()
    telemetry.close()
    telemetry.close()
    assert process.calls == [0.0, "kill", None] * 2
    connection.close()


def test_a_run_begins_and_ends_what_it_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(telemetry: Telemetry, program: Connection, process: Process) -> None:
        program.send(Ready((), ("a note",), "http://page"))
        assert await telemetry.ready() == ("a note",)
        assert (program.recv(), telemetry.page) == (TASK, "http://page")
        telemetry.begin(resolve({"url": "https://h/v1"}), "r", "m")
        subject = program.recv()
        assert (subject.run_id, subject.model, subject.host, subject.port) == ("r", "m", "h", 443)
        program.send(Exported(lost_spans=1))
        assert await telemetry.finish() == ("--otlp: 1 of 1 spans were not exported",)
        assert program.recv() is None

    beside(work, monkeypatch)


def test_problems_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(telemetry: Telemetry, program: Connection, process: Process) -> None:
        program.send(Ready(("one", "two")))
        with pytest.raises(UsageError) as refused:
            await telemetry.ready()
        assert (refused.value.problems, telemetry.page) == (["one", "two"], None)

    beside(work, monkeypatch)


def test_a_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(telemetry: Telemetry, program: Connection, process: Process) -> None:
        program.close()
        with pytest.raises(UsageError, match="did not start: leave out --otlp and --metrics-port"):
            await telemetry.ready()
        telemetry.begin(resolve({"url": "http://h"}), "r", "m")
        assert await telemetry.finish() == (DIED,)

    beside(work, monkeypatch)


def test_an_export_without_an_end_is_given_twice_its_time_and_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def wait_for(awaited: Coroutine[Any, Any, Any], timeout: float) -> None:
        awaited.close()
        waited.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(asyncio, "wait_for", wait_for)

    async def work(telemetry: Telemetry, program: Connection, process: Process) -> None:
        assert await telemetry.finish() == ("--otlp: the last export was not done 5 s after the load",)

    beside(work, monkeypatch)
    assert waited == [13.0]


@pytest.mark.parametrize(
    ("page", "linger_s", "ended", "lingers"),
    [("http://page", 9.0, False, True), (None, 9.0, False, False), ("http://page", 0.0, False, False),
     ("http://page", 9.0, True, False), ("http://page", 0.5, False, True)],
)  # fmt: skip
def test_a_page_waits_for_one_more_reader(
    page: str | None, linger_s: float, ended: bool, lingers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(telemetry: Telemetry, program: Connection, process: Process) -> None:
        telemetry.page, process.ended = page, ended
        assert telemetry.lingers is lingers
        telemetry.linger()
        assert process.calls == [linger_s + 3.0]

    beside(work, monkeypatch, replace(TASK, linger_s=linger_s))


def test_without_the_sdk_a_collector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError

    for find in (missing, lambda name: None):
        monkeypatch.setattr(exporting, "find_spec", find)
        with pytest.raises(UsageError, match="--otlp needs the OpenTelemetry SDK: pip install opentelemetry-sdk"):
            Telemetry(replace(TASK, otlp="env"))
