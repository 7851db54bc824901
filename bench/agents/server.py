"""The tools of `python -m bench mcp`, for the Model Context Protocol over stdio.

A load runs in a separate process: `start` returns at once, and `watch` waits for a bounded time and reports progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import Field, ValidationError

from bench.agents.operations import GateRules, Operations, brief
from bench.clock import NS_PER_S, LoopClock, sleep_until
from bench.config.sentences import sentences
from bench.errors import BenchError
from bench.metrics.objectives import suggest

LOOK_EVERY_NS = NS_PER_S // 2
INSTRUCTIONS = (
    "Trueload measures LLM servers, one task at a time. Start a task, watch it until `over`, then read its result. Report a "
    "number with its 95% interval and the verdict: VALID, SUSPECT, INVALID or FAILED. Never report numbers of an INVALID or "
    "FAILED run, a percentile that the headline does not give, a difference that `compare` does not show, or numbers of the "
    "mock as those of a server. An objective that is not shown is neither met nor missed: measure longer."
)

T = TypeVar("T")
Names = Annotated[list[str], Field(description="ids of tasks")]


async def _done(work: Callable[[], T]) -> T:
    """Do the work in a thread. Errors reach the agent as one sentence."""
    try:
        return await asyncio.to_thread(work)
    except BenchError as e:
        raise ToolError("; ".join(str(e).splitlines())) from e
    except OSError as e:
        raise ToolError(f"a file cannot be read or written ({e.strerror}): look at the disk of the runs folder") from e


class CheckedTool(Tool):
    """A tool that reports all wrong arguments at once. `Tool` alone ignores unknown names."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> object:
        known = self.parameters["properties"]
        problems = [f"no argument is called {name!r}{suggest(name, known)}" for name in arguments if name not in known]
        try:
            self.fn_metadata.validate_arguments(arguments)
        except ValidationError as e:
            for error in e.errors():
                missing = error["type"] == "missing"
                problems += [f"{error['loc'][0]} is missing"] if missing else sentences(error, str)
        if problems:
            raise ToolError(f"Error executing tool {self.name}: {'; '.join(problems)}")
        return await super().run(arguments, context, convert_result)


class Tools:
    """The tools; the agent reads their docstrings."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def start(
        self,
        settings: Annotated[
            dict[str, Any],
            Field(
                description="the flags of `python -m bench KIND` by name: url, concurrency or rate, requests or duration, slo"
            ),
        ],
        kind: Annotated[str, Field(description="run, calibrate, search, sweep or quality")] = "run",
        target: Annotated[str | None, Field(description="a server that was saved in the console")] = None,
        key_variable: Annotated[
            str | None, Field(description="the environment variable with the server's API key")
        ] = None,
        title: str | None = None,
    ) -> dict[str, Any]:
        """Start a measurement as soon as no other one runs. Returns at once: watch the id until `over`."""
        return await _done(
            lambda: self._operations.start(settings, kind=kind, target=target, key_variable=key_variable, title=title)
        )

    async def watch(
        self,
        task: str,
        context: Context[Any, Any],
        seconds: Annotated[float, Field(ge=0, le=600, description="how long to wait at most")] = 60,
    ) -> dict[str, Any]:
        """Wait until a task is over, with progress, and return its state. If `over` is false, call it again."""
        clock = LoopClock()
        until_ns = clock.now_ns() + round(seconds * NS_PER_S)
        while True:
            now = await _done(lambda: self._operations.task(task))
            line = await _done(lambda: self._operations.live(task)) if now.active else None
            if now.over or clock.now_ns() >= until_ns:
                return {**brief(now), "live": line}
            share = now.share_done if line is None or now.share_done is not None else line["share_done"]
            await context.report_progress(share if isinstance(share, int | float) else 0, 1, now.state)
            await sleep_until(clock, min(until_ns, clock.now_ns() + LOOK_EVERY_NS))

    async def result(self, task: str) -> dict[str, Any]:
        """The verdict with its reasons, and the report with every number and its 95% interval."""
        return await _done(lambda: self._operations.result(task))

    async def tasks(self) -> dict[str, Any]:
        """All tasks, the latest first."""
        return {"tasks": await _done(self._operations.tasks)}

    async def stop(self, task: str) -> dict[str, Any]:
        """Stop sending and let requests finish. The second time, cut them."""
        return await _done(lambda: self._operations.stop(task))

    async def compare(
        self,
        tasks: Names,
        margin: Annotated[str, Field(description="a smaller change counts as the same")] = "5%",
        allow: Annotated[list[str] | None, Field(description="settings that may differ")] = None,
    ) -> dict[str, Any]:
        """What differs between tasks and the baseline among them, or else the earliest, and how surely. `answer` says what a
        test shows."""
        return await _done(lambda: self._operations.compare(tasks, margin, allow or []))

    async def gate(
        self,
        tasks: Names,
        objectives: Annotated[list[str] | None, Field(description='such as "ttft:p90<500ms"')] = None,
        baseline: Annotated[str | None, Field(description="the name of a baseline")] = None,
        update: Annotated[bool, Field(description="add the runs to the baseline unless they fail")] = False,
        margin: Annotated[str, Field(description="a smaller change counts as the same")] = "5%",
        strict: Annotated[bool, Field(description="also fail on what is not shown")] = False,
    ) -> dict[str, Any]:
        """Pass or fail runs. exit_status: 0 held or not shown, 1 failed, 3 no run accurate enough, 4 not measured."""
        rules = GateRules(objectives or (), baseline, update, margin, strict)
        return await _done(lambda: self._operations.gate(tasks, rules))


def server_of(operations: Operations) -> MCPServer[Any]:
    """The server, which looks after the queue while it runs."""

    @asynccontextmanager
    async def queue(_: MCPServer[Any]) -> AsyncIterator[None]:
        looking = asyncio.create_task(operations.console.runner.run())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    of = Tools(operations)
    tools: list[Tool] = [
        CheckedTool.from_function(tool)
        for tool in (of.start, of.watch, of.result, of.tasks, of.stop, of.compare, of.gate)
    ]
    for tool in tools:
        tool.parameters["additionalProperties"] = False
    return MCPServer("trueload", tools=tools, instructions=INSTRUCTIONS, lifespan=queue, log_level="ERROR")
