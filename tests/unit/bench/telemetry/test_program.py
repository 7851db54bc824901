"""The exporting program, run in this process: what it reads of a run, its answers, and the page that it serves."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench import clock
from bench.process import child_process
from bench.records import to_line
from bench.telemetry import program
from bench.telemetry.declared import METRICS
from bench.telemetry.page import Families, Page
from bench.telemetry.program import Exporting, Files, every_ns
from bench.telemetry.task import Exported, Ready, Subject, TelemetryTask
from bench.telemetry.totals import Distribution, Exemplar, Point, Totals
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.patience import PATIENCE_S

TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"
SUBJECT = Subject(run_id="made", name="run", version="0.2", endpoint="chat", generates=True, model="m", host="h", port=8000,
                  load_unit="users", request={})  # fmt: skip
LINE = {"planned": 9, "sent": 8, "dropped": 1, "in_flight": 3, "load": 4, "share_done": 0.5,
        "second": {"output_tokens": 70}, "client": {"loop_lag_ms": 2.5, "cpu": 0.25}}  # fmt: skip


def task(directory: Path, **changes: Any) -> TelemetryTask:
    return replace(
        TelemetryTask(directory=str(directory), otlp=None, address=None, linger_s=0, finish_within_s=5.0), **changes
    )


def value(points: Any, name: str) -> float:
    return float(sum(point.value for point in points if point.metric.name == name))


@pytest.mark.parametrize(
    ("text", "ns"),
    [("", 10**9), ("5000", 5 * 10**9), ("1", 10**6), ("0", 10**9), ("-5", 10**9), ("soon", 10**9)],
)
def test_it_exports_each_second_or_as_often_as_the_environment_says(
    text: str, ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", text)
    assert every_ns() == ns


def test_every_whole_line_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, totals = Files(tmp_path), Totals(SUBJECT)
    assert files.read(totals, SUBJECT) == []
    assert [*totals.points()] == []
    traced = to_line(made_record(0, traceparent=TRACE))
    (tmp_path / "live.jsonl").write_bytes(orjson.dumps(LINE) + b"\nnot JSON\n" + orjson.dumps(LINE) + b"\n")
    (tmp_path / "requests-0.jsonl").write_bytes(traced + b"damaged\n")
    (tmp_path / "requests-1.jsonl").write_bytes(to_line(made_record(1)) + b'{"half')
    (tmp_path / "requests-x.jsonl").write_bytes(to_line(made_record(2)))
    (span,) = files.read(totals, SUBJECT)
    assert span.span_id == "cd" * 8
    assert value(totals.points(), "trueload.output_tokens.arrived") == 140
    assert value(totals.points(), "trueload.requests.ended") == 2
    assert files.unread() == len(b'{"half')
    (tmp_path / "requests.jsonl").write_bytes(traced * 2)
    monkeypatch.setattr(clock, "now_ns", lambda: 7)
    assert files.read(totals, SUBJECT, until_ns=7) == []
    assert files.unread() == len(b'{"half') + 2 * len(traced)
    assert len(files.read(totals, SUBJECT, until_ns=8)) == 2
    assert value(totals.points(), "trueload.requests.ended") == 4


class Collector:
    """Receives exports, as `Otlp` does."""

    def __init__(self, *given: object) -> None:
        self.given, self.told, self.finished = given, list[tuple[Any, ...]](), list[float]()

    def tell(self, *news: Any) -> None:
        self.told.append(news)

    def finish(self, within_s: float) -> Exported:
        self.finished.append(within_s)
        return Exported(exports=3)


class Shown:
    """Receives what a page shows."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begins(self, subject: Subject, offset_ns: int) -> None:
        self.told.append((subject, offset_ns))

    def tell(self, points: Any, *, over: bool = False) -> None:
        self.told.append((value(points, "trueload.requests.ended"), over))


def test_each_look_passes_on_what_is_new_and_the_last_says_what_was_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Collector] = []

    def collector(*given: object) -> Collector:
        made.append(Collector(*given))
        return made[0]

    monkeypatch.setattr(program, "Otlp", collector)
    monkeypatch.setattr(clock, "now_ns", lambda: 1000)
    monkeypatch.setattr(clock, "realtime_offset_ns", lambda: 50)
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    page: Any = Shown()
    exporting = Exporting(task(tmp_path, otlp="http://c"), page, SUBJECT)
    assert made[0].given == ("http://c", SUBJECT, 50, 1000)
    (tmp_path / "requests.jsonl").write_bytes(to_line(made_record(0, traceparent=TRACE)))
    exporting.look()
    with (tmp_path / "requests.jsonl").open("ab") as file:
        file.write(to_line(made_record(1)) + b"{")
    assert exporting.finish() == Exported(exports=3, unread=1)
    assert page.told == [(SUBJECT, 50), (1, False), (2, True)]
    assert [(at, value(points, "trueload.requests.ended"), len(spans)) for at, points, spans in made[0].told] == [
        (1000, 1, 1), (1000, 2, 0),
    ]  # fmt: skip
    assert made[0].finished == [5.0]


