"""The declared metrics: names and buckets."""

from __future__ import annotations

import re

import pytest

from bench.config import resolve
from bench.endpoints import ENDPOINTS
from bench.errors import UsageError
from bench.telemetry.declared import METRICS, provider_of
from bench.telemetry.exporting import subject_of


def test_names_on_the_page_are_what_prometheus_makes_of_them() -> None:
    assert {
        name: METRICS[name].prometheus for name in ("trueload.ttft", "trueload.client.cpu", "trueload.requests.sent")
    } == {
        "trueload.ttft": "trueload_ttft_seconds",
        "trueload.client.cpu": "trueload_client_cpu_ratio",
        "trueload.requests.sent": "trueload_requests_sent",
    }
    names = [metric.prometheus for metric in METRICS.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_the_conventions_buckets() -> None:
    assert METRICS["gen_ai.client.inference.duration"].bounds == (
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92
    )  # fmt: skip
    assert METRICS["gen_ai.client.inference.operation.input_tokens"].bounds == (
        1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864
    )  # fmt: skip
    for metric in METRICS.values():
        assert (metric.kind == "histogram") == bool(metric.bounds)
        assert list(metric.bounds) == sorted(set(metric.bounds))


def test_every_api_has_its_provider() -> None:
    unknown = {name for name in ENDPOINTS if provider_of(name) == name}
    assert unknown == {"http"}, "bench/telemetry/declared.py: _PROVIDERS needs the provider of each API"


def test_a_subject_has_the_settings_of_every_request() -> None:
    config = resolve(
        {"url": "https://api.example:8443/v1", "extra_body": '{"temperature": 0.7, "n": 2, "stop": "x", "top_p": true}'}
    )
    subject = subject_of(config, "r", "m", "0")
    assert (subject.host, subject.port, subject.endpoint, subject.load_unit) == ("api.example", 8443, "chat", "users")
    assert subject.request == {
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stop_sequences": ("x",),
    }


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"otlp": "collector:4318"}, "'collector:4318' does not begin with http:// or https://"),
        (
            {"otlp": "http://user:pw@collector:4318"},
            "a collector's URL has no user: give its key in OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            {"otlp": "http://collector:4318/?key=pw"},
            "a collector's URL has no query: give its key in OTEL_EXPORTER_OTLP_HEADERS",
        ),
        ({"trace_share": "1%"}, "--trace-share needs a collector for its spans: add --otlp URL"),
        ({"otlp": "env", "trace_share": "0"}, "'0' is not a share of the requests"),
        ({"metrics_port": "70000"}, "'70000' is neither a port (9400) nor a host and a port (0.0.0.0:9400)"),
        ({"metrics_port": "a b:1"}, "'a b:1' is neither a port"),
    ],
)
def test_a_wrong_setting_is_told_at_once(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        resolve({"url": "http://h:1", **settings})
