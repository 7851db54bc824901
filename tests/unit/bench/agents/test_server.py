"""The tools of an agent, called through the protocol's own client in this process: what they pass on, wait for and
answer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from bench.agents.operations import GateRules, Operations
from bench.clock import NS_PER_S
from bench.commands import mcp
from bench.console.task import Task
from bench.errors import BenchError, Exit


class Runner:
    """The part of the queue that the server uses."""

    def __init__(self) -> None:
        self.words: list[str] = []

    async def run(self) -> None:
        self.words.append("began")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.words.append("ended")


class Played(Operations):
    """Operations that record their calls, and answer from a script."""

    def __init__(self, states: Sequence[Task] = (), lines: Sequence[dict[str, Any] | None] = ()) -> None:
        self.console = SimpleNamespace(runner=Runner())  # type: ignore[assignment]
        # Lists rather than iterators: a StopIteration in a thread would leave the tool waiting.
        self._states, self._lines = list(states), list(lines)
        self.asked: list[tuple[object, ...]] = []

    def task(self, name: str) -> Task:
        self.asked.append(("task", name))
        return self._states.pop(0)

    def live(self, name: str) -> dict[str, Any] | None:
        self.asked.append(("live", name))
        return self._lines.pop(0)

    def start(self, settings: Any, **given: Any) -> dict[str, object]:
        self.asked.append(("start", settings, given))
        return {"id": "a"}

    def tasks(self) -> list[dict[str, object]]:
        return [{"id": "b"}, {"id": "a"}]

    def stop(self, name: str) -> dict[str, object]:
        self.asked.append(("stop", name))
        return {"id": name}

    def result(self, name: str) -> NoReturn:
        if name == "gone":
            raise BenchError("one line\nand another")
        raise OSError(28, "No space left on device")

    def compare(self, names: Sequence[str], margin: str, allow: Sequence[str]) -> dict[str, object]:
        self.asked.append(("compare", names, margin, allow))
        return {}

    def gate(self, names: Sequence[str], rules: GateRules) -> dict[str, object]:
        self.asked.append(("gate", names, rules))
        return {}


class Clock:
    """Time that passes only while the server waits."""

    def __init__(self) -> None:
        self.ns = 7 * NS_PER_S
        self.waited_s: list[float] = []

    def now_ns(self) -> int:
        return self.ns

    async def sleep_until(self, clock: object, at_ns: int) -> None:
        assert clock is self
        self.waited_s.append((at_ns - self.ns) / NS_PER_S)
        self.ns = at_ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    # Imported only here: it takes a second or two, and every process collects all tests.
    from bench.agents import server

    made = Clock()
    monkeypatch.setattr(server, "LoopClock", lambda: made)
    monkeypatch.setattr(server, "sleep_until", made.sleep_until)
    return made


def called(operations: Played, tool: str, **arguments: Any) -> tuple[dict[str, Any] | str, list[tuple[float, str]]]:
    """A tool's answer, or the sentence of its error; and the reported progress."""
    from mcp import Client

    from bench.agents import server

    reported: list[tuple[float, str]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        assert (total, message is None) == (1, False)
        reported.append((progress, str(message)))

    async def drive() -> dict[str, Any] | str:
        async with Client(server.server_of(operations)) as client:
            reply = await client.call_tool(tool, arguments, progress_callback=note)
            if reply.is_error:
                return str(reply.content[0].text)  # type: ignore[union-attr]
            return dict(reply.structured_content or {})

    return asyncio.run(drive()), reported


def test_a_watch_of_a_task_that_is_over_returns_at_once(clock: Clock) -> None:
    operations = Played([Task(id="a", state="ended", verdict="VALID")])
    found, progress = called(operations, "watch", task="a", seconds=60)
    assert found == {"id": "a", "kind": "run", "state": "ended", "title": "a", "verdict": "VALID", "over": True,
                     "live": None}  # fmt: skip
    assert (operations.asked, clock.waited_s, progress) == ([("task", "a")], [], [])


def test_a_watch_looks_twice_a_second_until_its_time_is_up(clock: Clock) -> None:
    states = [Task(id="a", state=state) for state in ("queued", "starting", "running", "running")]
    operations = Played(states, [None, {"share_done": 0.25}, {"share_done": 0.5}])
    found, progress = called(operations, "watch", task="a", seconds=1.2)
    assert isinstance(found, dict)
    assert (found["state"], found["over"], found["live"]) == ("running", False, {"share_done": 0.5})
    assert clock.waited_s == pytest.approx([0.5, 0.5, 0.2])
    assert progress == [(0, "queued"), (0, "starting"), (0.25, "running")]
    assert [what for what, _ in operations.asked] == ["task", "task", "live", "task", "live", "task", "live"]


def test_the_progress_of_a_series_is_its_own_and_not_that_of_its_run(clock: Clock) -> None:
    states = [Task(id="a", state="running", kind="search", share_done=share) for share in (0.125, 0.0)]
    lines: list[dict[str, Any]] = [{"share_done": share} for share in (0.75, 0.75, None, 0.5)]
    operations = Played([*states, Task(id="a", state="running"), Task(id="a", state="ended")], lines)
    _, progress = called(operations, "watch", task="a")
    assert progress == [(0.125, "running"), (0, "running"), (0, "running")]


def test_no_time_to_wait_is_one_look(clock: Clock) -> None:
    found, progress = called(Played([Task(id="a", state="queued")]), "watch", task="a", seconds=0)
    assert isinstance(found, dict)
    assert (found["over"], found["live"], progress, clock.waited_s) == (False, None, [], [])


@pytest.mark.parametrize(
    ("tool", "arguments", "asked"),
    [
        ("start", {"settings": {"url": "u"}},
         ("start", {"url": "u"}, {"kind": "run", "target": None, "key_variable": None, "title": None})),
        ("start", {"settings": {}, "kind": "search", "target": "t", "key_variable": "K", "title": "T"},
         ("start", {}, {"kind": "search", "target": "t", "key_variable": "K", "title": "T"})),
        ("stop", {"task": "a"}, ("stop", "a")),
        ("compare", {"tasks": ["a", "b"]}, ("compare", ["a", "b"], "5%", [])),
        ("compare", {"tasks": ["a", "b"], "margin": "2%", "allow": ["rate"]}, ("compare", ["a", "b"], "2%", ["rate"])),
        ("gate", {"tasks": ["a"]}, ("gate", ["a"], GateRules((), None, False, "5%", False))),
        ("gate", {"tasks": ["a"], "objectives": ["x"], "baseline": "b", "update": True, "margin": "1%", "strict": True},
         ("gate", ["a"], GateRules(["x"], "b", True, "1%", True))),
    ],
)  # fmt: skip
def test_a_tool_passes_on_what_it_is_given(tool: str, arguments: dict[str, Any], asked: tuple[object, ...]) -> None:
    operations = Played()
    called(operations, tool, **arguments)
    assert operations.asked == [asked]


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("gone", "one line; and another"),
        ("full", "a file cannot be read or written (No space left on device): look at the disk of the runs folder"),
    ],
)
def test_what_went_wrong_is_one_sentence(task: str, sentence: str) -> None:
    answer, _ = called(Played(), "result", task=task)
    assert answer == f"Error executing tool result: {sentence}"


