"""Takes a picture of every page of the console with tasks of every kind and state, in each language, theme and width,
for visual review. Reports pages wider than their window, script errors, and with --axe FILE the findings of axe-core
(`npm pack axe-core` has axe.min.js).

It sends a few small loads to mocks, one after the other: about five minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import httpx
from bench_console import base_of, chromium
from playwright.sync_api import Browser, ConsoleMessage, Page, Route

from bench.console.language import LANGUAGES
from tests.support.console_process import READ_TOKEN, TOKEN, console_of, until
from tests.support.made_tasks import made_plan, made_run, made_tune
from tests.support.mock_process import mock_process

GUARDED = "guarded"
WIDTHS = (1440, 1024, 420)
THEMES = ("light", "dark")
SMALL = {"requests": 60, "concurrency": 4, "input_tokens": 16, "output_tokens": 8}
LONG = {
    "duration": "30m",
    "concurrency": 4,
    "input_tokens": 16,
    "output_tokens": 8,
    "slo": ["ttft:p99<1ms", "error_rate<1%"],
}
OVER: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "valid": ("run", {"requests": 2000, "concurrency": 8, "input_tokens": 16, "output_tokens": 4}),
    "missed": ("run", {**SMALL, "slo": ["ttft:p99<1ms"]}),
    "embeddings": ("run", {"endpoint": "embeddings", "requests": 60, "concurrency": 4, "input_tokens": 16}),
    "sweep": ("sweep", {"loads": "concurrency=1,2,4", "duration": "3s", "warmup": "0", "output_tokens": 8}),
    "search": ("search", {"slo": ["ttft:p99<200ms"], "max": "20", "budget": "30s", "output_tokens": 8}),
    "quality": ("quality", {"share": "20%", "alone": "2", "requests": 100, "concurrency": 4, "output_tokens": 8}),
    "mix": ("run", {"mix": "mix.yaml", "requests": 100, "concurrency": 8, "slo": ["error_rate{class=batch}<20%"]}),
    "http": ("run", {"endpoint": "http", "expect": ["status=200", "json:$.object=list"], "requests": 60}),
    "audio": ("run", {"endpoint": "transcriptions", "audio": "length=2s", "requests": 20, "slo": ["rtf:p90<0.5"]}),
    "checked": ("run", {**SMALL, "check_answers": "20%", "probes": "arithmetic=50", "slo": ["accuracy>=80%"]}),
    "calibration": ("calibrate", SMALL),
}
"""Tasks that end by themselves, each with its kind and settings."""
SERIES: Mapping[str, Mapping[str, Any]] = {
    "sweep": {"loads": "concurrency=1,2,4", "duration": "20s", "warmup": "0", "repeats": "30"},
    "search": {"slo": ["ttft:p99<1s", "error_rate<1%"], "max": "20", "budget": "30m"},
    "quality": {"share": "20%", "alone": "2", "duration": "30m", "concurrency": 4},
}
"""Series that run while pictures are taken, each in its own console, by kind."""
MIX = b"""classes:
  - {name: chat, share: 60, input_tokens: "uniform:10..50", output_tokens: 8, slo: ["ttft:p90<2s"]}
  - {name: batch, share: 40, input_tokens: 100, output_tokens: 4}