@pytest.mark.parametrize(("url", "disabled"), [(None, "false"), ("http://c", " TRUE ")])
def test_without_a_collector_nothing_is_sent(
    url: str | None, disabled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", disabled)
    monkeypatch.setattr(program, "Otlp", None)
    exporting = Exporting(task(tmp_path, otlp=url), None, SUBJECT)
    assert exporting.finish() == Exported()


class Conversation:
    """The program, with all messages of its parent at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[object] = []
        self._theirs, ours = socket.socketpair()
        self.parent = Connection(ours.detach())
        monkeypatch.setattr(program, "give_way", lambda: self.steps.append("gives way"))

    def run(self, *said: object) -> list[object]:
        for message in said:
            self.parent.send(message)
        if len(said) < 3:
            self.parent.close()
        assert program.main(self._theirs.detach()) == 0
        heard = []
        while not self.parent.closed and self.parent.poll():
            try:
                heard.append(self.parent.recv())
            except EOFError:
                break
        self.parent.close()
        return heard


def test_a_run_without_a_look_is_exported_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requests.jsonl").write_bytes(b"{")
    conversation = Conversation(monkeypatch)
    assert conversation.run(task(tmp_path), SUBJECT, None) == [Ready(), Exported(unread=1)]
    assert conversation.steps == ["gives way"]


@pytest.mark.parametrize("said", [0, 1, 2])
def test_it_ends_with_its_parent(said: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Conversation(monkeypatch).run(*[task(tmp_path), SUBJECT][:said]) == []


def test_looks_are_a_second_apart_and_those_that_are_late_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waits, looks = [10 * 10**9], list[float](), list[float]()
    takes_s = iter([0.25, 2.5, 0.0, 1.0])

    class Parent:
        def __init__(self, descriptor: int) -> None:
            socket.socket(fileno=descriptor).close()
            self._said = iter([task(tmp_path), SUBJECT, None])

        def recv(self) -> object:
            return next(self._said)

        def send(self, message: object) -> None:
            """The parent listens."""

        def poll(self, timeout: float) -> bool:
            waits.append(timeout)
            now[0] += round(timeout * 1e9)
            return len(waits) == 5

    def look(exporting: Exporting, until_ns: int | None = None, *, over: bool = False) -> None:
        if not over:
            looks.append(now[0] / 1e9)
            now[0] += round(next(takes_s) * 1e9)

    monkeypatch.setattr(child_process, "Connection", Parent)
    monkeypatch.setattr(program, "give_way", lambda: None)
    monkeypatch.setattr(clock, "now_ns", lambda: now[0])
    monkeypatch.setattr(Exporting, "look", look)
    monkeypatch.delenv("OTEL_METRIC_EXPORT_INTERVAL", raising=False)
    ours, theirs = socket.socketpair()
    assert program.main(theirs.detach()) == 0
    ours.close()
    # The second check takes from 12 to 14.5 s, so the next are at 15 s and 16 s, the instant of the last.
    assert looks == [11.0, 12.0, 15.0, 16.0]
    assert waits == [1.0, 0.75, 0.5, 1.0, 0.0]


def test_what_cannot_begin_is_named_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf")
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        ready, page = program._ready(task(tmp_path, otlp="env", address=("127.0.0.1", port)))
    assert page is None
    assert ready == Ready(
        ("OTEL_EXPORTER_OTLP_PROTOCOL=grpc: --otlp speaks http/protobuf alone: unset it, and give the collector's HTTP port "
         "(4318)",
         f"--metrics-port {port}: 127.0.0.1:{port} cannot be opened (Address already in use): give another port"),
        ("--otlp: OTEL_SDK_DISABLED is set, so nothing is exported",),
    )  # fmt: skip


# ---- The page ----


def distribution(bounds: int, **counts: int) -> Distribution:
    found = Distribution([0] * (bounds + 1), total=2.5)
    for bucket, count in counts.items():
        found.counts[int(bucket[1:])] = count
    return found


def test_a_histogram_adds_up_and_its_exemplars_are_in_unix_time() -> None:
    families, ttft = Families(), METRICS["trueload.ttft"]
    values = distribution(len(ttft.bounds), b1=2, b3=1, b19=1)
    values.exemplars[1] = Exemplar(0.004, 7 * 10**9, "ab", "cd")
    families.points, families.offset_ns = [Point(ttft, (("a.b", "x"),), values)], 2 * 10**9
    (family,) = families.collect()
    assert (family.name, family.type) == ("trueload_ttft_seconds", "histogram")
    buckets = {sample.labels["le"]: sample for sample in family.samples if sample.name.endswith("_bucket")}
    shown = ("0.001", "0.005", "0.01", "0.02", "80.0", "+Inf")
    assert [buckets[le].value for le in shown] == [0, 2, 2, 3, 3, 4]
    exemplar = buckets["0.005"].exemplar
    assert exemplar is not None
    assert (exemplar.labels, exemplar.value, exemplar.timestamp) == ({"trace_id": "ab", "span_id": "cd"}, 0.004, 9.0)
    assert buckets["0.01"].exemplar is None
    (total,) = [sample.value for sample in family.samples if sample.name.endswith("_sum")]
    assert (total, {sample.labels["a_b"] for sample in family.samples}) == (2.5, {"x"})


def test_series_of_a_metric_are_one_family_with_every_label() -> None:
    families, ended, load = Families(), METRICS["trueload.requests.ended"], METRICS["trueload.load"]
    families.points = [Point(ended, (("a", "1"),), 3), Point(ended, (("b", 2),), 4), Point(load, (), 5)]
    counter, gauge = families.collect()
    assert [(sample.labels, sample.value) for sample in counter.samples if sample.name.endswith("_total")] == [
        ({"a": "1", "b": ""}, 3), ({"a": "", "b": "2"}, 4),
    ]  # fmt: skip
    assert (counter.type, gauge.type) == ("counter", "gauge")
    assert [(sample.name, sample.labels, sample.value) for sample in gauge.samples] == [("trueload_load", {}, 5)]


def test_a_page_says_when_its_end_was_read(capfd: pytest.CaptureFixture[str]) -> None:
    def read() -> dict[str, Any]:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(page.url) as answer:
            text = answer.read()
        families = text_string_to_metric_families(text.decode())
        return {sample.name: sample for family in families for sample in family.samples}

    page = Page("127.0.0.1", 0)
    page.begins(SUBJECT, 5)
    ended = METRICS["trueload.requests.ended"]
    page.tell([Point(ended, (), 3)])
    first = read()
    assert (first["trueload_requests_ended_total"].value, page.read_at_end.is_set()) == (3, False)
    assert first["target_info"].labels == {
        "service_name": "trueload", "service_version": "0.2", "service_instance_id": "made",
    }  # fmt: skip
    # A reader may have its page before the server has noted that it was sent. Here the server has noted it.
    page._answer({"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}, lambda *_: None).close()  # type: ignore[attr-defined]
    assert not page.read_at_end.is_set()
    page.tell([Point(ended, (), 4)], over=True)
    assert read()["trueload_requests_ended_total"].value == 4
    assert page.read_at_end.wait(PATIENCE_S)
    assert capfd.readouterr() == ("", "")


def test_a_scraper_can_tell_that_the_end_of_the_process_cut_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    page, written = Page("127.0.0.1", 0), list[bytes]()
    page.begins(SUBJECT, 5)

    def watched(write: Callable[[socket.socket, bytes], int | None]) -> Callable[[socket.socket, bytes], int | None]:
        def watch(to: socket.socket, data: bytes) -> int | None:
            written.append(bytes(data))
            return write(to, data)

        return watch

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "send", watched(socket.socket.send))
        patched.setattr(socket.socket, "sendall", watched(socket.socket.sendall))
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(page.url) as answer:
            text = answer.read()
    asked, answered = written
    assert (asked[:4], answered[:5], answered[-len(text) :]) == (b"GET ", b"HTTP/", text)
    assert answer.headers["content-length"] == str(len(text))


def test_a_page_lingers_until_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    ready: Callable[[TelemetryTask], tuple[Ready, Page | None]] = program._ready

    def with_page(given: TelemetryTask) -> tuple[Ready, Page | None]:
        answer, page = ready(given)
        assert page is not None
        monkeypatch.setattr(page.read_at_end, "wait", waited.append)
        return answer, page

    monkeypatch.setattr(program, "_ready", with_page)
    given = task(tmp_path, address=("127.0.0.1", 0), linger_s=9.0)
    first, last = Conversation(monkeypatch).run(given, SUBJECT, None)
    assert isinstance(first, Ready)
    assert first.page is not None
    assert first.page.startswith("http://127.0.0.1:")
    assert (last, waited) == (Exported(), [9.0])
