"""live.jsonl as a console reads it, and the small chart of a task in the list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from bench.console import live_charts, live_lines, tasks
from bench.console.pages.site import after, lines, load, number, spark, when
from bench.console.service import Console
from bench.console.task import Task
from bench.run_files.run_directory import RunDirectory
from tests.support.made_tasks import made_run

LINE = {"second": {"output_tokens": 3, "succeeded": 1}, "client": {"loop_lag_ms": 0.1, "cpu": None, "run_queue_share": None},
        "sent": 1, "done": 1, "in_flight": 0, "failed": 0, "left_s": None, "share_done": None}  # fmt: skip


def line(tokens: float = 0, succeeded: int = 0, **more: object) -> bytes:
    second = {"output_tokens": tokens, "succeeded": succeeded, **more}
    return orjson.dumps({**LINE, "second": second}) + b"\n"


def test_all_lines_are_read_or_those_after_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    path.write_bytes(line(1) + line(2) + line(3) + b'{"torn')
    read = {
        known: [row["second"]["output_tokens"] for row in live_lines.read(path, known) if row] for known in range(5)
    }
    assert read == {0: [1, 2, 3], 1: [2, 3], 2: [3], 3: [], 4: []}
    assert live_lines.read(path) == live_lines.read(path, 0)
    assert len(live_lines.read(path)) == 3


def test_a_link_and_a_folder_are_no_lines(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(line(1))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder", "missing"):
        assert live_lines.read_on(tmp_path / name, 0, 7) == ([], 7), name


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([], ()),
        ([line(5)], ()),  # The last line is of a second that has just begun.
        ([line(5), line(9)], (1.0,)),
        ([line(5), line(10), line(1)], (0.5, 1.0)),
        ([line(0, 3), line(0, 9), line(1)], (0.333, 1.0)),
        ([line(0, 3, inputs=8), line(0, 9, inputs=2), line(1)], (1.0, 0.25)),
        ([line(), line(), line(1)], ()),
        ([b"damaged\n", line(4), b"damaged\n", line(2), line(1)], (1.0, 0.5)),
        ([line(n % 2) for n in range(81)], (1.0,) * 40),
        ([*(line(1) for _ in range(41)), line(3), line(9)], (*(0.5,) * 20, 1.0)),
    ],
)
def test_a_small_chart_has_at_most_40_means_of_tokens_else_inputs_else_requests(
    rows: list[bytes], shown: tuple[float, ...], tmp_path: Path
) -> None:
    (path := tmp_path / "live.jsonl").write_bytes(b"".join(rows))
    assert tasks._sparkline(path) == shown


def test_of_a_long_run_only_the_end_is_read_for_its_small_chart(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    rows = [line(tokens) for tokens in (9, 8, 2, 1, 7)]
    path.write_bytes(b"".join(rows))
    size = sum(map(len, rows))
    assert tasks._sparkline(path, size) == (1.0, 0.889, 0.222, 0.111)
    assert tasks._sparkline(path, size - 1) == (1.0, 0.25, 0.125)
    assert tasks._sparkline(path, len(rows[2]) + len(rows[3]) + len(rows[4]) + 1) == (1.0, 0.5)
    assert tasks._sparkline(tmp_path, size) == ()


@pytest.mark.parametrize(
    ("values", "points"),
    [
        ((), ""),
        ((1.0,), ""),
        ((0.0, 1.0), "0.0,19.0 80.0,1.0"),
        ((0.5, 0.25, 1.0), "0.0,10.0 40.0,14.5 80.0,1.0"),
    ],
)
def test_the_points_of_a_small_chart_fill_80_by_20(values: tuple[float, ...], points: str) -> None:
    assert spark(values) == points


def test_values_of_settings_are_shown_one_on_a_line() -> None:
    assert lines(["a", 2]) == "a\n2"
    assert (lines("a"), lines(None), lines(("x",))) == ("a", "", "x")
    assert lines([{"url": "http://a", "weight": 3}, {"url": "http://b"}]) == "http://a=3\nhttp://b=1"


def test_a_time_is_shown_to_the_minute() -> None:
    assert when("2026-12-02T18:00:59+00:00") == "2026-12-02 18:00"
    assert when("2026-12-02T18:00:59", "T") == "2026-12-02T18:00"
    assert (when(None), after("a: b: c", ": "), after("a", ": ")) == ("", "b: c", "")


def test_a_number_changes_its_digits_at_100_and_1000() -> None:
    assert [number(value) for value in (99.96, 100.04, 999.94, 1000.4, -99.9, -100.04, 0.01234)] == [
        "100", "100", "999.9", "1,000", "-99.9", "-100", "0.0123",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("5 users", "5_users"),
        ("2 requests/s, 90 s", "2_requests/s, 90_s"),
        ("calibration sweep, users: 1", "calibration sweep, users: 1"),
        ("sweep, rate=1,2, 3 times", "sweep, rate=1,2, 3_times"),
    ],
)
def test_a_load_keeps_a_number_and_its_unit_on_one_line(text: str, shown: str) -> None:
    assert load(text).replace("\N{NO-BREAK SPACE}", "_") == shown


def task(**settings: Any) -> Task:
    return Task(id="a", state="running", settings={"url": "http://h", **settings})


def test_the_catalog_is_asked_for_every_text_of_a_chart() -> None:
    charts = {chart.key: chart for chart in live_charts.charts(task())}
    texts = list(live_charts.texts([charts["ttft"], charts["traffic"]]))
    assert all(isinstance(text, str) for text in texts)
    expected = set[str]()
    for chart in (charts["ttft"], charts["traffic"]):
        expected |= {chart.title, chart.meaning, chart.x_title}
        expected |= {panel.unit for panel in chart.panels}
        expected |= {line.name for panel in chart.panels for line in panel.lines}
        expected |= {line.unit for panel in chart.panels for line in panel.lines if line.unit}
    assert {*texts} - {""} == expected - {""}
    assert {charts["ttft"].panels[0].unit, charts["ttft"].panels[0].lines[0].name} <= expected


@pytest.mark.parametrize(
    ("settings", "unit"), [({}, False), ({"endpoint": "embeddings"}, True), ({"endpoint": "x"}, False)]
)
def test_only_a_load_of_inputs_has_a_chart_of_inputs(settings: dict[str, Any], unit: bool) -> None:
    keys = [chart.key for chart in live_charts.charts(task(**settings))]
    assert ("inputs_per_s" in keys, "ttft" in keys) == (unit, not unit)


@pytest.mark.parametrize(("late_ms", "warned"), [((900.0, 0.1), False), ((0.1, 900.0), True)])
def test_the_page_of_a_running_task_warns_of_what_its_last_second_shows(
    late_ms: tuple[float, ...], warned: bool, user: TestClient, console: Console
) -> None:
    path = made_run(console.runs, "run", state="running")
    client = {"cpu": None, "run_queue_share": None}
    rows = [{**LINE, "sent": 100 * n, "client": {**client, "loop_lag_ms": ms}} for n, ms in enumerate(late_ms, 7)]
    (path / "live.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    with RunDirectory(path).held():
        page = user.get("/tasks/run").text
    assert ("up to 900 ms late in the last second" in page) is warned
    assert ("800" in page, ">700<" in page) == (True, False)


def test_the_page_of_a_task_without_lines_has_no_warning(user: TestClient, console: Console) -> None:
    path = made_run(console.runs, "run", state="running")
    with RunDirectory(path).held():
        page = user.get("/tasks/run")
    assert (page.status_code, "late in the last second" in page.text) == (200, False)
