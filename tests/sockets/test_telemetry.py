"""A run exports metrics and spans: a collector and a scraper get the same numbers as in the run's own files."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import bench
from bench import cli, manifest
from bench.errors import Exit
from bench.observer import Observer
from bench.run_files.run_directory import RunDirectory
from bench.telemetry.declared import METRICS
from bench.workload.tracing import ids_of
from tests.support.literal_replies import GOOD, api, stream
from tests.support.literal_server import LiteralServer, Received, Step
from tests.support.mock_process import MockProcess, mock_process
from tests.support.otlp_receiver import Collector, otlp_receiver, plain
from tests.support.patience import PATIENCE_S
from tests.support.record_rows import written_rows
from tests.support.run_process import process, wait_for

WORDS = ("--input-tokens", "16", "--output-tokens", "6", "--requests", "40", "--concurrency", "4", "--quiet")
RAN = (Exit.GOOD, Exit.INVALID, Exit.TARGET)
"""A busy machine may make a run INVALID, and planned faults end with TARGET: this does not concern the exports."""


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "5ms", "--tpot", "1ms") as running:
        yield running


@pytest.fixture
def collector() -> Iterator[Collector]:
    with otlp_receiver() as running:
        yield running


def run(url: str, out: Path, *more: str) -> list[dict[str, Any]]:
    """Run, and return the records."""
    assert cli.main(["run", "--url", url, "--out", str(out), *WORDS, *more]) in RAN
    return [json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()]


def notes(out: Path) -> str:
    return " ".join(manifest.read(RunDirectory.open(out)).manifest.notes)


def count(collector: Collector, name: str, **attributes: str) -> float:
    """The sum of a metric's points with these attributes, in the last export."""
    metric = collector.last[name]
    points = getattr(metric, metric.WhichOneof("data")).data_points
    chosen = [point for point in points if attributes.items() <= plain(point.attributes).items()]
    return float(sum(point.count if metric.WhichOneof("data") == "histogram" else point.as_int for point in chosen))


@pytest.mark.parametrize(
    "more",
    [
        ["--workers", "1"],
        ["--workers", "2"],
        ["--transport", "httpx"],
        ["--mode", "sessions", "--turns", "4"],
        ["--endpoint", "responses", "--websocket"],
    ],
    ids=" ".join,
)
def test_the_trace_that_the_server_was_sent_is_the_trace_that_is_exported(
    mock: MockProcess, collector: Collector, tmp_path: Path, more: list[str]
) -> None:
    records = run(mock.url, tmp_path / "run", "--otlp", collector.url, "--trace-share", "50%", *more)
    traced = {record["id"]: record["traceparent"] for record in records if "traceparent" in record}
    assert 5 < len(traced) < 35
    lines = mock.lines_of({record["id"] for record in records})
    assert {name: line["traceparent"] for name, line in lines.items() if "traceparent" in line} == traced
    spans = {plain(span.attributes)["trueload.request.id"]: span for span in collector.spans}
    assert {name: (span.trace_id.hex(), span.span_id.hex()) for name, span in spans.items()} == {
        name: ids_of(header) for name, header in traced.items()
    }
    for record in records:
        if record["id"] not in traced:
            continue
        span, attributes = spans[record["id"]], plain(spans[record["id"]].attributes)
        assert (span.name, span.kind, span.parent_span_id) == ("chat mock-model", 3, b"")
        assert span.end_time_unix_nano - span.start_time_unix_nano == record["end_ns"] - record["sent_ns"]
        assert attributes["gen_ai.usage.output_tokens"] == record["output_tokens"]
        assert attributes["gen_ai.request.max_tokens"] == 6
        expected = (record["chunk_ns"][0] - record["sent_ns"]) / 1e9
        assert attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx(expected)


