"""The command `tasks`: what it asks the console, and what it prints of the answers. No console runs."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from bench import cli
from bench.commands import tasks as command
from bench.console.address import keep
from bench.errors import Exit

BASE, TOKEN = "http://127.0.0.1:8600", "a-token-of-the-test"
TASK: dict[str, Any] = {
    "id": "night", "title": "Night", "state": "ended", "kind": "run", "verdict": None, "verdict_headline": None, "held": None,
    "headline": None, "problem": None, "target": "lab", "load": "5 users", "started": None, "ended": None, "start_at": None,
    "label": None, "note": None, "baseline": False, "needs": [], "counts": {}, "numbers": {}, "steps": [], "settings": {},
}  # fmt: skip


class Asked:
    """A console that gives each path one answer, and notes what it was asked."""

    def __init__(self, answers: Mapping[str, Any], status: int = 200) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.given: list[dict[str, Any]] = []
        self._answers, self._status = answers, status

    def __call__(self, method: str, url: str, **given: Any) -> httpx.Response:
        path = url.removeprefix(f"{BASE}/api")
        self.requests.append((method, path, given.pop("json")))
        self.given.append(given)
        answer = self._answers.get(path.partition("?")[0], TASK)
        if isinstance(answer, list) and answer and isinstance(answer[0], Exception | httpx.Response):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        content = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        return httpx.Response(self._status, content=content)


def asked(
    words: list[str], monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any] | None = None, status: int = 200
) -> tuple[int, Asked]:
    console = Asked(answers or {}, status)
    monkeypatch.setattr(httpx, "request", console)
    return cli.main(["tasks", *words, "--url", f"{BASE}/", "--token", TOKEN]), console


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["ls"], ("GET", "/tasks", None)),
        (["describe", "a b/c"], ("GET", "/tasks/a%20b%2Fc", None)),
        (["report", "night"], ("GET", "/tasks/night/text", None)),
        (["edit", "night", "--title", "T", "--note", ""], ("PATCH", "/tasks/night", {"title": "T", "note": ""})),
        (["edit", "night", "--label", "l", "--baseline", "no"],
         ("PATCH", "/tasks/night", {"label": "l", "baseline": False})),
        (["rm", "night"], ("DELETE", "/tasks/night?files=false", None)),
        (["rm", "night", "--files"], ("DELETE", "/tasks/night?files=true", None)),
        (["start", "night"], ("POST", "/tasks/night/start", None)),
        (["stop", "night"], ("POST", "/tasks/night/stop", None)),
        (["go-on", "night", "--api-key-env", "MY_KEY"], ("POST", "/tasks/night/go-on", {"api_key": "sk-1"})),
        (["clone", "night"], ("POST", "/tasks/night/clone", {"settings": {}})),
        (["clone", "night", "--api-key-env", "MY_KEY", "rate=9", "slo=", "output-tokens=8"],
         ("POST", "/tasks/night/clone", {"api_key": "sk-1", "settings": {"rate": "9", "slo": None, "output_tokens": "8"}})),
        (["create", "rate=5"], ("POST", "/tasks", {"start": True, "settings": {"rate": "5"}})),
        (["create", "slo=a", "slo=b", "slo=c", "model=", "--keep", "--kind", "search", "--target", "lab"],
         ("POST", "/tasks", {"target": "lab", "kind": "search", "start": False, "settings": {"slo": ["a", "b", "c"]}})),
    ],
)  # fmt: skip
def test_each_action_is_one_request(
    words: list[str],
    request_: tuple[str, str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-1")
    status, console = asked(words, monkeypatch, {"/tasks": TASK if words[0] == "create" else []})
    assert (status, console.requests) == (Exit.GOOD, [request_])
    (given,) = console.given
    assert given["headers"] == {"authorization": f"Bearer {TOKEN}"}
    assert (given["timeout"], given["trust_env"], given["verify"]) == (httpx.Timeout(60, read=600), False, True)
    out = capsys.readouterr().out
    if words[0] in ("edit", "start", "stop", "go-on", "clone", "create"):
        assert out == "night: ended\n"
    if words[0] == "rm":
        assert out == "night: removed\n"


def test_settings_of_a_file_are_replaced_by_those_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "load.yaml").write_text("output-tokens: 8\nrate: 5\nduration: 60s\n")
    words = ["create", "rate=7", "duration=", "--config", str(tmp_path / "load.yaml"), "--start-at", "2999-01-01T00:00"]
    _, console = asked(words, monkeypatch)
    assert console.requests == [
        (
            "POST",
            "/tasks",
            {"start_at": "2999-01-01T00:00", "start": True, "settings": {"output_tokens": 8, "rate": "7"}},
        )
    ]


@pytest.mark.parametrize(
    ("needs", "sentence"),
    [
        ([], ""),
        (["api_key"], "it needs its API key again: type it on its page, or name a variable with tasks start --api-key-env\n"),
        (["api_key", "header"],
         "it needs its API key and headers again: type it on its page, or name a variable with tasks start --api-key-env\n"),
    ],
)  # fmt: skip
def test_a_task_says_what_it_needs(
    needs: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(["stop", "night"], monkeypatch, {"/tasks/night/stop": {**TASK, "state": "not started", "needs": needs}})
    assert capsys.readouterr().out == f"night: not started\n{sentence}"


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["task    night", "title   Night", "state   ended", "kind    run", "target  lab", "load    5 users",
              "settings"]),
        (
            {"verdict": "VALID", "held": True, "baseline": True, "counts": {"sent": 1200}, "title": "", "target": "",
             "numbers": {"requests_per_s": 1234.56, "ttft_p50_ms": None, "e2el_p99_ms": 0.5}, "needs": ["api_key", "header"],
             "settings": {"slo": ["a", "b"], "rate": 5}},
            ["task            night", "state           ended", "kind            run", "verdict         VALID",
             "objectives      held", "load            5 users", "baseline        yes", "needs           api_key, header",
             "sent            1,200", "requests_per_s  1,235", "e2el_p99_ms     0.5", "settings", "  slo=a", "  slo=b",
             "  rate=5"],
        ),
        (
            {"verdict": "VALID", "verdict_headline": "VALID: 100 requests", "held": False, "headline": "5/s", "load": "",
             "problem": "p", "started": "s", "ended": "e", "start_at": "t", "label": "l", "note": "n",
             "steps": [{"load": "1 user", "verdict": "VALID", "said": "held"}]},
            ["task        night", "title       Night", "state       ended", "kind        run",
             "verdict     VALID: 100 requests", "objectives  missed", "answer      5/s", "problem     p", "target      lab",
             "started     s", "ended       e", "start_at    t", "label       l", "note        n",
             "1 user      VALID: held", "settings"],
        ),
    ],
)  # fmt: skip
def test_a_task_is_described_by_what_is_known_of_it(
    changes: dict[str, Any], lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = asked(["describe", "night"], monkeypatch, {"/tasks/night": {**TASK, **changes}})
    assert (status, capsys.readouterr().out.splitlines()) == (Exit.GOOD, lines)
    asked(["describe", "night", "--format", "json"], monkeypatch)
    out = capsys.readouterr().out
    assert orjson.loads(out) == TASK
    assert out.startswith('{\n  "id": "night",\n')


def test_tasks_are_listed_in_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    rows = [
        {**TASK, "verdict": "VALID", "numbers": {"requests_per_s": 1234.56, "ttft_p99_ms": 9.04}},
        {**TASK, "id": "day", "state": "running", "numbers": {"ttft_p99_ms": None}},
    ]
    assert asked(["ls"], monkeypatch, {"/tasks": rows})[0] == Exit.GOOD
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "task   state    verdict  load       req/s  TTFT p99",
        "night  ended    VALID    5 users  1,234.6    9.0 ms",
        "day    running           5 users",
    ]
    asked(["ls"], monkeypatch, {"/tasks": []})
    assert capsys.readouterr().out == "no tasks\n"
    asked(["ls", "--format", "json"], monkeypatch, {"/tasks": rows})
    assert orjson.loads(capsys.readouterr().out) == rows


def test_data_and_what_has_arrived_of_uploads_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [{"name": "a.jsonl", "size_bytes": 1234}]
    halves = [{"id": "0f", "name": "b.csv", "received_bytes": 1000, "size_bytes": 2000}]
    answers = {"/files": files, "/uploads": halves}
    assert asked(["data"], monkeypatch, answers)[0] == Exit.GOOD
    assert capsys.readouterr().out == "a.jsonl  1,234 bytes\n0f  b.csv, 1,000 of 2,000 bytes have arrived\n"
    asked(["data", "--format", "json"], monkeypatch, answers)
    assert orjson.loads(capsys.readouterr().out) == {"files": files, "uploads": halves}
    for name, path in (("a.jsonl", "/files/a.jsonl"), ("0f", "/uploads/0f"), ("x/y", "/files/x%2Fy")):
        _, console = asked(["rm-data", name], monkeypatch, answers)
        assert console.requests == [("GET", "/uploads", None), ("DELETE", path, None)]
        assert capsys.readouterr().out == f"{name}: removed\n"


HUB_LOAD: dict[str, Any] = {
    "id": "1", "hub": "h", "name": "o/n", "file": None, "state": "loading", "received_bytes": 0, "size_bytes": None,
    "elapsed_s": 0.0, "names": [], "problem": None, "begun": "now", "by": None,
}  # fmt: skip


def loads(*states: str, **last: object) -> list[httpx.Response]:
    rows = [{**HUB_LOAD, "state": state} for state in states]
    return [httpx.Response(200, json={**row, **(last if row is rows[-1] else {})}) for row in rows]


def test_data_is_fetched_from_a_url_or_waited_for_from_a_hub(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"whole": True, "base64": False}
    _, console = asked(["fetch", "http://h/x", "--whole"], monkeypatch, {"/files/fetch": {"names": ["a", "b"]}})
    assert console.requests == [("POST", "/files/fetch", {"url": "http://h/x", **rows})]
    assert capsys.readouterr().out == "a\nb\n"
    answers = {"/hub-loads": HUB_LOAD, "/hub-loads/1": loads("loading", "keeping it", "kept", names=["c"])}
    status, console = asked(["fetch", "o/n", "--base64"], monkeypatch, answers)
    wait = ("GET", "/hub-loads/1?wait_s=1", None)
    body = {"name": "o/n", "hub": "huggingface", "file": None, "whole": False, "base64": True}
    assert (status, console.requests) == (Exit.GOOD, [("POST", "/hub-loads", body), wait, wait, wait])
    assert capsys.readouterr().out == "c\n"
    answers = {"/hub-loads": HUB_LOAD, "/hub-loads/1": loads("kept", names=["c"])}
    _, console = asked(["fetch", "o/n", "--hub", "modelscope", "--file", "f"], monkeypatch, answers)
    assert console.requests[0][2] == {**body, "hub": "modelscope", "file": "f", "base64": False}


@pytest.mark.parametrize(("last", "sentence"), [({"problem": "no such file"}, "no such file"), ({}, "o/n: cancelled")])
def test_a_data_set_that_does_not_come_says_why(
    last: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"/hub-loads": HUB_LOAD, "/hub-loads/1": loads("cancelled", **last)}
    assert asked(["fetch", "o/n"], monkeypatch, answers)[0] == Exit.USAGE
    assert capsys.readouterr().err == f"error: {sentence}\n"


def test_ctrl_c_while_a_data_set_is_loaded_cancels_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(Asked):
        def __call__(self, method: str, url: str, **given: Any) -> httpx.Response:
            reply = super().__call__(method, url, **given)
            if method == "GET":
                raise KeyboardInterrupt
            return reply

    console = Interrupted({"/hub-loads": HUB_LOAD})
    monkeypatch.setattr(httpx, "request", console)
    assert cli.main(["tasks", "fetch", "o/n", "--url", BASE, "--token", TOKEN]) == Exit.INTERRUPTED
    assert [(method, path) for method, path, _ in console.requests] == [
        ("POST", "/hub-loads"), ("GET", "/hub-loads/1?wait_s=1"), ("DELETE", "/hub-loads/1"),
    ]  # fmt: skip
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "status", "exit_", "sentence"),
    [
        ({"error": "there is no task"}, 404, Exit.USAGE, "there is no task"),
        (b"<html>", 404, Exit.USAGE, "the console answers with status 404"),
        ([1], 499, Exit.USAGE, "the console answers with status 499"),
        ({"other": 1}, 500, 70, "the console answers with status 500"),
        (httpx.ConnectError("[Errno 111] Connection refused"), 200, Exit.USAGE,
         f"no console answers at {BASE}: Connection refused"),
    ],
)  # fmt: skip
def test_an_error_of_the_console_is_told_in_its_words(
    answer: object, status: int, exit_: int, sentence: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ended, _ = asked(["describe", "night"], monkeypatch, {"/tasks/night": answer}, status)
    assert (ended in (Exit.USAGE,), capsys.readouterr().err) == (exit_ == Exit.USAGE, f"error: {sentence}\n")


@pytest.mark.parametrize(
    ("flags", "variable", "token"),
    [
        (["--token", "typed-token-1"], "of-the-variable", "typed-token-1"),
        ([], "of-the-variable", "of-the-variable"),
        ([], None, TOKEN),
    ],
)
def test_the_token_is_the_typed_one_else_that_of_the_variable_else_that_of_the_folder(
    flags: list[str], variable: str | None, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.delenv("TRUELOAD_TOKEN", raising=False)
    if variable is not None:
        monkeypatch.setenv("TRUELOAD_TOKEN", variable)
    (tmp_path / ".console").mkdir()
    keep(tmp_path, f"{BASE}/?token={TOKEN}")
    console = Asked({"/tasks": []})
    monkeypatch.setattr(httpx, "request", console)
    assert cli.main(["tasks", "ls", "--runs", str(tmp_path), *flags]) == Exit.GOOD
    assert console.given[0]["headers"] == {"authorization": f"Bearer {token}"}
    assert console.requests == [("GET", "/tasks", None)]
    assert capsys.readouterr().out == "no tasks\n"


def test_the_console_of_another_machine_needs_its_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRUELOAD_TOKEN", raising=False)
    assert cli.main(["tasks", "ls", "--url", BASE]) == Exit.USAGE
    assert capsys.readouterr().err == "error: --url needs the token of that console: --token, or TRUELOAD_TOKEN\n"
    monkeypatch.setenv("TRUELOAD_TOKEN", "größe")
    for words, place in (([], "the token"), (["--token", "ü"], "--token")):
        assert cli.main(["tasks", "ls", "--url", BASE, *words]) == Exit.USAGE
        assert capsys.readouterr().err.startswith(f"error: {place}: ")
    assert cli.main(["tasks", "ls", "--url", "nowhere", "--token", TOKEN]) == Exit.USAGE
    assert capsys.readouterr().err.startswith("error: --url: ")


def test_the_page_of_a_task_is_opened_through_a_file_that_hides_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(Path(url.removeprefix("file://")).read_text()))
    status, console = asked(["open", "night", "--runs", str(tmp_path)], monkeypatch)
    assert (status, console.requests) == (Exit.GOOD, [("GET", "/tasks/night", None)])
    (page,) = opened
    assert f'url={BASE}/tasks/night?token={TOKEN}"' in page


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (["describe"], ["describe needs a task: tasks ls lists them"]),
        (["fetch"], ["fetch needs the URL of a file, or the name of a data set (openai/gsm8k)"]),
        (["rm-data"],
         ["rm-data needs the name of a file, or of an upload that has not ended: tasks data lists them"]),
        (["ls", "a", "b"], ["ls takes no task"]),
        (["data", "a", "--files"], ["data takes no file", "--files is for rm"]),
        (["stop", "a", "b", "c"], ["stop takes one task, and no b c"]),
        (["upload", "a", "b"], ["upload takes one file, and no b"]),
        (["edit", "a"], ["edit needs what to change: --title, --label, --note or --baseline"]),
        (["ls", "--start-at", "x", "--api-key-env", "Y"],
         ["--start-at is for create", "--api-key-env is for create, clone, start, go-on"]),
        (["report", "a", "--out", "r.pdf"],
         ["--out r.pdf: end its name with .html, .json, .jsonl, .csv, .parquet, .md, .txt, .zip"]),
        (["create", "=5", "rate"], ["'=5': write a setting as NAME=VALUE, such as rate=5",
                                    "'rate': write a setting as NAME=VALUE, such as rate=5"]),
        (["start", "a", "--api-key-env", "NO_SUCH"], ["--api-key-env: there is no environment variable NO_SUCH"]),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_before_the_console_is_asked(
    words: list[str], problems: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, console = asked(words, monkeypatch)
    err = capsys.readouterr().err
    one = f"error: {problems[0]}\n"
    several = f"error: {len(problems)} problems\n" + "".join(f"  - {problem}\n" for problem in problems)
    assert (status, console.requests, err) == (Exit.USAGE, [], one if len(problems) == 1 else several)
    assert command.TAKE_SETTINGS == ("create", "clone")
