"""`python -m bench mcp` through the protocol's own client: over stdio, and in this process, against the mock."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bench import cli
from bench.agents import operations
from bench.agents.operations import Operations
from bench.console.service import Console
from bench.errors import Exit
from bench.run_files.run_directory import held_alone
from tests.support.made_runs import made_run
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import run_to_end

if TYPE_CHECKING:
    from mcp import Client

SMALL = {"concurrency": 2, "requests": 8, "input_tokens": 16, "output_tokens": 4}


@asynccontextmanager
async def client_of(runs: Path, *words: str, **env: str) -> AsyncIterator[Client]:
    """A client of a server in a separate process."""
    # Imported only here: it takes a second, and every process collects all tests.
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    environment = {**os.environ, **env}
    environment.pop("PYTHONWARNINGS", None)
    started = StdioServerParameters(
        command=sys.executable, args=["-m", "bench", "mcp", "--runs", str(runs), *words], env=environment
    )
    with anyio.fail_after(PATIENCE_S):
        # By default its errors go to sys.stderr as of import time, which may be a test's replacement without a
        # descriptor.
        async with Client(stdio_client(started, errlog=sys.__stderr__ or sys.stderr)) as client:
            yield client


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    reply = await client.call_tool(tool, arguments)
    assert not reply.is_error, reply.content
    assert reply.structured_content is not None
    return dict(reply.structured_content)


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    reply = await client.call_tool(tool, arguments)
    assert reply.is_error
    (content,) = reply.content
    return str(content.text).removeprefix(f"Error executing tool {tool}: ")  # type: ignore[union-attr]


async def measured(client: Client, **arguments: Any) -> tuple[dict[str, Any], Sequence[str | None]]:
    """Start a task and watch it to its end; also the states that its progress names."""
    states: list[str | None] = []

    async def seen(progress: float, total: float | None, message: str | None) -> None:
        assert total == 1
        assert 0 <= progress <= 1
        states.append(message)

    task = await called(client, "start", **arguments)
    assert task["over"] is False
    while not task["over"]:
        reply = await client.call_tool("watch", {"task": task["id"]}, progress_callback=seen)
        task = dict(reply.structured_content or {})
    return task, states


def test_an_agent_measures_and_judges(tmp_path: Path) -> None:
    async def drive() -> None:
        with mock_process("--ttft", "20ms", "--tpot", "1ms", "--api-key", "the-key") as mock:
            async with client_of(tmp_path / "runs", OPENAI_API_KEY="the-key") as client:
                assert {tool.name for tool in (await client.list_tools()).tools} == {
                    "start", "watch", "result", "tasks", "stop", "compare", "gate",
                }  # fmt: skip
                given = {
                    "settings": {"url": mock.url, **SMALL, "slo": ["ttft:p90<500s"]},
                    "key_variable": "OPENAI_API_KEY",
                }
                ran, states = await measured(client, title="first", **given)
                assert (ran["kind"], ran["held"]) == ("run", True)
                assert states
                assert None not in states
                assert len(mock.ledger_lines(at_least=8)) >= 8
                result = await called(client, "result", task=ran["id"])
                assert result["report"].startswith("# first\n")
                assert Path(result["page"]).is_file()
                assert await refused(client, "result", task="nothing-there") == "there is no task 'nothing-there'"

    anyio.run(drive)


@asynccontextmanager
async def client_here(runs: Path) -> AsyncIterator[Client]:
    """A client of a server in this process, where a task's processes are copies instead of new interpreters."""
    from mcp import Client

    from bench.agents.server import server_of

    with closing(Console(runs)) as console, anyio.fail_after(PATIENCE_S):
        async with Client(server_of(Operations(console))) as client:
            yield client


def copied(command: Sequence[str], *, capture_output: bool, text: bool, check: bool, **settings: Any) -> object:
    """subprocess.run with a copy."""
    assert (capture_output, text, check) == (True, True, False)
    return run_to_end(command, **settings)