def test_the_last_metrics_count_what_the_records_count(mock: MockProcess, collector: Collector, tmp_path: Path) -> None:
    records = run(
        mock.url, tmp_path / "run", "--otlp", f"{collector.url}/v1/metrics", "--trace-share", "1", "--warmup", "5"
    )
    assert len(records) == 45
    for phase, n in Counter(record["phase"] for record in records).items():
        assert count(collector, "gen_ai.client.inference.duration", **{"trueload.phase": phase}) == n
        assert count(collector, "trueload.requests.ended", **{"trueload.outcome": "ok", "trueload.phase": phase}) == n
    assert count(collector, "gen_ai.client.inference.usage.output_tokens") == 6 * 45
    assert count(collector, "trueload.itl") == 5 * 45
    assert count(collector, "trueload.requests.sent") == 45
    assert count(collector, "trueload.output_tokens.arrived") == 6 * 45
    exemplars = {
        exemplar.trace_id.hex()
        for point in collector.last["trueload.ttft"].histogram.data_points
        for exemplar in point.exemplars
    }
    assert exemplars
    assert exemplars <= {ids_of(record["traceparent"])[0] for record in records}
    assert notes(tmp_path / "run") == ""


def test_errors_are_exported_by_kind(collector: Collector, tmp_path: Path) -> None:
    with mock_process("--fault", "429:rate=0.5", "--ttft", "5ms", "--tpot", "1ms") as failing:
        records = run(failing.url, tmp_path / "run", "--otlp", collector.url, "--trace-share", "100%")
    refused = sum(record.get("status") == 429 for record in records)
    assert 0 < refused < 40
    assert count(collector, "trueload.requests.failed", **{"error.type": "429"}) == refused
    failed = [span for span in collector.spans if span.status.code == 2]
    assert len(failed) == refused
    assert {plain(span.attributes)["error.type"] for span in failed} == {"429"}