"""
PAGES = {
    "list": "/", "filtered": "/?search=nothing", "removed": "/?removed=20261125T150000-old", "new": "/new",
    "new-rate": "/new?template=rate", "new-search": "/new?kind=search", "new-sweep": "/new?kind=sweep",
    "new-quality": "/new?kind=quality", "new-calibration": "/new?kind=calibrate", "new-sessions": "/new?template=sessions",
    "targets": "/targets", "data": "/data", "api": "/api", "no-page": "/nothing", "no-task": "/tasks/nothing",
}  # fmt: skip
READER_PAGES = {"list": "/", "new": "/new", "targets": "/targets", "data": "/data"}
OPENED = {
    "list-menu": ("/", ".dots"),
    "export-menu": ("/tasks/{valid}", "[popovertarget=export]"),
    "details": ("/tasks/{valid}", "details:not([open]) > summary"),
    "form-more": ("/new?template=rate", "details:not([open]) > summary"),
    "form-http": ("/new", "[name=llm]"),
    "form-file": ("/new", ".choice:has([value=file])"),
    "form-body": ("/new", ".choice:has([value=body])"),
    "form-trace": ("/new", ".choice:has([value=trace])"),
    "probed": ("/new?target=staging", "[value=probe]"),
    "target-probed": ("/targets", "form[action$=probe] button"),
    "no-data": ("/data", "#add .primary"),
}
"""Pages with something on them clicked."""


def tasks_of(client: httpx.Client, runs: Path, mock: str, slow: str, failing: str) -> dict[str, str]:
    """A task of each kind and state; the running ones are last."""
    made = {}
    for title, (kind, settings) in OVER.items():
        url = {} if kind == "calibrate" else {"url": f"{mock}/v1/models" if title == "http" else mock}
        made[title] = _task(client, title, {**url, **settings}, kind=kind)
        until(client, made[title], lambda found: found["state"] in ("ended", "could not start"))
    made["failed"] = _task(client, "failed", {"url": failing, **SMALL, "max_errors": "10%"})
    until(client, made["failed"], lambda found: found["state"] in ("ended", "stopped", "could not start"))
    made["could-not-start"] = _task(client, "could not start", {"url": "http://127.0.0.1:9", **SMALL})
    until(client, made["could-not-start"], lambda found: found["state"] == "could not start")
    made["stopped"] = _task(client, "stopped", {"url": mock, **LONG})
    until(client, made["stopped"], lambda found: found["state"] == "running")
    client.post(f"/tasks/{made['stopped']}/stop")
    until(client, made["stopped"], lambda found: found["state"] == "stopped")
    made["killed"] = made_run(runs, "20261125T150000-killed", state="running").name
    made["invalid"] = made_run(runs, "20261125T150001-invalid", held=False).name
    made["tune"] = made_tune(runs, "20261125T150002-tune").name
    made["tune-killed"] = made_tune(runs, "20261125T150003-tune-killed", ended=None).name
    made["plan"] = made_plan(runs / made["search"], "20261125T150004-plan").name
    summary = runs / made["invalid"] / "summary.json"
    summary.write_bytes(summary.read_bytes().replace(b'"status":"VALID"', b'"status":"INVALID"'))
    made["not-started"] = _task(client, "not started", {"url": mock, **SMALL}, start=False)
    made["needs-secrets"] = _task(client, "needs a key", {"url": mock, **SMALL}, start=False, api_key="k")
    client.patch(f"/tasks/{made['valid']}", json={"label": "nightly", "baseline": True, "note": "A note"})
    made["running"] = _task(client, "running", {"url": [mock, slow], **LONG})
    made["queued"] = _task(client, "queued", {"url": mock, **SMALL})
    made["queued-next"] = _task(client, "queued next", {"url": mock, **SMALL, "mix": "mix.yaml"})
    made["later"] = _task(client, "later", {"url": mock, **SMALL}, start_at="2999-01-01T00:00")
    until(client, made["running"], lambda found: found["state"] == "running")
    return made


def _task(client: httpx.Client, title: str, settings: Mapping[str, Any], **more: Any) -> str:
    reply = client.post("/tasks", json={"title": title, "settings": dict(settings), **more})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def half_an_upload(client: httpx.Client) -> None:
    """An unfinished upload."""
    made = client.post("/uploads", json={"name": "large.jsonl", "size_bytes": 3_000_000}).json()
    client.put(
        f"/uploads/{made['id']}", content=bytes(1_000_000), headers={"content-range": "bytes 0-999999/3000000"}
    ).raise_for_status()


def let_in(browser: Browser, base: str, token: str, language: str, theme: str, complaints: list[str]) -> Page:
    """A page in its own context, signed in with the token."""
    context = browser.new_context(locale=language, color_scheme="dark" if theme == "dark" else "light")
    page = context.new_page()
    page.set_default_timeout(180_000)  # A comparison is made when its page is requested.
    page.on(
        "console", lambda message: complaints.append(f"{page.url}: {message.text}") if _is_complaint(message) else None
    )
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.goto(f"{base}/targets?token={token}")
    page.wait_for_url(f"{base}/targets")
    return page


def _is_complaint(message: ConsoleMessage) -> bool:
    """Whether it is more than the status of a page, which error pages have."""
    return not message.text.startswith("Failed to load resource") or "/static/" in message.location["url"]


def refused(page: Page, base: str) -> None:
    """The form as it comes back with problems, with everything expanded."""
    page.goto(f"{base}/new")
    page.locator("#more summary").click()
    page.locator("[name=concurrency]").fill("many")
    page.locator("[name=duration]").fill("soon")
    page.locator("[name=timeout]").fill("-1")
    page.locator("button[name=action][value=start]").click()
    page.locator(".field.bad").first.wait_for()


def opened(page: Page, address: str, clicked: str) -> None:
    """A page with every match of a selector clicked, or only the first if a click leads to another page."""
    page.goto(address)
    every = page.locator(clicked)
    for _ in range(every.count() if clicked.startswith("details") else 1):
        every.first.click()
    page.wait_for_load_state()


def found_by_axe(page: Page, axe: str) -> Iterator[str]:
    """axe-core's findings on a page; the report in its frame is a page of its own."""
    page.evaluate(axe)
    for rule in page.evaluate("axe.run(document, {iframes: false}).then((found) => found.violations)"):
        for node in rule["nodes"]:
            yield f"{rule['id']}: {node['html'][:160]} ({node.get('failureSummary', '').splitlines()[-1].strip()})"


