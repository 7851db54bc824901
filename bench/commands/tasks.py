"""`bench tasks`: manages the tasks of a running console from a terminal."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import webbrowser
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import orjson
from pydantic import SecretStr

from bench.commands import COMMANDS
from bench.config import read_yaml, values
from bench.config.flags import Parser
from bench.console.address import door, read
from bench.errors import BenchError, Exit, UsageError
from bench.run_files.writable import write_file

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

EXAMPLES = """\
examples:
  python -m bench tasks create --target lab --title nightly rate=5 duration=10m "slo=ttft:p99<1s"
  python -m bench tasks clone 20261125T161743-nightly rate=10
  python -m bench tasks edit 20261125T161743-nightly --label weekly --baseline yes
  python -m bench tasks describe 20261125T161743-nightly
  python -m bench tasks report 20261125T161743-nightly --out report.html
  python -m bench tasks rm 20261125T161743-nightly --files
  python -m bench tasks upload prompts.jsonl

The console of --runs must run (python -m bench console), unless --url and --token name another.
"""

ACTIONS = (
    "ls", "create", "describe", "report", "edit", "start", "stop", "go-on", "clone", "rm", "open",
    "data", "upload", "fetch", "rm-data",
)  # fmt: skip
NEED_A_NAME = {
    "upload": "upload needs a file",
    "fetch": "fetch needs the URL of a file, or the name of a data set (openai/gsm8k)",
    "rm-data": "rm-data needs the name of a file, or of an upload that has not ended: tasks data lists them",
}
TAKE_SETTINGS = ("create", "clone")
TAKE_SECRETS = ("create", "clone", "start", "go-on")
MARKS = ("title", "label", "note", "baseline")
SAVED_AS = {
    ".html": "report",
    ".json": "summary",
    ".jsonl": "requests",
    ".csv": "requests.csv",
    ".parquet": "requests.parquet",
    ".md": "text",
    ".txt": "text",
    ".zip": "zip",
}
"""What `report --out` saves, by file extension: the path in the API."""


@dataclass(frozen=True, slots=True)
class _Api:
    """The address of a console, and its token."""

    base: str
    token: str
    ca_file: str | None = None

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return _ask(method, f"{self.base}/api{path}", self.token, body, self.ca_file)


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    args = _parser().parse_intermixed_args(list(argv))
    action: str = args.action
    task, words = (None, args.words) if action == "create" else ((args.words or [None])[0], args.words[1:])
    _refuse_flags(args, action, task, words)
    api = _api(args)
    if action == "ls":
        return _list(api.ask("GET", "/tasks").json(), args.format)
    if action in ("data", *NEED_A_NAME):
        return _data(api, action, str(task), args)
    if action == "create":
        return _say(api.ask("POST", "/tasks", _new_task(args, words)).json())
    path = f"/tasks/{quote(str(task), safe='')}"
    if action == "describe":
        return _describe(api.ask("GET", path).json(), args.format)
    if action == "report":
        return _report(api, path, args.out)
    if action == "edit":
        return _say(api.ask("PATCH", path, _marks(args)).json())
    if action == "open":
        api.ask("GET", path)
        webbrowser.open(door(Path(args.runs), f"{api.base}{path}?{urlencode({'token': api.token})}"))
        return Exit.GOOD
    if action == "rm":
        api.ask("DELETE", f"{path}?files={str(args.files).lower()}")
        print(f"{task}: removed")
        return Exit.GOOD
    body: dict[str, Any] = _secrets(args) if action in TAKE_SECRETS else {}
    if action == "clone":
        body["settings"] = _settings(words)
    return _say(api.ask("POST", f"{path}/{action}", body or None).json())


def _parser() -> Parser:
    parser = Parser(
        prog="python -m bench tasks", description=f"{COMMANDS['tasks'].summary.capitalize()}.", epilog=EXAMPLES
    )
    parser.add_argument("action", choices=ACTIONS, metavar="action", help=", ".join(ACTIONS))
    parser.add_argument(
        "words",
        nargs="*",
        metavar="TASK|NAME=VALUE|FILE",
        help="the task's name, which ls prints; create and clone: settings by the names of their flags, such as rate=5 (an "
        "empty value takes a setting out of a clone); upload, fetch, rm-data: the file of requests",
    )
    parser.add_argument("--runs", metavar="DIR", default="runs", help="the runs folder of the console (default: runs)")
    parser.add_argument("--url", help="the console's address (default: that of the console of --runs)")
    parser.add_argument("--token", help="its token (default: that of the console of --runs, or TRUELOAD_TOKEN)")
    parser.add_argument(
        "--ca-file", metavar="FILE", help="the certificate of a console with TLS that this machine does not trust"
    )
    parser.add_argument("--target", metavar="NAME", help="create: a saved target, or mock")
    parser.add_argument("--kind", help="create: run, search, sweep, quality or calibrate (default: run)")
    parser.add_argument("--config", metavar="FILE", help="create: settings from a YAML file")
    parser.add_argument(
        "--start-at", metavar="TIME", help="create: not before this time, such as 2026-12-31T18:00 (UTC)"
    )
    parser.add_argument("--keep", action="store_true", help="create: save it without starting it")
    parser.add_argument(
        "--api-key-env",
        metavar="NAME",
        help="create, clone, start, go-on: an environment variable with the API key",
    )
    parser.add_argument("--title", help="create, edit: a name for the list")
    parser.add_argument("--label", help="edit: tasks of one label can be compared as a group")
    parser.add_argument("--note", help="edit: a note")
    parser.add_argument("--baseline", choices=("yes", "no"), help="edit: whether others are compared with it")
    parser.add_argument(
        "--out", metavar="FILE", help=f"report: save it as {', '.join(SAVED_AS)} (default: print the text)"
    )
    parser.add_argument("--files", action="store_true", help="rm: delete the files too")
    parser.add_argument(
        "--hub", choices=("huggingface", "modelscope"), help="fetch: where a data set is (default: huggingface)"
    )
    parser.add_argument(
        "--file", metavar="PATH", help="fetch: which file of a data set (default: the only one, or of a split)"
    )
    parser.add_argument(
        "--whole", action="store_true", help="upload, fetch: the whole file is one request (default: each line is one)"
    )
    parser.add_argument(
        "--base64",
        action="store_true",
        help="upload, fetch: each line, or with --whole the file, is a JSON body in Base64",
    )
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="ls, describe, data: what to print (default: text)"
    )
    return parser


_FLAGS_OF = {
    "target": ("create",),
    "kind": ("create",),
    "config": ("create",),
    "start_at": ("create",),
    "keep": ("create",),
    "api_key_env": TAKE_SECRETS,
    "title": ("create", "edit"),
    "label": ("edit",),
    "note": ("edit",),
    "baseline": ("edit",),
    "out": ("report",),
    "files": ("rm",),
    "hub": ("fetch",),
    "file": ("fetch",),
    "whole": ("upload", "fetch"),
    "base64": ("upload", "fetch"),
}


def _refuse_flags(args: Namespace, action: str, task: str | None, words: Sequence[str]) -> None:
    """Raises UsageError for a missing or superfluous task, and for flags of other actions."""
    problems = []
    if task is None and action not in ("ls", "create", "data"):
        problems.append(NEED_A_NAME.get(action, f"{action} needs a task: tasks ls lists them"))
    if task is not None and action in ("ls", "data"):
        problems.append(f"{action} takes no {'task' if action == 'ls' else 'file'}")
    elif words and action not in TAKE_SETTINGS:
        problems.append(f"{action} takes one {'file' if action in NEED_A_NAME else 'task'}, and no {' '.join(words)}")
    for flag, actions in _FLAGS_OF.items():
        if getattr(args, flag) not in (None, False) and action not in actions:
            problems.append(f"--{flag.replace('_', '-')} is for {', '.join(actions)}")
    if action == "edit" and all(getattr(args, mark) is None for mark in MARKS):
        problems.append("edit needs what to change: --title, --label, --note or --baseline")
    if args.out is not None and Path(args.out).suffix not in SAVED_AS:
        problems.append(f"--out {args.out}: end its name with {', '.join(SAVED_AS)}")
    if problems:
        raise UsageError(problems)


def _api(args: Namespace) -> _Api:
    token = args.token or os.environ.get("TRUELOAD_TOKEN")
    if args.url is None:
        base, stored_token = read(Path(args.runs))
        token = token or stored_token
    else:
        base = _sendable("--url", values.url, args.url).rstrip("/")
    if token is None:
        raise UsageError("--url needs the token of that console: --token, or TRUELOAD_TOKEN")
    token = _sendable("--token" if args.token else "the token", values.api_key, SecretStr(token)).get_secret_value()
    return _Api(base, token, args.ca_file)


def _settings(words: Sequence[str]) -> dict[str, Any]:
    """Settings written as NAME=VALUE. Several values of one name become a list, and an empty value becomes None."""
    if wrong := [word for word in words if not word.partition("=")[0] or "=" not in word]:
        raise UsageError([f"{word!r}: write a setting as NAME=VALUE, such as rate=5" for word in wrong])
    settings: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        name = name.removeprefix("--").replace("-", "_")
        if name in settings:
            settings[name] = [*(settings[name] if isinstance(settings[name], list) else [settings[name]]), value]
        else:
            settings[name] = value or None
    return settings


def _secrets(args: Namespace) -> dict[str, Any]:
    """The key, from the environment: on the command line, other users of the machine would see it."""
    if args.api_key_env is None:
        return {}
    if not (key := os.environ.get(args.api_key_env)):
        raise UsageError(f"--api-key-env: there is no environment variable {args.api_key_env}")
    return {"api_key": key}


def _new_task(args: Namespace, words: Sequence[str]) -> dict[str, Any]:
    file = {} if args.config is None else read_yaml(Path(args.config))
    settings = {name.replace("-", "_"): value for name, value in file.items()} | _settings(words)
    body = {name: getattr(args, name) for name in ("target", "kind", "title", "start_at")}
    known = {name: value for name, value in body.items() if value is not None}
    return {**known, **_secrets(args), "start": not args.keep,
            "settings": {name: value for name, value in settings.items() if value is not None}}  # fmt: skip


def _marks(args: Namespace) -> dict[str, Any]:
    marks = {mark: getattr(args, mark) for mark in MARKS if getattr(args, mark) is not None}
    return marks | ({"baseline": marks["baseline"] == "yes"} if "baseline" in marks else {})


def _say(task: dict[str, Any]) -> int:
    """Print the state of a task, and what it needs before it starts."""
    print(f"{task['id']}: {task['state']}")
    if task["needs"]:
        lacks = " and ".join({"api_key": "API key", "header": "headers"}[secret] for secret in task["needs"])
        print(f"it needs its {lacks} again: type it on its page, or name a variable with tasks start --api-key-env")
    return Exit.GOOD


def _report(api: _Api, path: str, out: str | None) -> int:
    if out is None:
        print(api.ask("GET", f"{path}/text").text, end="")
        return Exit.GOOD
    reply = api.ask("GET", f"{path}/{SAVED_AS[Path(out).suffix]}")
    write_file("--out", Path(out), reply.content)
    return Exit.GOOD


def _describe(task: dict[str, Any], form: str) -> int:
    if form == "json":
        print(orjson.dumps(task, option=orjson.OPT_INDENT_2).decode())
        return Exit.GOOD
    outcome = {True: "held", False: "missed", None: None}[task["held"]]
    rows = [
        ("task", task["id"]),
        *((name, task[name]) for name in ("title", "state", "kind")),
        ("verdict", task["verdict_headline"] or task["verdict"]),
        ("objectives", outcome),
        ("answer", task["headline"]),
        *(
            (name, task[name])
            for name in ("problem", "target", "load", "started", "ended", "start_at", "label", "note")
        ),
        ("baseline", "yes" if task["baseline"] else None),
        ("needs", ", ".join(task["needs"])),
        *((key, f"{count:,}") for key, count in task["counts"].items()),
        *((key, None if value is None else f"{value:,.4g}") for key, value in task["numbers"].items()),
        *((step["load"], f"{step['verdict']}: {step['said']}") for step in task["steps"]),
    ]
    shown = [(name, str(value)) for name, value in rows if value not in (None, "")]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")
    print("settings")
    for name, value in task["settings"].items():
        for item in value if isinstance(value, list) else [value]:
            print(f"  {name}={item}")
    return Exit.GOOD


def _data(api: _Api, action: str, name: str, args: Namespace) -> int:
    """Files of requests: list, upload, fetch and delete them."""
    if action == "data":
        files, halves = api.ask("GET", "/files").json(), api.ask("GET", "/uploads").json()
        if args.format == "json":
            print(orjson.dumps({"files": files, "uploads": halves}, option=orjson.OPT_INDENT_2).decode())
            return Exit.GOOD
        for file in files:
            print(f"{file['name']}  {file['size_bytes']:,} bytes")
        for half in halves:
            print(
                f"{half['id']}  {half['name']}, {half['received_bytes']:,} of {half['size_bytes']:,} bytes have arrived"
            )
        return Exit.GOOD
    if action == "rm-data":
        halves = [half["id"] for half in api.ask("GET", "/uploads").json()]
        api.ask("DELETE", f"/{'uploads' if name in halves else 'files'}/{quote(name, safe='')}")
        print(f"{name}: removed")
        return Exit.GOOD
    if action == "fetch":
        rows = {"whole": args.whole, "base64": args.base64}
        if "://" in name:
            names = api.ask("POST", "/files/fetch", {"url": name, **rows}).json()["names"]
        else:
            asked = {"name": name, "hub": args.hub or "huggingface", "file": args.file, **rows}
            names = _load(api, asked)
    else:
        names = _upload(api, Path(name), args)
    print("\n".join(names))
    return Exit.GOOD


@contextmanager
def _shown(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar in the terminal for the bytes of a file that have arrived."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    console = Console(stderr=True)
    with Progress(*Progress.get_default_columns(), DownloadColumn(True), TransferSpeedColumn(), console=console,
                  disable=not console.is_terminal) as progress:  # fmt: skip
        bar = progress.add_task(name, total=None)
        yield lambda done, size: progress.update(bar, completed=done, total=size)


def _load(api: _Api, asked: Mapping[str, Any]) -> list[str]:
    """Let the console load a file from a hub, and show the progress. Ctrl-C cancels it."""
    from bench.console.hub_loads import HubLoad

    load = HubLoad(**api.ask("POST", "/hub-loads", dict(asked)).json())
    with _shown(load.name) as show:
        try:
            while load.goes_on:
                load = HubLoad(**api.ask("GET", f"/hub-loads/{load.id}?wait_s=1").json())
                show(load.received_bytes, load.size_bytes)
        except KeyboardInterrupt:
            api.ask("DELETE", f"/hub-loads/{load.id}")
            raise
    if not load.names:
        raise UsageError(load.problem or f"{load.name}: {load.state}")
    return list(load.names)


def _upload(api: _Api, path: Path, args: Namespace) -> list[str]:
    import httpx

    from bench.console.data_rows import Rows
    from bench.console.upload_client import send

    with _shown(path.name) as show:

        async def sent() -> list[str]:
            headers = {"authorization": f"Bearer {api.token}"}
            async with httpx.AsyncClient(
                base_url=f"{api.base}/api", headers=headers, timeout=600, trust_env=False, verify=_trusted(api.ca_file)
            ) as client:
                return await send(client, path, Rows(args.whole, args.base64), show)

        return asyncio.run(sent())


def _trusted(ca_file: str | None) -> ssl.SSLContext | bool:
    """The certificate authorities for a console with TLS. Raises UsageError."""
    try:
        return True if ca_file is None else ssl.create_default_context(cafile=ca_file)
    except OSError as e:
        raise UsageError(f"--ca-file {ca_file} cannot be read ({e.strerror or e})") from e


def _sendable(place: str, check: Callable[[T], T | None], value: T) -> T:
    """The value in the form in which it can be sent. Raises UsageError."""
    try:
        checked = check(value)
    except ValueError as e:
        raise UsageError(f"{place}: {e}") from e
    return value if checked is None else checked


def _ask(method: str, url: str, token: str, body: dict[str, Any] | None, ca_file: str | None) -> httpx.Response:
    """The console's answer. Raises BenchError with the console's message."""
    import httpx

    try:
        headers = {"authorization": f"Bearer {token}"}
        reply = httpx.request(
            method,
            url,
            headers=headers,
            json=body,
            timeout=httpx.Timeout(60, read=600),
            trust_env=False,
            verify=_trusted(ca_file),
        )
    except httpx.HTTPError as e:
        why = re.sub(r"^\[Errno -?\d+\] ", "", str(e))
        raise UsageError(f"no console answers at {url.partition('/api')[0]}: {why}") from e
    if reply.is_error:
        try:
            message = reply.json()["error"]
        except (ValueError, KeyError, TypeError):
            message = f"the console answers with status {reply.status_code}"
        raise UsageError(message) if reply.status_code < 500 else BenchError(message)
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
        shown = [(numbers.get(key), unit) for key, unit in (("requests_per_s", ""), ("ttft_p99_ms", " ms"))]
        written = ["" if value is None else f"{value:,.1f}{unit}" for value, unit in shown]
        table.add_row(task["id"], task["state"], task["verdict"] or "", task["load"], *written)
    Console(highlight=False, markup=False).print(table if tasks else "no tasks")
    return Exit.GOOD