def test_the_environment_says_where_to_and_what_besides(
    mock: MockProcess, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=lab")
    run(mock.url, tmp_path / "run", "--otlp", "env")
    assert collector.resource["service.name"] == "nightly"
    assert collector.resource["deployment.environment.name"] == "lab"
    assert collector.headers[-1]["x-key"] == "a secret"
    assert collector.headers[-1]["content-encoding"] == "gzip"
    assert not collector.traces


class LastPage(Observer):
    """Reads the page while the run waits."""

    def __init__(self, accept: str) -> None:
        self.text = ""
        self._accept = accept

    def waiting(self, what: str | Callable[[], str]) -> AbstractContextManager[None]:
        if asked := re.fullmatch("waiting until (.+) is read once more", str(what)):
            self.text = urlopen(Request(asked[1], headers={"accept": self._accept})).read().decode()
        return nullcontext()


def last_page(mock: MockProcess, out: Path, accept: str) -> str:
    """The page served after the load."""
    page = LastPage(accept)
    settings: dict[str, Any] = {"concurrency": 4, "requests": 40, "input_tokens": "16", "output_tokens": "6"}
    bench.run(url=mock.url, out=str(out), metrics_port="0", metrics_linger=PATIENCE_S, observer=page, **settings)
    return page.text


def test_a_scraper_sees_the_end_of_the_run_and_the_page_ends_then(mock: MockProcess, tmp_path: Path) -> None:
    page = last_page(mock, tmp_path / "run", "application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in text_string_to_metric_families(page)}  # type: ignore[no-untyped-call]
    ended = families["trueload_requests_ended"].samples
    assert [(sample.name, sample.value) for sample in ended] == [("trueload_requests_ended_total", 40.0)]
    ttft = {one.labels["le"]: one.value for one in families["trueload_ttft_seconds"].samples if "le" in one.labels}
    assert ttft["+Inf"] == 40.0
    assert set(families) <= {metric.prometheus for metric in METRICS.values()} | {"target"}


def test_the_dashboard_chooses_by_labels_that_the_metrics_of_a_run_have(tmp_path: Path) -> None:
    dashboard = json.loads((Path(__file__).parents[2] / "examples" / "grafana" / "trueload.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    # The client's own numbers come once per second, so a shorter load would have none.
    with mock_process("--fault", "429:every=4", "--ttft", "400ms", "--tpot", "1ms") as failing:
        page = last_page(failing, tmp_path / "run", "application/openmetrics-text; version=1.0.0")
    families = text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
    series = [(one.name, one.labels.keys()) for family in families for one in family.samples]
    for query in queries:
        words = set(re.findall(r"[a-z][a-z0-9_]+", re.sub(r'"[^"]*"|\[[^]]*\]', "", query)))
        words -= {"histogram_quantile", "sum", "by", "rate", "label_values"}
        assert any(words == {name} | (words & labels) for name, labels in series), f"{query}: no series has {words}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there: apt-get install prometheus")
def test_prometheus_itself_reads_the_page(mock: MockProcess, tmp_path: Path) -> None:
    page = last_page(mock, tmp_path / "run", "text/plain")
    assert "trueload_requests_ended_total" in page
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_collector_that_is_not_there_ends_no_run(mock: MockProcess, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        records = run(
            mock.url, tmp_path / "run", "--otlp", f"http://127.0.0.1:{free.getsockname()[1]}", "--trace-share", "100%"
        )
    assert all(record["outcome"] == "ok" for record in records)
    assert "exports failed (Connection refused)" in notes(tmp_path / "run")
    assert "40 of 40 spans were not exported" in notes(tmp_path / "run")


ITS_MODULES = """
import sys
from bench import cli
status = cli.main(sys.argv[1:])
heavy = ("opentelemetry.sdk", "prometheus_client", "bench.telemetry.totals", "bench.telemetry.otlp", "bench.telemetry.page")
print(status, [name for name in heavy if name in sys.modules])
"""


def test_the_process_that_sends_loads_nothing_of_exports(
    mock: MockProcess, collector: Collector, tmp_path: Path
) -> None:
    words = [
        "--otlp",
        collector.url,
        "--trace-share",
        "100%",
        "--metrics-port",
        "0",
        "--metrics-linger",
        "0",
        "--workers",
        "1",
    ]
    command = ["run", "--url", mock.url, "--out", str(tmp_path / "run"), *WORDS, *words]
    ended = subprocess.run([sys.executable, "-c", ITS_MODULES, *command], capture_output=True, text=True)
    status, _, modules = ended.stdout.splitlines()[-1].partition(" ")
    assert int(status) in RAN, ended.stderr
    assert modules == "[]"
    assert collector.spans


def test_a_traced_request_differs_by_one_header(tmp_path: Path, collector: Collector) -> None:
    """All sent bytes equal those of the same run without tracing, except for a line in some heads."""

    def sent(out: Path, *more: str) -> list[dict[str, str]]:
        seen: list[Received] = []

        def script(request: Received) -> Sequence[Step]:
            if request.headers.get("x-request-id", "").startswith("run-"):
                seen.append(request)
            return answers(request)

        answers = api(lambda request: stream(*GOOD))
        with LiteralServer(script) as server:
            port = server.url.rpartition(":")[2]
            words = ["--requests", "20", "--concurrency", "1", "--same-prompts", "--workers", "1", "--quiet", *more]
            assert cli.main(["run", "--url", server.url, "--out", str(out), "--input-tokens", "16", *words]) in RAN
        heads = [{**request.headers, "body": request.body.decode()} for request in seen]
        for head in heads:
            assert head.pop("x-request-id").rpartition("-")[2].isdecimal()
            assert head.pop("host").endswith(port)
        return heads

    plain_heads = sent(tmp_path / "plain")
    traced_heads = sent(tmp_path / "traced", "--otlp", collector.url, "--trace-share", "50%")
    headers = [head.pop("traceparent", None) for head in traced_heads]
    assert len(plain_heads) == 20
    assert plain_heads == traced_heads
    assert None in headers
    assert (
        len({header for header in headers if header is not None}) == sum(header is not None for header in headers) > 0
    )


def test_a_load_goes_on_beside_a_collector_that_never_answers(
    mock: MockProcess, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # If a load waited for its export, it would wait for a day.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "86400")
    collector.open.clear()
    words = ["--rate", "50", "--duration", "600s", "--input-tokens", "16", "--output-tokens", "6", "--quiet"]
    export = ["--out", str(tmp_path / "run"), "--otlp", collector.url, "--trace-share", "1"]
    # A separate process, because the collector's threads are in this one.
    with process(["run", "--url", mock.url, *export, *words]) as running:
        assert collector.asked.wait(PATIENCE_S)
        asked_ns = time.monotonic_ns()
        wait_for(
            lambda: sum(row["sent_ns"] > asked_ns for row in written_rows(tmp_path / "run" / "requests.jsonl")) > 10
        )
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE_S)
    assert "the last export was not done" in notes(tmp_path / "run"), err