def test_an_agent_calibrates_and_stops_what_has_no_end(tmp_path: Path) -> None:
    async def drive() -> None:
        async with client_here(tmp_path / "runs") as client:
            checked, _ = await measured(client, kind="calibrate", settings={**SMALL, "requests": 20})
            assert checked["verdict"] is not None
            with mock_process("--ttft", "20ms", "--tpot", "1ms") as mock:
                endless = {"url": mock.url, **SMALL, "requests": None, "duration": "600s"}
                begun = await called(client, "start", settings=endless)
                soon = await called(client, "watch", task=begun["id"], seconds=0)
                assert soon["over"] is False
                listed = (await called(client, "tasks"))["tasks"]
                assert [task["id"] for task in listed] == [begun["id"], checked["id"]]
                while (await called(client, "watch", task=begun["id"], seconds=0.5))["live"] is None:
                    pass  # A task that is stopped before its load may not handle signals yet.
                await called(client, "stop", task=begun["id"])
                stopped = await called(client, "watch", task=begun["id"], seconds=PATIENCE_S)
                assert stopped["over"] is True

    anyio.run(drive)


def test_an_agent_compares_and_gates_and_is_told_what_it_got_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "subprocess", SimpleNamespace(**{**vars(subprocess), "run": copied}))
    runs = tmp_path / "runs"
    for n, (name, ttft) in enumerate({"a1": 50.0, "a2": 50.5, "b1": 60.0}.items()):
        made_run(runs / name, at=n, seed=n, ttft_ms=ttft)
        (runs / name / "report.html").touch()

    async def drive() -> None:
        async with client_here(runs) as client:
            found = await called(client, "compare", tasks=["a1", "b1"])
            assert [side["path"] for side in found["comparison"]["sides"]] == ["a1", "b1"]
            assert "choose 2 to 26 tasks" in await refused(client, "compare", tasks=["a1"])
            held = await called(client, "gate", tasks=["a1", "a2", "b1"], objectives=["ttft:p90<10s"])
            assert (held["exit_status"], len(held["gate"]["objectives"])) == (0, 1)
            assert "nothing to check the runs against" in await refused(client, "gate", tasks=["a1"])
            wrong = await refused(client, "gate", tasks=[], objectives=["tft<3s"])
            assert wrong == "name the runs to judge; --slo \"tft<3s\": no metric is called 'tft'; did you mean 'ttft'?"
            far = await refused(client, "start", settings={"url": "http://10.0.0.1", **SMALL})
            assert far.startswith(
                "http://10.0.0.1:80 is not an allowed target: start python -m bench mcp with --allow-url, or use this"
            )
            hidden = await refused(client, "start", settings={"url": "http://127.0.0.1\t.a", **SMALL})
            assert hidden.startswith("http://127.0.0.1.a:80 is not an allowed target")
            ignored = {"url": "http://127.0.0.1:9", **SMALL}
            assert "url: the kind calibrate sets it itself" in await refused(
                client, "start", kind="calibrate", settings=ignored
            )
            assert "update adds the runs to a baseline" in await refused(
                client, "gate", tasks=["a1"], objectives=["ttft:p90<10s"], update=True
            )
            # All wrong arguments are named together.
            for tool in (await client.list_tools()).tools:
                assert tool.input_schema["additionalProperties"] is False
            assert await refused(client, "start", setings={}, knd="run") == (
                "no argument is called 'setings'; did you mean 'settings'?; "
                "no argument is called 'knd'; did you mean 'kind'?; settings is missing"
            )
            assert await refused(client, "tasks", limit=3) == "no argument is called 'limit'; there are none"
            assert await refused(client, "watch", task=5, seconds=1000) == (
                "task: must be text (given: 5); seconds: must be at most 600 (given: 1000)"
            )
            assert await refused(client, "compare", tasks="a1") == "tasks: must be a list (given: 'a1')"
            assert await refused(client, "gate", tasks=[1], strict="perhaps") == (
                "tasks.0: must be text (given: 1); strict: must be true or false (given: 'perhaps')"
            )
            settings = {"url": "http://127.0.0.1:9", "concurency": 2, "requests": "x"}
            assert await refused(client, "start", settings=settings) == (
                "--concurency is not known: did you mean --concurrency?; --requests: must be a whole number (given: 'x')"
            )

    anyio.run(drive)


def test_one_server_has_a_folder_and_wrong_flags_are_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".console").mkdir()
    with held_alone(tmp_path / ".console"):
        assert cli.main(["mcp", "--runs", str(tmp_path)]) == Exit.USAGE
    assert "already runs" in capsys.readouterr().err
    assert cli.main(["mcp", "--allow-url", "gpu-box"]) == Exit.USAGE
    assert capsys.readouterr().err == "error: --allow-url gpu-box: write it whole, such as http://host:8000\n"