def taken(
    given: argparse.Namespace, page: Page, go: Callable[[], object], name: str, axe: str, wrong: list[str]
) -> None:
    """Take pictures of a page in each width, and note what is wrong with it."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        if (
            width == WIDTHS[0] or "menu" in name or "lost" in name
        ):  # A menu stays where it was opened, a page reconnects.
            go()
        page.wait_for_timeout(given.wait_ms)
        if page.locator("iframe.report").count():  # Chromium draws only the visible part of a frame.
            height = page.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size({"width": width, "height": min(height, 6000)})
            page.wait_for_timeout(given.wait_ms)
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            wrong.append(f"{name}, {width} px: {wide} px wide")
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=given.out / f"{name}-{width}.png", full_page=True)
        found = found_by_axe(page, axe) if axe and width != 1024 else ()
        wrong += [f"{name}, {width} px: {one}" for one in found]


@dataclass(frozen=True, slots=True)
class Walked:
    """A console, the token that opens it, and how to reach its pages, by name."""

    base: str
    token: str
    ways: Mapping[str, Callable[[Page], object]]


def all_pages(base: str, tasks: Mapping[str, str]) -> Walked:
    """The pages of a console for users with write access."""
    compared = f"/compare?task={tasks['valid']}&task={tasks['missed']}"
    paths = {**PAGES, **{f"task-{name}": f"/tasks/{task}" for name, task in tasks.items()}, "compare": compared}
    paths["compare-one"] = f"/compare?task={tasks['valid']}"
    steps = httpx.get(f"{base}/api/tasks/{tasks['sweep']}", headers={"authorization": f"Bearer {TOKEN}"}).json()[
        "steps"
    ]
    paths["run-of-sweep"] = f"/tasks/{tasks['sweep']}/runs/{steps[0]['run']}"
    ways: dict[str, Callable[[Page], object]] = {
        name: partial(_gone_to, address=base + path) for name, path in paths.items()
    }
    for name, status in {"lost": None, "lost-token": 401}.items():
        ways[name] = partial(lost, address=f"{base}/tasks/{tasks['running']}", status=status)
    for name, (path, clicked) in OPENED.items():
        ways[name] = partial(opened, address=base + path.format(**tasks), clicked=clicked)
    return Walked(base, TOKEN, {**ways, "refused": partial(refused, base=base)})


def lost(page: Page, address: str, status: int | None) -> None:
    """The page of a running task whose console is gone, or answers with `status` as if it had restarted."""

    def answer(route: Route) -> None:
        if status is None:
            route.abort()
        elif route.request.resource_type == "document" or "/tasks/" not in route.request.url:
            route.continue_()
        else:
            route.fulfill(status=status)

    page.route("**/tasks/**", answer) if status else page.route("**/events", answer)
    page.goto(address)
    page.locator("#lost input" if status else "#lost").wait_for()
    page.unroute_all()


def _gone_to(page: Page, address: str) -> None:
    page.goto(address)


def sign_in(page: Page, base: str) -> None:
    """The page for somebody without a token or cookies."""
    page.context.clear_cookies()
    page.goto(base)


def readers_pages(base: str, tasks: Mapping[str, str]) -> Walked:
    """The pages of a console for read-only users; the last is for users without access."""
    paths = {**READER_PAGES, **{f"task-{name}": f"/tasks/{task}" for name, task in tasks.items()}}
    ways: dict[str, Callable[[Page], object]] = {
        f"reader-{name}": partial(_gone_to, address=base + path) for name, path in paths.items()
    }
    return Walked(base, READ_TOKEN, {**ways, "sign-in": partial(sign_in, base=base)})


def is_wanted(given: argparse.Namespace, name: str) -> bool:
    """Whether to take pictures of this page."""
    return not given.only or any(word in name for word in given.only)


def walk(given: argparse.Namespace, walked: Walked, browser: Browser) -> list[str]:
    """Take the pictures. Returns the problems."""
    wrong: list[str] = []
    axe = given.axe.read_text(encoding="utf-8") if given.axe else ""
    for language, theme in product(given.languages, THEMES):
        page = let_in(browser, walked.base, walked.token, language, theme, wrong)
        for name, go in walked.ways.items():
            if is_wanted(given, name):
                taken(given, page, partial(go, page), f"{name}-{language}-{theme}", axe, wrong)
        page.context.close()
    return wrong


def main(words: list[str]) -> None:
    """Make the tasks, take the pictures, and print the problems."""
    parser = argparse.ArgumentParser(prog="scripts/console-pages", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder for the pictures")
    parser.add_argument("--axe", type=Path, help="axe.min.js of axe-core")
    parser.add_argument("--only", nargs="*", help="pages with one of these words in their name")
    parser.add_argument("--languages", nargs="*", default=list(LANGUAGES), help="default: all")
    parser.add_argument("--wait-ms", type=int, default=400, help="before each picture (default: 400)")
    given = parser.parse_args(words)
    given.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        runs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mock = stack.enter_context(mock_process("--ttft", "20ms", "--tpot", "5ms"))
        slow = stack.enter_context(mock_process("--ttft", "200ms", "--tpot", "20ms"))
        failing = stack.enter_context(mock_process("--fault", "500:rate=0.5"))
        os.environ["TRUELOAD_KEY_STAGING"] = "a key"
        client, _ = stack.enter_context(console_of(runs / "all"))
        reader, _ = stack.enter_context(console_of(runs / "readers", "--read-token", READ_TOKEN))
        staging = {"name": "staging", "url": "http://127.0.0.1:9/v1", "key_variable": "TRUELOAD_KEY_STAGING"}
        client.post("/targets", json=staging).raise_for_status()
        client.post("/files?name=prompts.jsonl", content=b'{"prompt": "Hello"}\n{"prompt": "What is a token?"}\n')
        client.post("/files?name=mix.yaml", content=MIX)
        half_an_upload(client)
        ended = {"ended": _task(reader, "ended", {"url": mock.url, **SMALL})}
        tasks = tasks_of(client, runs / "all", mock.url, slow.url, failing.url)
        walked = []
        going_on = [(client, tasks["running"])]
        for kind, settings in SERIES.items():
            if not is_wanted(given, name := f"task-{kind}-running"):
                continue
            api, _ = stack.enter_context(console_of(runs / kind))
            task = _task(api, kind, {"url": slow.url, "input_tokens": 16, "output_tokens": 8, **settings}, kind=kind)
            until(api, task, lambda found: found["run"] is not None and len(found["steps"]) > 0)
            going_on.append((api, task))
            address = f"{base_of(api)}/tasks/{task}"
            walked.append(Walked(base_of(api), TOKEN, {name: partial(_gone_to, address=address)}))
        # A search may end: take its pictures first.
        walked += [all_pages(base_of(client), tasks), readers_pages(base_of(reader), ended)]
        browser = stack.enter_context(chromium())
        wrong = [one for pages in walked for one in walk(given, pages, browser)]
        for api, task in going_on:
            for _ in range(2):
                api.post(f"/tasks/{task}/stop")
    print("\n".join(dict.fromkeys(wrong)) or "nothing is wrong that a program sees")


if __name__ == "__main__":
    if sys.argv[1:2] == [GUARDED]:
        main(sys.argv[2:])
    else:
        # A console's tasks outlive it: a guard ends them too, however this process ends.
        guard = [sys.executable, "-m", "bench.process.guarded", "10", sys.executable, __file__, GUARDED, *sys.argv[1:]]
        with subprocess.Popen(guard, stdin=subprocess.PIPE) as process:
            sys.exit(process.wait())
