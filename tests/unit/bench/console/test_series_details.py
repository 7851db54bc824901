"""What a series has done so far: its runs, its answer, its share of the work, and its settings as a task shows them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.answer_quality import stored as quality
from bench.config import resolve
from bench.console.data_rows import AS_IT_IS
from bench.console.errors import ConsoleError, TooLarge
from bench.console.series import read
from bench.console.service import Console
from bench.console.task import Step, Task
from bench.console.tasks import PID
from bench.console.uploads import MOST_UPLOADS, Uploads, _begin_of
from bench.load_search.decisions import Ending
from bench.load_search.files import SearchDirectory, config_sha256
from bench.run_files.run_directory import series_held
from promptset.probes import make_probes, parse_probes
from tests.support.made_sweeps import LADDER, content
from tests.support.made_tasks import made_run, made_tune
from tests.support.made_visits import in_turn, made_search
from tests.unit.bench.answers.test_quality_document import content_of


def seen(path: Path, kind: str) -> Task:
    """A task of this kind as its directory shows it, whose settings are not known otherwise."""
    found = read(Task(id=path.name, state="not started", kind=kind), path)
    assert found is not None
    return found


def searched(folder: Path, *rows: tuple[str, float, float], ended: Ending | None = None, **changes: Any) -> Path:
    config = resolve({"url": "http://h:1", "rate": 1.0, "slo": ["ttft:p99<500ms"]})
    place = SearchDirectory.create(folder / "search", config, {"started": "2026-12-02T18:00:00+00:00"})
    place.write(made_search(*in_turn(*rows, **changes)), config_sha256(config, "rate"), ended, None)
    return place.path


ROWS = (("scout", 32.0, 0.0), ("scout", 64.0, 0.9), ("visit", 35.0, 0.0), ("visit", 42.0, 0.05))


def test_a_search_has_a_step_for_each_visit_and_the_answer_so_far(tmp_path: Path) -> None:
    path = searched(tmp_path, *ROWS)
    task = seen(path, "search")
    assert (task.state, task.started, task.share_done) == ("killed", "2026-12-02T18:00:00+00:00", None)
    assert [(step.run, step.load, step.verdict, step.said) for step in task.steps] == [
        ("01-32", "32/s, scout", "VALID", "did not clearly break (0% broke ttft:p99<500ms; 4,000 requests)"),
        ("02-64", "64/s, scout", "VALID", "broke (90% broke ttft:p99<500ms; 4,000 requests)"),
        ("03-35", "35/s", "VALID", "held (0% broke ttft:p99<500ms; 4,000 requests)"),
        ("04-42", "42/s", "VALID", "did not hold (5% broke ttft:p99<500ms; 4,000 requests)"),
    ]
    assert (task.headline or "").startswith("It holds up to 38/s: between 35.3 and 41.4/s")
    with series_held(path):
        running = seen(path, "search")
    assert (running.state, running.share_done) == ("running", pytest.approx(288 / 900))


@pytest.mark.parametrize(
    ("ended", "state"),
    [(None, "killed"), (Ending.INTERRUPTED, "stopped"), (Ending.BUDGET, "ended"), (Ending.TARGET, "ended")],
)
def test_a_search_is_over_as_it_ended(ended: Ending | None, state: str, tmp_path: Path) -> None:
    assert seen(searched(tmp_path, *ROWS, ended=ended), "search").state == state


def test_a_visit_that_counts_for_nothing_says_so(tmp_path: Path) -> None:
    (step,) = seen(searched(tmp_path, ("scout", 32.0, 0.0), verdict="INVALID"), "search").steps
    assert (step.verdict, step.said) == ("INVALID", "INVALID: it counts for nothing")


def test_a_search_that_took_longer_than_its_budget_is_done(tmp_path: Path) -> None:
    path = searched(tmp_path, *[("visit", 35.0, 0.0)] * 14)
    with series_held(path):
        assert seen(path, "search").share_done == 1.0


def made_sweep(folder: Path, **changes: Any) -> Path:
    (path := folder / "sweep").mkdir(parents=True)
    (path / "sweep.json").write_text(json.dumps({**content(LADDER[:4]), **changes}))
    return path


def test_a_sweep_has_a_step_for_each_run_and_its_greatest_output(tmp_path: Path) -> None:
    task = seen(made_sweep(tmp_path), "sweep")
    assert task.steps[0] == Step(
        run="concurrency-1-1",
        load="1 user",
        verdict="VALID",
        said="47.62 tokens/s, TTFT p50 1 p99 1, TPOT p50 21 p99 1 ms",
    )
    assert [step.load for step in task.steps] == ["1 user", "2 users", "4 users", "8 users"]
    assert (task.state, task.started, task.load) == ("ended", "2026-11-25", "sweep, concurrency=1,2,4,8")
    assert (task.headline or "").startswith("Most output at 8 users: 286 tokens/s. ")
    assert task.settings == {"url": "http://h", "name": "a", "loads": "concurrency=1,2,4,8", "repeats": 1}


def test_loads_that_cannot_be_used_have_no_greatest_output(tmp_path: Path) -> None:
    whole = content(LADDER[:4])
    points = [{**point, "usable": False, "usable_runs": 0, "status": "INVALID"} for point in whole["points"]]
    assert "Most output" not in (seen(made_sweep(tmp_path, points=points, knee=None), "sweep").headline or "")
    part = [*whole["points"][:2], *points[2:]]
    some = seen(made_sweep(tmp_path / "part", points=part, knee=None), "sweep")
    assert (some.headline or "").startswith("Most output at 2 users: 91 tokens/s.")


@pytest.mark.parametrize(
    ("runs", "state"),
    [
        ({}, "could not start"),
        ({"01": ("run.yaml", "summary.json")}, "stopped"),
        ({"01": ("run.yaml", "summary.json"), "02": ("run.yaml",)}, "killed"),
        ({"01": ("run.yaml", "summary.json"), "02-cut-off-1": ("run.yaml",)}, "stopped"),
        ({"01": ("run.yaml", "summary.json"), "other": ()}, "stopped"),
    ],
)
def test_an_interrupted_sweep_was_killed_if_a_run_has_no_summary(
    runs: dict[str, tuple[str, ...]], state: str, tmp_path: Path
) -> None:
    path = made_sweep(tmp_path, ended="interrupted")
    for name, files in runs.items():
        (path / name).mkdir()
        for file in files:
            (path / name / file).touch()
    task = seen(path, "sweep")
    assert task.state == state
    assert ("Not complete" in (task.headline or "")) is (state != "could not start")
    (path / "sweep.html").touch()
    assert seen(path, "sweep").has_report is (state != "could not start")


def test_a_sweep_that_runs_says_how_much_of_it_is_done(tmp_path: Path) -> None:
    path = made_sweep(tmp_path, loads=[1, 2, 4, 8, 16], repeats=2, ended="interrupted")
    with series_held(path):
        assert seen(path, "sweep").share_done == pytest.approx(4 / 10)


def test_checked_answers_have_the_settings_with_which_they_were_asked(tmp_path: Path) -> None:
    made = content_of(make_probes(parse_probes("canary=60"), seed=7), None)
    config = {"url": "http://h:1", "check_answers": 0.05, "store_texts": True, "until": "x", "rate": 5.0}
    quality.write(tmp_path, msgspec.structs.replace(made, config=config))
    task = seen(tmp_path, "quality")
    assert task.started == made.date
    shown = {name: task.settings[name] for name in ("share", "alone", "margin", "rate")}
    assert shown == {"share": "0.05", "alone": str(made.asked_alone), "margin": str(made.margin), "rate": 5.0}
    assert not {"check_answers", "store_texts", "until"} & task.settings.keys()
    assert task.load == "quality, 0.05 probes"


@pytest.mark.parametrize(("ended", "state"), [(None, "killed"), ("interrupted", "stopped"), ("decided", "ended")])
def test_a_race_is_over_as_it_ended(ended: str | None, state: str, tmp_path: Path) -> None:
    path = made_tune(tmp_path, "race", ended=ended)
    assert seen(path, "tune").state == state
    with series_held(path):
        assert seen(path, "tune").share_done == pytest.approx(120 / 600)


def test_the_download_of_a_task_has_its_files_without_links_and_the_number_of_its_process(
    console: Console, tmp_path: Path
) -> None:
    path = made_run(console.runs, "night")
    (path / PID).write_text("1")
    (path / "sub").mkdir()
    (path / "sub" / "a").write_text("in it")
    (tmp_path / "secret").write_text("of the machine")
    (path / "link").symlink_to(tmp_path / "secret")
    with zipfile.ZipFile(io.BytesIO(console.archive("night"))) as archive:
        names = archive.namelist()
        assert archive.read("night/sub/a") == b"in it"
    assert names == [
        f"night/{name}" for name in ("live.jsonl", "report.html", "requests.jsonl", "run.yaml", "sub/a", "summary.json")
    ]


@pytest.mark.parametrize(
    ("content_range", "begins"),
    [(None, 0), ("bytes 0-9/10", 0), (" bytes 5-9/10 ", 5), ("bytes 7-9/*", 7), ("bytes 7-9/11", None), ("bytes -9/10", None),
     ("bytes 1000000000000000000-2/10", None)],
)  # fmt: skip
def test_a_part_begins_where_its_range_says(content_range: str | None, begins: int | None) -> None:
    if begins is not None:
        assert _begin_of(content_range, 10) == begins
        return
    with pytest.raises(ConsoleError) as refused:
        _begin_of(content_range, 10)
    assert str(refused.value) == f"Content-Range {content_range!r}: write bytes FIRST-LAST/10"


def test_twenty_uploads_may_be_unfinished_and_a_file_has_a_byte_and_two_gib_at_most(
    console: Console, tmp_path: Path
) -> None:
    ours = Uploads(tmp_path / "new" / "uploads", console.files)
    assert ours.listed() == []
    for number in range(MOST_UPLOADS):
        ours.begin(f"{number}.csv", 1, AS_IT_IS)
    assert (MOST_UPLOADS, len({half.id for half in ours.listed()})) == (20, 20)
    with pytest.raises(TooLarge) as refused:
        ours.begin("x.csv", 1, AS_IT_IS)
    assert str(refused.value) == "20 uploads have not ended: go on with one, or delete some"
    first = ours.listed()[0]
    assert (first.size_bytes, first.received_bytes, first.whole, first.base64, first.by) == (1, 0, False, False, None)
    with pytest.raises(TooLarge, match=r"^a.csv has more than 2 GiB$"):
        ours.begin("a.csv", 2 * 1024**3 + 1, AS_IT_IS)
    with pytest.raises(ConsoleError, match=r"^a.csv is empty$"):
        ours.begin("a.csv", 0, AS_IT_IS)
