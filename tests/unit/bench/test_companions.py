"""The companion processes of a load: which a run has, their messages, and when they end."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import companions as module
from bench.companions import Companions, companions
from bench.target.gpu_pages import AMDSMI, NVML
from bench.target.scrape_task import ScrapeTask
from tests.support.configurations import resolved

FAR, HERE = "http://far:1", "http://127.0.0.1:8000"


class Companion:
    """Any of the three companions. Records its calls."""

    def __init__(self, lingers: bool = False) -> None:
        self.done: list[str] = []
        self.lingers, self.page = lingers, "http://127.0.0.1:9100/metrics"

    def __getattr__(self, name: str) -> Any:
        return lambda: self.done.append(name)


@pytest.mark.parametrize("of", [(), ("feed",), ("scraper",), ("feed", "scraper", "telemetry")])
def test_feed_and_scraper_end_with_the_load_and_telemetry_does_not(of: tuple[str, ...]) -> None:
    made = {name: Companion() if name in of else None for name in ("feed", "scraper", "telemetry")}
    Companions(**made).load_ended()  # type: ignore[arg-type]
    ends = {"feed": ["end"], "scraper": ["close"], "telemetry": []}
    assert {name: one.done for name, one in made.items() if one is not None} == {name: ends[name] for name in of}


@pytest.mark.parametrize("lingers", [None, False, True])
def test_a_page_that_lingers_is_waited_for_with_a_word(lingers: bool | None) -> None:
    telemetry = None if lingers is None else Companion(lingers)
    said: list[str] = []

    @contextmanager
    def waiting(sentence: str) -> Any:
        said.append(sentence)
        yield

    Companions(None, None, telemetry).linger(SimpleNamespace(waiting=waiting))  # type: ignore[arg-type]
    assert said == (["waiting until http://127.0.0.1:9100/metrics is read once more"] if lingers else [])
    assert telemetry is None or telemetry.done == (["linger"] if lingers else [])


def begun(monkeypatch: pytest.MonkeyPatch, **flags: Any) -> tuple[Companions, list[ScrapeTask], dict[str, Any]]:
    """The companions of a run, without their processes; the scraper's task, and everything sent to telemetry."""
    tasks: list[ScrapeTask] = []
    told: dict[str, Any] = {}

    def scraper(task: ScrapeTask) -> Companion:
        tasks.append(task)
        return Companion()

    def telemetry(task: object) -> Companion:
        told["task"] = task
        return Companion()

    monkeypatch.setattr(module, "feed_ahead", lambda config: Companion())
    monkeypatch.setattr(module, "Scraper", scraper)
    monkeypatch.setattr("bench.telemetry.exporting.Telemetry", telemetry)
    config = resolved(**flags)
    directory: Any = SimpleNamespace(path=Path("/run"))
    with companions(config, directory) as made:
        assert made.telemetry is None or made.telemetry.done == []  # type: ignore[attr-defined]
    return made, tasks, told


def pages_of(url: str) -> list[str]:
    return [f"{url}/metrics", f"{url}/prometheus/metrics"]


@pytest.mark.parametrize(
    ("flags", "pages"),
    [
        ({"url": FAR}, pages_of(FAR)),
        ({}, [*pages_of(HERE), NVML, AMDSMI]),
        ({"url": FAR, "gpu_metrics": "http://g/metrics"}, [*pages_of(FAR), "http://g/metrics"]),
        ({"gpu_metrics": "off"}, pages_of(HERE)),
        ({"server_metrics": ["off"], "gpu_metrics": "off"}, None),
        ({"url": FAR, "server_metrics": ["http://m/metrics"]}, ["http://m/metrics"]),
        # The metrics page of a service without tokens is read only if it is named.
        ({"url": FAR, "endpoint": "http"}, None),
        ({"url": FAR, "endpoint": "http", "server_metrics": ["http://m/metrics"]}, ["http://m/metrics"]),
    ],
)
def test_a_run_reads_the_pages_that_its_server_is_likely_to_have(
    flags: dict[str, Any], pages: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tasks, _ = begun(monkeypatch, **flags)
    assert [[page.url for page in task.pages] for task in tasks] == ([] if pages is None else [pages])
    assert all((task.path, task.gpu_path) == ("/run/server.jsonl", "/run/gpu.jsonl") for task in tasks)


def test_telemetry_runs_only_if_it_is_asked_for_and_is_closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, told = begun(monkeypatch)
    assert (made.telemetry, told, made.feed is None) == (None, {}, False)
    made, _, told = begun(monkeypatch, metrics_port="9100", metrics_linger="3s")
    assert made.telemetry is not None
    assert made.telemetry.done == ["close"]  # type: ignore[attr-defined]
    task = told["task"]
    assert (task.directory, task.otlp, task.address, task.linger_s) == ("/run", None, ("127.0.0.1", 9100), 3.0)
