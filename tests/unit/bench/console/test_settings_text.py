"""Settings of a task as a command line and as YAML, and which loads of a running task can be changed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.console.address import urls_of
from bench.console.errors import Conflict, ConsoleError
from bench.console.set_load import number_of, set_load, unit_of
from bench.console.settings_text import as_yaml, command, from_yaml
from bench.console.task import Task


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"url": "http://h x", "concurrency": 5}, "run", "--url 'http://h x' --concurrency 5"),
        ({"stream": False, "ignore_eos": True}, "run", "--no-stream --ignore-eos"),
        ({"slo": ["ttft:p99<1s", "a b"]}, "run", "--slo 'ttft:p99<1s' --slo 'a b'"),
        ({"body": {"top_k": 1}}, "run", """--body '{"top_k":1}'"""),
        ({"url": "u", "rate": 5, "concurrency": 1, "budget": "9m"}, "search", "--url u --budget 9m"),
        ({"url": "u", "model": "m", "rate": 5}, "calibrate", "--rate 5"),
    ],
)
def test_settings_are_the_flags_of_their_command(settings: dict[str, Any], kind: str, words: str) -> None:
    assert command(settings, kind) == f"python -m bench {kind} {words}"
    assert shlex.split(command(settings, kind))[:4] == ["python", "-m", "bench", kind]


@pytest.mark.parametrize(
    ("text", "kind", "read"),
    [
        ("url: u\nconcurrency: 5", "run", ("run", {"url": "u", "concurrency": 5})),
        ("out: x\napi-key: k\ninput-tokens: 9", "run", ("run", {"input_tokens": 9})),
        ("url: u\nloads: 1,2\nrate: 5", "run", ("sweep", {"url": "u", "loads": "1,2"})),
        ("url: u\nrate: 5", "search", ("search", {"url": "u"})),
        ("manifest: 1\nconfig: {url: u, rate: 5}", "run", ("run", {"url": "u", "rate": 5})),
    ],
)
def test_pasted_settings_are_those_of_the_kind_that_has_them(
    text: str, kind: str, read: tuple[str, dict[str, Any]]
) -> None:
    assert from_yaml(text, kind) == read
    assert from_yaml(as_yaml(read[1]), read[0]) == read


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "not YAML: while parsing a flow node expected"),
        ("- a", "YAML must hold keys with values, for example concurrency: 10"),
        ("y: 2\nx: 1\nurl: u", "not known: x, y"),
        ("manifest: 1", "not known: manifest"),
        ("&a [*a]", "more than 100,000 values, or an alias (*) that contains itself"),
    ],
)
def test_pasted_text_that_holds_no_settings_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConsoleError) as refused:
        from_yaml(text)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    ("task", "given", "unit"),
    [
        ({}, {"concurrency": 5}, "users"),
        ({}, {"rate": 5}, "requests/s"),
        *(({}, {"rate": 5, key: 1}, None) for key in ("steps", "ramp", "ramp_up", "until", "repeats")),
        ({}, {"concurrency": 5, "sessions_begin": "middle"}, None),
        ({"kind": "search"}, {"rate": 5}, None),
        ({"state": "ended"}, {"rate": 5}, None),
    ],
)
def test_the_load_of_a_run_that_plans_none_can_be_set(
    task: dict[str, Any], given: dict[str, Any], unit: str | None
) -> None:
    assert unit_of(Task(**{"id": "t", "state": "running", **task}), given) == unit


def test_a_load_that_cannot_be_set_is_refused_in_words(tmp_path: Path) -> None:
    assert number_of("2.5") == 2.5
    for text in ("x", None):
        with pytest.raises(ConsoleError, match=r"is not a load: type a number of users, or of requests per second"):
            number_of(text)
    with pytest.raises(Conflict, match=r"^t is queued: the load can be set only while a task runs$"):
        set_load(tmp_path, Task(id="t", state="queued"), 1)
    with pytest.raises(Conflict, match=r"^t is a search: it chooses its loads itself$"):
        set_load(tmp_path, Task(id="t", state="running", kind="search"), 1)


@pytest.mark.parametrize(
    ("host", "tls", "base"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:1"),
        ("0.0.0.0", True, "https://127.0.0.1:1"),
        ("::1", False, "http://[::1]:1"),
    ],
)
def test_the_address_of_a_console_is_one_that_a_browser_reaches(host: str, tls: bool, base: str) -> None:
    assert urls_of(host, 1, "a&b", tls=tls) == (base, f"{base}/?token=a%26b")
