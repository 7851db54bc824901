"""`bench tasks`: the requests that each command sends to a console, and how its answers are printed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.commands import tasks
from bench.errors import Exit, UsageError
from tests.support.held_port import held_port

TASK: dict[str, Any] = {
    "id": "t1", "state": "ended", "kind": "run", "title": "night", "verdict": "VALID", "verdict_headline": "",
    "held": True, "headline": "12 requests/s", "problem": None, "target": "lab", "load": "rate 5", "started": "today",
    "ended": None, "start_at": None, "label": None, "note": "", "baseline": True, "needs": [], "counts": {"sent": 1_234},
    "numbers": {"requests_per_s": 1_234.5678, "ttft_p99_ms": None}, "steps": [],
    "settings": {"rate": 5, "slo": ["a", "b"]},
}  # fmt: skip


class Console:
    """Records requests, and answers them from a list."""

    base, token = "http://console", "s cret"

    def __init__(self, *answers: object) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers = list(answers)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        self.asked.append((method, path, body))
        answer = self.answers.pop(0) if self.answers else {**TASK}
        return SimpleNamespace(json=lambda: answer, text=str(answer), content=str(answer).encode())


def asked_by(monkeypatch: pytest.MonkeyPatch, *words: str, answers: tuple[object, ...] = ()) -> tuple[int, Console]:
    console = Console(*answers)
    monkeypatch.setattr(tasks, "_api", lambda given: console)
    return tasks.main(words), console


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("start a/b", ("POST", "/tasks/a%2Fb/start", None)),
        ("stop t1", ("POST", "/tasks/t1/stop", None)),
        ("go-on t1 --api-key-env KEY", ("POST", "/tasks/t1/go-on", {"api_key": "secret"})),
        ("clone t1", ("POST", "/tasks/t1/clone", {"settings": {}})),
        ("clone t1 rate=10 warm-up= slo=a slo=b slo=c", ("POST", "/tasks/t1/clone", {
            "settings": {"rate": "10", "warm_up": None, "slo": ["a", "b", "c"]}})),
        ("rm t1", ("DELETE", "/tasks/t1?files=false", None)),
        ("rm t1 --files", ("DELETE", "/tasks/t1?files=true", None)),
        ("edit t1 --label weekly --baseline yes", ("PATCH", "/tasks/t1", {"label": "weekly", "baseline": True})),
        ("edit t1 --baseline no --title x --note y", ("PATCH", "/tasks/t1", {"title": "x", "note": "y", "baseline": False})),
        ("create rate=5 duration= --title n --target lab", ("POST", "/tasks", {
            "target": "lab", "title": "n", "start": True, "settings": {"rate": "5"}})),
        ("create --keep --kind sweep --start-at 2026-12-31T18:00 --api-key-env KEY", ("POST", "/tasks", {
            "kind": "sweep", "start_at": "2026-12-31T18:00", "api_key": "secret", "start": False, "settings": {}})),
        ("fetch http://h/f --whole", ("POST", "/files/fetch", {"url": "http://h/f", "whole": True, "base64": False})),
    ],
)  # fmt: skip
def test_words_become_one_question(words: str, asked: tuple[str, str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "secret")
    answers = ({"names": ["f"]},) if words.startswith("fetch") else ()
    status, console = asked_by(monkeypatch, *words.split(), answers=answers)
    assert (status, console.asked) == (Exit.GOOD, [asked])


def test_a_task_opens_in_the_browser_by_a_file_that_holds_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runs folder is not needed, as the console may be on another machine."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    status, console = asked_by(monkeypatch, "open", "a b", "--runs", str(tmp_path / "runs"))
    assert (status, console.asked) == (Exit.GOOD, [("GET", "/tasks/a%20b", None)])
    page = tmp_path / "runs" / ".console" / "open.html"
    assert opened == [page.as_uri()]
    assert "http://console/tasks/a%20b?token=s+cret" in page.read_text()


def test_settings_of_a_file_are_those_of_the_words_in_other_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("rate: 3\nwarm-up: 2s\n")
    _, console = asked_by(monkeypatch, "create", "--config", str(file), "rate=5")
    assert console.asked[0][2]["settings"] == {"rate": "5", "warm_up": "2s"}


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ("start", ["start needs a task: tasks ls lists them"]),
        ("upload", ["upload needs a file"]),
        ("ls t1", ["ls takes no task"]),
        ("data f", ["data takes no file"]),
        ("start t1 t2 t3", ["start takes one task, and no t2 t3"]),
        ("rm-data f g", ["rm-data takes one file, and no g"]),
        ("stop t1 --title x --keep", ["--keep is for create", "--title is for create, edit"]),
        ("stop t1 --api-key-env K", ["--api-key-env is for create, clone, start, go-on"]),
        ("edit t1", ["edit needs what to change: --title, --label, --note or --baseline"]),
        ("report t1 --out r.pdf", [
            "--out r.pdf: end its name with .html, .json, .jsonl, .csv, .parquet, .md, .txt, .zip"]),
        ("clone t1 rate =5", [
            "'rate': write a setting as NAME=VALUE, such as rate=5", "'=5': write a setting as NAME=VALUE, such as rate=5"]),
        ("start t1 --api-key-env NO_SUCH_KEY", [
            "--api-key-env: there is no environment variable NO_SUCH_KEY"]),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said_before_anything_is_asked(
    words: str, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError) as refused:
        asked_by(monkeypatch, *words.split())
    assert list(refused.value.problems) == problems


def test_a_console_that_does_not_answer_is_named_with_the_reason() -> None:
    with held_port() as port, pytest.raises(UsageError) as refused:
        tasks.main(["ls", "--url", f"http://127.0.0.1:{port}", "--token", "t"])
    assert refused.value.problems == [f"no console answers at http://127.0.0.1:{port}: Connection refused"]


DESCRIBED = """\
task            t1
title           night
state           ended
kind            run
verdict         VALID
objectives      held
answer          12 requests/s
target          lab
load            rate 5
started         today
baseline        yes
sent            1,234
requests_per_s  1,235
settings
  rate=5
  slo=a
  slo=b
