"""task.yaml: its text, what is read from it, and the limits of what else a task stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.clock import utc_now
from bench.console import plan as plans
from bench.console import service
from bench.console.errors import Conflict, NotFound
from bench.console.plan import TASK_FILE, Damaged, Plan
from bench.console.service import Console
from bench.console.target_keys import TargetKeys
from tests.support.made_tasks import made_run

HERE = {"url": "http://127.0.0.1:9", "requests": 1}


def test_a_plan_is_readable_yaml_in_a_fixed_order_and_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = Plan(
        kind="search",
        name="größte-Last",
        settings={"url": "http://h", "budget": "3m"},
        paths={"url": "http://h", "dataset": "/data/a.jsonl"},
        typed=("api_key",),
        keys=TargetKeys("http://h:80", "OPENAI_API_KEY", {"X-Tenant": "TRUELOAD_KEY_T"}),
    )
    plan.write(tmp_path)
    assert (tmp_path / TASK_FILE).read_text() == (
        "kind: search\nkeys_for: http://h:80\nkey_variable: OPENAI_API_KEY\nheader_variables:\n  X-Tenant: TRUELOAD_KEY_T\n"
        "name: größte-Last\nsettings:\n  url: http://h\n  budget: 3m\npaths:\n  url: http://h\n  dataset: /data/a.jsonl\n"
        "typed:\n- api_key\n"
    )
    assert plans.read(tmp_path) == plan
    assert plan.given == {"url": "http://h", "dataset": "/data/a.jsonl"}
    assert Plan(settings={"url": "http://h"}).given == {"url": "http://h"}


def test_a_plan_without_keys_and_paths_names_none(tmp_path: Path) -> None:
    Plan(settings={"rate": 5}).write(tmp_path)
    text = (tmp_path / TASK_FILE).read_text()
    assert text == "kind: run\nname: null\nsettings:\n  rate: 5\npaths: {}\ntyped: []\n"
    assert plans.read(tmp_path) == Plan(settings={"rate": 5}, paths={})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("settings: {url: x, 1: 2}", "task.yaml is damaged: the names of settings must be texts"),
        ("settings: {}\npaths: {url: x, 1: 2}", "task.yaml is damaged: the names of settings must be texts"),
        ("kind: tune", "task.yaml is damaged: kind must be run or search or sweep or quality or calibrate"),
        ("[1]", "task.yaml is damaged: it must hold keys with values"),
    ],
)
def test_a_damaged_plan_says_what_is_wrong(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / TASK_FILE).write_text(text)
    with pytest.raises(Damaged) as refused:
        plans.read(tmp_path)
    assert str(refused.value) == problem


def test_a_plan_of_an_older_version_lacks_fields(tmp_path: Path) -> None:
    assert plans.read(tmp_path) is None
    (tmp_path / TASK_FILE).write_text("settings: {url: x}\n")
    assert plans.read(tmp_path) == Plan(settings={"url": "x"}, paths=None)


@pytest.mark.parametrize(
    ("title", "end"),
    [
        ("Night 1", "-Night-1"),
        ("a_b-c", "-a_b-c"),
        ("--größte_", "-gr--te"),
        ("数据", "-run"),
        ("x" * 61, f"-{'x' * 60}"),
        ("x" * 59 + "-y", f"-{'x' * 59}-"),
    ],
)
def test_the_directory_of_a_task_has_its_time_and_plain_letters_of_its_title(
    title: str, end: str, console: Console
) -> None:
    task = console.create(HERE, title=title, start=False)
    time, name = task.id[:15], task.id[15:]
    assert (name, time[8], f"{time[:8]}{time[9:]}".isdecimal()) == (end, "T", True)
    plan = plans.read(console.runs / task.id)
    assert plan is not None
    assert plan.name == end[1:]
    assert task.title == title


def test_a_name_that_is_taken_gets_a_number(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = utc_now()
    monkeypatch.setattr(service, "utc_now", lambda: moment)
    names = [console.create(HERE, title="a", start=False).id for _ in range(3)]
    assert names == [f"{moment:%Y%m%dT%H%M%S}-a{end}" for end in ("", "-2", "-3")]


def test_a_title_a_label_and_a_note_have_2000_characters_at_most(console: Console) -> None:
    long = "x" * 1_999 + "yz"
    task = console.create(HERE, title=long, start=False)
    assert task.title == long[:2_000]
    marks = console.mark(task.id, {"title": f"  {long}", "label": long, "note": long}).marks
    assert (marks.title, marks.label, marks.note) == (long[:2_000], long[:2_000], long[:2_000])
    marks = console.mark(task.id, {"title": " ", "label": None, "note": 7, "baseline": 1}).marks
    assert (marks.title, marks.label, marks.note, marks.baseline) == (None, None, "7", True)
    assert [act.what for act in console.history(task.id)] == [
        "created it", "changed its label, note, title", "changed its baseline, label, note, title",
    ]  # fmt: skip


def test_a_deleted_task_is_put_aside_and_comes_back_unless_its_name_was_taken(console: Console) -> None:
    aside = console.runs / ".console" / "removed"
    for note in ("first", "second"):
        (made_run(console.runs, "night") / "note").write_text(note)
        console.remove("night", files=False)
    assert sorted((path.name, (path / "note").read_text()) for path in aside.iterdir()) == [
        ("night", "second"), ("night-removed", "first"),
    ]  # fmt: skip
    assert console.restore("night").id == "night"
    assert (console.runs / "night" / "note").read_text() == "second"
    for name in ("night", "missing", "../night", ".console"):
        with pytest.raises(NotFound, match=f"^there is no removed task '{name}'$"):
            console.restore(name)
    console.remove("night", files=True)
    assert [path.name for path in aside.iterdir()] == ["night-removed"]
    assert not (console.runs / "night").exists()


@pytest.mark.parametrize("right", [True, False])
def test_a_run_of_512_mib_can_be_downloaded_and_none_that_is_larger(
    right: bool, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.MOST_ZIP_BYTES == 536_870_912
    path = made_run(console.runs, "night")
    size = sum(file.stat().st_size for file in path.iterdir())
    (path / "console.pid").write_text("not counted")
    monkeypatch.setattr(service, "MOST_ZIP_BYTES", size if right else size - 1)
    if right:
        assert console.archive("night")[:2] == b"PK"
    else:
        with pytest.raises(Conflict) as refused:
            console.archive("night")
        assert str(refused.value) == f"night is too large for a download: copy {path}"