@pytest.mark.parametrize(
    ("tool", "arguments", "problems"),
    [
        ("stop", {}, "task is missing"),
        ("stop", {"task": "a", "tsk": "b"}, "no argument is called 'tsk'; did you mean 'task'?"),
        ("tasks", {"all": True}, "no argument is called 'all'; there are none"),
        ("watch", {"task": "a", "seconds": -1}, "seconds: must be at least 0 (given: -1)"),
        ("watch", {"task": "a", "seconds": 601}, "seconds: must be at most 600 (given: 601)"),
        ("watch", {"tsk": "a", "seconds": "soon"},
         "no argument is called 'tsk'; did you mean 'task'?; task is missing; seconds: must be a number (given: 'soon')"),
    ],
)  # fmt: skip
def test_all_wrong_arguments_are_named_and_nothing_is_done(tool: str, arguments: dict[str, Any], problems: str) -> None:
    operations = Played()
    assert called(operations, tool, **arguments) == (f"Error executing tool {tool}: {problems}", [])
    assert operations.asked == []


def test_the_queue_is_looked_after_as_long_as_the_server_runs() -> None:
    from mcp import Client

    from bench.agents import server

    operations = Played()
    words = operations.console.runner.words  # type: ignore[attr-defined]

    async def drive() -> None:
        async with Client(server.server_of(operations)) as client:
            reply = await client.call_tool("tasks")
            assert reply.structured_content == {"tasks": [{"id": "b"}, {"id": "a"}]}
            assert words == ["began"]
        assert words == ["began", "ended"]  # Both are logged before the event loop cancels the remaining tasks.

    asyncio.run(drive())


def test_a_watch_waits_for_a_minute_where_nothing_else_is_said(clock: Clock) -> None:
    found, _ = called(Played([Task(id="a", state="queued")] * 121), "watch", task="a")
    assert isinstance(found, dict)
    assert (found["over"], sum(clock.waited_s)) == (False, 60.0)


@pytest.mark.parametrize(
    ("handler", "meanwhile"), [(signal.default_int_handler, signal.SIG_DFL), (signal.SIG_IGN, signal.SIG_IGN)]
)
def test_a_signal_ends_the_server_although_a_thread_waits_for_stdin(
    handler: Any, meanwhile: signal.Handlers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handler) for number in numbers]
    seen: list[Any] = []

    def serve(_: str) -> None:
        seen.extend(signal.getsignal(number) for number in numbers)

    monkeypatch.setattr("bench.agents.server.server_of", lambda operations: SimpleNamespace(run=serve))
    try:
        assert mcp.main(["--runs", str(tmp_path)]) == Exit.GOOD
        assert seen == [meanwhile, meanwhile], "a Python signal handler would wait for the thread"
        assert [signal.getsignal(number) for number in numbers] == [handler, handler]
    finally:
        for number, earlier in zip(numbers, before, strict=True):
            signal.signal(number, earlier)