"""


def test_a_task_is_described_by_what_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_by(monkeypatch, "describe", "t1")
    assert capsys.readouterr().out == DESCRIBED
    steps = [{"load": "5", "verdict": "VALID", "said": "held"}]
    more = {
        **TASK,
        "held": False,
        "baseline": False,
        "needs": ["api_key", "header"],
        "steps": steps,
        "verdict_headline": "fine",
    }
    asked_by(monkeypatch, "describe", "t1", answers=(more,))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"objectives missed", "verdict fine", "needs api_key, header", "5 VALID: held"} < {*lines}
    assert not any(line.startswith("baseline") for line in lines)
    asked_by(monkeypatch, "describe", "t1", "--format", "json")
    assert json.loads(capsys.readouterr().out) == TASK


def test_what_became_of_a_task_and_what_it_needs_again_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_by(monkeypatch, "rm", "t1")
    assert capsys.readouterr().out == "t1: removed\n"
    asked_by(monkeypatch, "start", "t1")
    assert capsys.readouterr().out == "t1: ended\n"
    asked_by(monkeypatch, "start", "t1", answers=({**TASK, "needs": ["api_key", "header"]},))
    assert "it needs its API key and headers again: type it on its page" in capsys.readouterr().out


def test_tasks_are_listed_with_their_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_first = {"requests_per_s": 1_234.5678, "ttft_p99_ms": 50.04}
    listed = [{**TASK, "numbers": of_first}, {**TASK, "id": "t2", "verdict": None, "numbers": {}}]
    status, console = asked_by(monkeypatch, "ls", answers=(listed,))
    head, first, second = capsys.readouterr().out.splitlines()
    assert (status, console.asked) == (Exit.GOOD, [("GET", "/tasks", None)])
    assert head.split() == ["task", "state", "verdict", "load", "req/s", "TTFT", "p99"]
    assert (first.split(), second.split()) == (
        ["t1", "ended", "VALID", "rate", "5", "1,234.6", "50.0", "ms"], ["t2", "ended", "rate", "5"]
    )  # fmt: skip
    asked_by(monkeypatch, "ls", answers=([],))
    assert capsys.readouterr().out.strip() == "no tasks"
    asked_by(monkeypatch, "ls", "--format", "json", answers=([],))
    assert json.loads(capsys.readouterr().out) == []


def test_a_report_is_printed_or_saved_as_its_file_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, console = asked_by(monkeypatch, "report", "t1", answers=("whole text\n",))
    assert (console.asked, capsys.readouterr().out) == ([("GET", "/tasks/t1/text", None)], "whole text\n")
    for ending, path in tasks.SAVED_AS.items():
        file = tmp_path / f"saved{ending}"
        _, console = asked_by(monkeypatch, "report", "t1", "--out", str(file), answers=(path,))
        assert (console.asked, file.read_text()) == ([("GET", f"/tasks/t1/{path}", None)], path)


def test_files_are_listed_with_what_has_arrived_and_removed_by_their_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [{"name": "a.jsonl", "size_bytes": 12_345}]
    halves = [{"id": "u1", "name": "b.jsonl", "received_bytes": 1_000, "size_bytes": 2_000}]
    asked_by(monkeypatch, "data", answers=(files, halves))
    assert capsys.readouterr().out.splitlines() == [
        "a.jsonl  12,345 bytes", "u1  b.jsonl, 1,000 of 2,000 bytes have arrived"
    ]  # fmt: skip
    asked_by(monkeypatch, "data", "--format", "json", answers=(files, halves))
    assert json.loads(capsys.readouterr().out) == {"files": files, "uploads": halves}
    for name, path in (("u1", "/uploads/u1"), ("a b", "/files/a%20b")):
        _, console = asked_by(monkeypatch, "rm-data", name, answers=(halves,))
        assert (console.asked[1], capsys.readouterr().out) == (("DELETE", path, None), f"{name}: removed\n")


def test_a_data_set_of_a_hub_is_followed_until_it_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(state: str, **of: object) -> dict[str, Any]:
        return {"id": "l1", "name": "openai/x", "hub": "huggingface", "state": state, "received_bytes": 1, "size_bytes": 2,
                "names": [], "problem": None, **of}  # fmt: skip

    monkeypatch.setattr(
        "bench.console.hub_loads.HubLoad", lambda **of: SimpleNamespace(**of, goes_on=of["state"] == "loading")
    )
    answers = (load("loading"), load("loading"), load("loaded", names=["x.jsonl", "y.jsonl"]))
    _, console = asked_by(monkeypatch, "fetch", "openai/x", "--file", "test", answers=answers)
    assert console.asked == [
        (
            "POST",
            "/hub-loads",
            {"name": "openai/x", "hub": "huggingface", "file": "test", "whole": False, "base64": False},
        ),
        *[("GET", "/hub-loads/l1?wait_s=1", None)] * 2,
    ]
    assert capsys.readouterr().out == "x.jsonl\ny.jsonl\n"
    for problem, said in (("no such set", "no such set"), (None, "openai/x: failed")):
        with pytest.raises(UsageError, match=said):
            asked_by(monkeypatch, "fetch", "openai/x", answers=(load("failed", problem=problem),))


@pytest.mark.parametrize(
    ("words", "environment", "api"),
    [
        (["--url", "http://h:1/", "--token", "t"], {}, ("http://h:1", "t")),
        (["--url", "http://h:1"], {"TRUELOAD_TOKEN": "e"}, ("http://h:1", "e")),
        (["--url", "http://h:1", "--token", "t"], {"TRUELOAD_TOKEN": "e"}, ("http://h:1", "t")),
        (["--url", "http://h:1"], {}, "--url needs the token of that console"),
        (["--url", "h:1", "--token", "t"], {}, "--url: "),
    ],
)
def test_a_console_is_named_by_its_address_and_token(
    words: list[str], environment: dict[str, str], api: tuple[str, str] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRUELOAD_TOKEN", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    given = tasks._parser().parse_args(["ls", *words])
    if isinstance(api, str):
        with pytest.raises(UsageError, match=api):
            tasks._api(given)
    else:
        found = tasks._api(given)
        assert (found.base, found.token) == api
