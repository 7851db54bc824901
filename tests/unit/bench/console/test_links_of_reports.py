"""Every link in every kind of report, and in the reports of its runs, leads to a page or a file of the console."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import msgspec
import pytest
from starlette.testclient import TestClient

from bench.accuracy.sweep import Sweep
from bench.answer_quality import stored as quality
from bench.calibrate.measure import write
from bench.console.pages.reports import IN_A_FRAME
from bench.console.service import Console
from bench.load_search.decisions import Ending
from bench.load_search.files import SearchDirectory
from bench.load_search.render import render
from bench.load_search.search_file import to_json
from bench.load_sweep import measure as sweep
from bench.results.tune import TuneContent
from bench.tuning import tune_file
from promptset.probes import make_probes, parse_probes
from tests.support.golden_certificate import golden_calibration
from tests.support.made_sweeps import LADDER, content, typed
from tests.support.made_tasks import made_plan, made_tune
from tests.support.made_visits import in_turn, made_search
from tests.unit.bench.accuracy.test_sweep import row
from tests.unit.bench.answers.test_quality_document import content_of
from tests.unit.bench.load_search.test_conclusion import SCOUTS

LEADS = (True, (200, "text/html"), (200, "application/jsonl"))
LINK = re.compile(r'<a [^>]*href="([^"]+)"')
FRAME = re.compile(r'<iframe class="report"[^>]* src="([^"]+)"(?: data-beside="([^"]+)")?')
OPENED = re.compile(IN_A_FRAME.decode().partition("!/")[2].partition("/.test(href)")[0].replace("\\/", "/"))
"""The links that the frame passes to the page around it."""


@cache
def files_of_a_run() -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        return {file.name: file.read_bytes() for file in golden_calibration(Path(folder, "run")).path.iterdir()}


def a_run(path: Path) -> None:
    """A series of runs that are copies of one run."""
    path.mkdir(parents=True)
    for name, of_it in files_of_a_run().items():
        (path / name).write_bytes(of_it)


def a_search(path: Path) -> None:
    search = made_search(*in_turn(*SCOUTS[:3]))
    for visit in search.results:
        a_run(path / visit.run_dir)
    (path / "search.yaml").write_text("config: {url: http://h}\nmanifest: {}\n")
    (path / "search.json").write_text(json.dumps(to_json(search, "a" * 64, Ending.PRECISION, None)))
    render(SearchDirectory(path), search, Ending.PRECISION, None)


def a_sweep(path: Path) -> None:
    for run in LADDER[:4]:
        a_run(path / run.name)
    sweep.write(path, typed(content(LADDER[:4])))


def a_task_of_quality(path: Path) -> None:
    found = content_of(make_probes(parse_probes("arithmetic=20"), seed=7), None)
    for run in found.runs:
        a_run(path / run.name)
    quality.write(path, found)


def a_race(path: Path) -> None:
    made_tune(path.parent, path.name)
    for load in loads_of(path):
        a_run(path / load)


def a_race_for_the_held_load(path: Path) -> None:
    """One turn of each arm. Each load of a turn is a search with its runs."""
    made_tune(path.parent, path.name)
    race = tune_file.read(path / tune_file.TUNE)
    tune_file.write(path, msgspec.structs.replace(race, goal="held_load", turns=race.turns[:2]))
    for load in loads_of(path):
        a_search(path / load)


def loads_of(path: Path) -> Iterator[str]:
    race: TuneContent = tune_file.read(path / tune_file.TUNE)
    return (load.name for turn in race.turns for load in turn.loads)


def a_calibration_sweep(path: Path) -> None:
    found = Sweep(date="2026-11-30T05:00:00+00:00", version="1", host={}, rows=(row("concurrency", 1), row("rate", 50)))
    for point in found.rows:
        a_run(path / point.directory)
    write(path, found)


def a_plan(path: Path) -> None:
    a_search(path.with_name("searched"))
    made_plan(path.with_name("searched"), path.name)


# For each kind: the function that makes its directory, and the number of links. A report has links of its own. Each run
# in it adds the two of its report, also in a search. A sweep of calibrations leads to certificates, which have no
# links.
KINDS = {
    "run": (a_run, 2),
    "search": (a_search, 3 + 3 * 2),
    "sweep": (a_sweep, 4 + 4 * 2),
    "calibrate-sweep": (a_calibration_sweep, 2),
    "quality": (a_task_of_quality, 3 + 3 * 2),
    "tune": (a_race, 12 + 12 * 2),
    "tune-held-load": (a_race_for_the_held_load, 4 * (1 + 3 + 3 * 2)),
    "plan": (a_plan, 0),
}


def walked(user: TestClient, address: str) -> dict[str, object]:
    """The target of each (page, link): status and content type."""
    found: dict[str, object] = {}
    waiting, known = [address], {address}
    while waiting:
        place = waiting.pop()
        for source, beside in FRAME.findall(user.get(place).text):
            report = user.get(unescape(source)).text
            for link in map(unescape, LINK.findall(report)):
                if link.startswith("#"):
                    found[f"{place} {link}"] = f'id="{link[1:]}"' in report
                    continue
                assert OPENED.fullmatch(link), f"{place}: the browser would open {link} in the frame"
                reply = user.get(unescape(beside) + link)
                found[f"{place} {link}"] = (reply.status_code, reply.headers["content-type"].partition(";")[0])
                if reply.url.path not in known and FRAME.search(reply.text):
                    known.add(reply.url.path)
                    waiting.append(reply.url.path)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_link_of_a_report_leads_somewhere(kind: str, user: TestClient, console: Console) -> None:
    make, links = KINDS[kind]
    make(console.runs / kind)
    found = walked(user, f"/tasks/{kind}")
    assert {link: leads for link, leads in found.items() if leads not in LEADS} == {}
    assert len(found) == links


def test_a_sweep_of_calibrations_is_one_and_no_sweep_of_a_server(user: TestClient, console: Console) -> None:
    a_calibration_sweep(console.runs / "swept")
    task = user.get("/api/tasks/swept").json()
    assert (task["kind"], task["load"], task["state"], task["started"]) == (
        "calibrate --sweep", "calibration sweep, concurrency=1, rate=50", "ended", "2026-11-30T05:00:00+00:00"
    )  # fmt: skip
    assert task["headline"].startswith(
        "Loads that this machine measures correctly: up to 1 streams at once (50 chunks/s)"
    )
    assert [(step["run"], step["load"], step["verdict"]) for step in task["steps"]] == [
        ("concurrency-1", "1 streams", "VALID"), ("rate-50", "50 requests/s", "VALID")
    ]  # fmt: skip
    assert task["headline"] in " ".join(user.get("/api/tasks/swept/text").text.split())
    page = user.get("/tasks/swept").text
    assert ("校准" in user.get("/tasks/swept?trueload_language=zh-CN").text, "Run again" in page) == (True, False)


def test_a_damaged_sweep_of_calibrations_names_its_command(user: TestClient, console: Console) -> None:
    a_calibration_sweep(console.runs / "swept")
    file = console.runs / "swept" / "sweep.json"
    file.write_bytes(file.read_bytes()[:300])
    problem = user.get("/api/tasks/swept").json()["problem"]
    assert problem.startswith("sweep.json cannot be read: ")
    assert problem.endswith("To make it again: python -m bench calibrate --sweep")


@pytest.mark.processes
def test_a_comparison_has_no_link_that_would_need_the_console(user: TestClient, console: Console) -> None:
    for name in ("a", "b"):
        a_run(console.runs / name)
        for file in ("run.yaml", "summary.json"):
            path = console.runs / name / file
            path.write_bytes(path.read_bytes().replace(b"golden-1", name.encode()))
    page = user.get("/compare?task=a&task=b").text
    ((source, beside),) = FRAME.findall(page)
    report = user.get(unescape(source)).text
    assert "compare" in report
    assert (beside, [link for link in LINK.findall(report) if not link.startswith("#")]) == ("", [])


def test_the_zip_of_a_race_has_the_runs_of_its_searches_and_no_link_out_of_it(
    user: TestClient, console: Console, tmp_path: Path
) -> None:
    a_race_for_the_held_load(console.runs / "race")
    run = console.runs / "race" / "r1-a0-4" / "01-1"
    assert run.is_dir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").touch()
    (run / "folder").symlink_to(tmp_path / "elsewhere")
    (run / "file").symlink_to(tmp_path / "elsewhere" / "secret")
    names = ZipFile(BytesIO(user.get("/api/tasks/race/zip").content)).namelist()
    assert "race/r1-a0-4/01-1/requests.jsonl" in names
    assert [name for name in names if "folder" in name or name.endswith("/file")] == []
    for way in ("r1-a0-4/01-1/folder", "r1-a0-4/..%2F..", "..%2Frace", "r1-a0-4//01-1", ""):
        assert user.get(f"/tasks/race/runs/{way}").status_code == 404, way
