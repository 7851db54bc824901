"""`bench tasks`: the tasks of a console that runs, from a terminal."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import orjson
from pydantic import SecretStr

from bench.commands import COMMANDS
from bench.config import values
from bench.config.flags import Parser
from bench.console.address import door, read
from bench.errors import BenchError, Exit, UsageError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

EXAMPLES = """\
examples:
  python -m bench tasks ls
  python -m bench tasks stop 20261125T161743-nightly
  python -m bench tasks clone 20261125T161743-nightly
  python -m bench tasks rm 20261125T161743-nightly --files

The console of --runs must run (python -m bench console), unless --url and --token name another.
"""

ACTIONS = ("ls", "start", "stop", "go-on", "clone", "rm", "open")


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = Parser(
        prog="python -m bench tasks", description=f"{COMMANDS['tasks'].summary.capitalize()}.", epilog=EXAMPLES
    )
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("task", nargs="?", help="the task's name, which ls prints")
    parser.add_argument("--runs", metavar="DIR", default="runs", help="the runs folder of the console (default: runs)")
    parser.add_argument("--url", help="the console's address (default: that of the console of --runs)")
    parser.add_argument("--token", help="its token (default: that of the console of --runs, or TRUELOAD_TOKEN)")
    parser.add_argument("--files", action="store_true", help="rm: delete the files too")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="ls: what to print (default: text)")
    given = parser.parse_args(list(argv))
    if (given.task is None) == (given.action != "ls"):
        raise UsageError(
            f"{given.action} needs a task: tasks ls lists them" if given.task is None else "ls takes no task"
        )

    token = given.token or os.environ.get("TRUELOAD_TOKEN")
    if given.url is None:
        base, kept = read(Path(given.runs))
        token = token or kept
    else:
        base = _sendable("--url", values.url, given.url).rstrip("/")
    if token is None:
        raise UsageError("--url needs the token of that console: --token, or TRUELOAD_TOKEN")
    token = _sendable("--token" if given.token else "the token", values.api_key, SecretStr(token)).get_secret_value()
    task = None if given.task is None else quote(given.task, safe="")
    if given.action == "ls":
        return _list(_ask("GET", f"{base}/api/tasks", token).json(), given.format)
    if given.action == "open":
        _ask("GET", f"{base}/api/tasks/{task}", token)
        webbrowser.open(door(Path(given.runs), f"{base}/tasks/{task}?{urlencode({'token': token})}"))
        return Exit.GOOD
    if given.action == "rm":
        _ask("DELETE", f"{base}/api/tasks/{task}?files={str(given.files).lower()}", token)
        print(f"{given.task}: removed")
        return Exit.GOOD
    told = _ask("POST", f"{base}/api/tasks/{task}/{given.action}", token).json()
    print(f"{told['id']}: {told['state']}")
    return Exit.GOOD


def _sendable(place: str, check: Callable[[T], T | None], value: T) -> T:
    """The value, as it can be sent. Raises UsageError."""
    try:
        checked = check(value)
    except ValueError as e:
        raise UsageError(f"{place}: {e}") from e
    return value if checked is None else checked


def _ask(method: str, url: str, token: str) -> httpx.Response:
    """The console's answer. Raises BenchError with its sentence."""
    import httpx

    try:
        reply = httpx.request(method, url, headers={"authorization": f"Bearer {token}"}, timeout=60, trust_env=False)
    except httpx.HTTPError as e:
        raise UsageError(f"no console answers at {url.partition('/api')[0]}: {e}") from e
    if reply.is_error:
        try:
            said = reply.json()["error"]
        except (ValueError, KeyError, TypeError):
            said = f"the console answers with status {reply.status_code}"
        raise UsageError(said) if reply.status_code < 500 else BenchError(said)
    return reply


def _list(tasks: list[dict[str, Any]], form: str) -> int:
    if form == "json":
        print(orjson.dumps(tasks, option=orjson.OPT_INDENT_2).decode())
        return Exit.GOOD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("task", "state", "verdict", "load", "req/s", "TTFT p99"):
        table.add_column(
            title, no_wrap=title == "task", overflow="fold", justify="right" if title[0] in "rT" else "left"
        )
    for task in tasks:
        numbers = task["numbers"]
        shown = [numbers.get(key) for key in ("requests_per_s", "ttft_p99_ms")]
        written = ["" if value is None else f"{value:,.1f}" for value in shown]
        table.add_row(task["id"], task["state"], task["verdict"] or "", task["load"], *written)
    Console(highlight=False, markup=False).print(table if tasks else "no tasks")
    return Exit.GOOD
