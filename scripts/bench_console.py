"""What the console costs a measurement, how fast it is, and whether it loses anything. Needs an otherwise idle machine.

watched  a run of 200 streams that three pages in Chromium follow, against the same run that nobody follows, in pairs: errors
         against the mock's ledger, send lateness and CPU; --readers: three clients read what such a page reads, as if its
         browser were on another machine
list     the list of 1,000 tasks: server time of the first page after a start and of later ones, and Chromium
live     how far the live page is behind the load, and whether the page grows while it is open
memory   the console's memory after 100 tasks
kill     kill -9 of the console during a run, and a start afterwards

Without a name it runs all of them, which takes about half an hour.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import httpx
import orjson
from playwright.sync_api import Browser, Page, sync_playwright

from bench.evaluate import evaluate
from bench.results.certificate import LedgerCalibration
from bench.results.summary import RunSummary
from bench.run_files.run_directory import LEDGER, RunDirectory
from bench.statistics.student import t_quantile
from tests.support.chromium import ARGS, browser_path
from tests.support.console_process import TOKEN, console_of, new, until
from tests.support.made_tasks import made_run
from tests.support.mock_process import mock_process

BROWSERS = 3
ROWS: list[tuple[str, str, str]] = []


def row(what: str, value: str, reach: str = "") -> None:
    """Print a line of the table at once."""
    ROWS.append((what, value, reach))
    print(f"{what:<58} {value:<34} {reach}", flush=True)


def base_of(client: httpx.Client) -> str:
    return str(client.base_url).removesuffix("/api/").removesuffix("/api")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=list(ARGS))
        yield browser
        browser.close()


def page_of(browser: Browser, base: str, path: str) -> Page:
    """A page in its own browser context, signed in with the token."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(f"{base}/targets?token={TOKEN}")
    page.wait_for_url(f"{base}/targets")
    page.goto(base + path)
    return page


def ended(client: httpx.Client, task: str) -> dict[str, Any]:
    """A task's summary, once it exists."""
    until(client, task, lambda found: found["has_report"])
    summary: dict[str, Any] = client.get(f"/tasks/{task}/summary").json()
    return summary


def watched(given: argparse.Namespace) -> None:
    """The same run with no page and with three pages that follow it, in turn: its errors against the mock's ledger,
    send lateness and CPU. Each difference is between the two runs of a turn."""
    pairs: list[dict[int, dict[str, float]]] = []
    verdicts: dict[int, list[str]] = {0: [], BROWSERS: []}
    with tempfile.TemporaryDirectory() as runs, console_of(Path(runs)) as (client, _):
        for turn in range(given.turns):
            pairs.append({})
            for watchers in (0, BROWSERS) if turn % 2 == 0 else (BROWSERS, 0):
                summary = _followed(given, client, Path(runs), watchers)
                verdicts[watchers].append(summary.verdict.status)
                pairs[-1][watchers] = _figures(summary)
    print(f"{'':<34}{'nobody':>10}{f'{BROWSERS} pages':>10}{'ratio':>8}   median of the differences, and their range")
    for name in pairs[0][0]:
        alone, followed = ([pair[watchers][name] for pair in pairs] for watchers in (0, BROWSERS))
        more = [b - a for a, b in zip(alone, followed, strict=True)]
        ratio = f"{median(followed) / median(alone):.2f}" if median(alone) else "-"
        spread = f"{median(more):+.4f} ({min(more):+.4f} to {max(more):+.4f})"
        print(f"{name:<34}{median(alone):>10.4f}{median(followed):>10.4f}{ratio:>8}   {spread}", flush=True)
    for watchers, found in verdicts.items():
        row(f"verdicts, {watchers} pages", ", ".join(found), "unchanged")
    print(f"watched: {disturbance(pairs)}", flush=True)


def disturbance(pairs: Sequence[Mapping[int, Mapping[str, float]]]) -> str:
    """The effect of three pages in one sentence: the figures whose mean difference has an interval that excludes 0.

    The interval is Student's, over the turns. The probability that any figure excludes 0 by chance is at most 5%
    (Bonferroni).
    """
    if len(pairs) < 2:
        return "nothing can be said: an interval needs two turns or more"
    sure = 1 - 0.05 / (2 * len(pairs[0][0]))
    t, shown, lateness = t_quantile(sure, len(pairs) - 1), [], ""
    for name in pairs[0][0]:
        more = [pair[BROWSERS][name] - pair[0][name] for pair in pairs]
        half = t * stdev(more) / len(more) ** 0.5
        words = f"{name}: {mean(more):+.4f} ({mean(more) - half:+.4f} to {mean(more) + half:+.4f})"
        if abs(mean(more)) > half:
            shown.append(words)
        if name == "send lateness p99, ms":
            lateness = words
    return "; ".join(shown) or f"nothing shown in {len(pairs)} turns; {lateness}"


def _followed(given: argparse.Namespace, client: httpx.Client, runs: Path, watchers: int) -> RunSummary:
    """The summary of a run that `watchers` pages follow, computed with its mock's ledger."""
    load = {"concurrency": given.streams, "duration": f"{given.seconds}s", "warmup": "3s", "input_tokens": 64,
            "output_tokens": 64}  # fmt: skip
    with ExitStack() as stack:
        mock = stack.enter_context(mock_process("--ttft", "50ms", "--tpot", "20ms"))
        browser = stack.enter_context(chromium()) if watchers and not given.readers else None
        task = new(client, mock.url, "watched", **load)
        pages = [page_of(browser, base_of(client), f"/tasks/{task}") for _ in range(watchers) if browser is not None]
        readers = stack.enter_context(ThreadPoolExecutor(BROWSERS))
        lines = [readers.submit(_read, client, task) for _ in range(watchers if given.readers else 0)]
        ended(client, task)
        assert all(reader.result() >= given.seconds for reader in lines), "a reader has missed seconds of the run"
        for page in pages:
            page.locator("iframe.report").wait_for(timeout=60_000)
        mock.stop()
        shutil.copyfile(mock.ledger_path, runs / task / LEDGER)
    return evaluate(RunDirectory.open(runs / task)).summary


def _read(client: httpx.Client, task: str) -> int:
    """The seconds of a task, as a page that follows it receives them."""
    with client.stream("GET", f"/tasks/{task}/events", timeout=None) as events:
        return sum(line == "event: line" for line in events.iter_lines())


def _figures(summary: RunSummary) -> dict[str, float]:
    """Errors against the ledger in ms, and the client's send lateness and CPU."""
    assert isinstance(summary.calibration, LedgerCalibration)
    errors = {
        f"error of {row.metric.removesuffix('_ms').upper()} {row.stat}, ms": abs(row.error)
        for row in summary.calibration.metrics
        if row.metric in ("ttft_ms", "itl_ms", "e2el_ms") and row.stat in ("p50", "p99")
    }
    late, cpu = summary.instrument.send_lateness_ms, summary.instrument.cpu
    return {**errors, "send lateness p50, ms": late.p50 or 0.0, "send lateness p99, ms": late.p99 or 0.0,
            "CPU of the client, share": cpu.mean if cpu is not None else 0.0}  # fmt: skip


def listed(given: argparse.Namespace) -> None:
    """Server time and Chromium time of a long list."""
    first: list[float] = []
    cold: list[float] = []
    later: list[float] = []
    drawn: list[float] = []
    with tempfile.TemporaryDirectory() as runs:
        for n in range(given.tasks):
            made_run(Path(runs), f"20261125T15{n:05}-run")
        for turn in range(given.turns + 1):
            with console_of(Path(runs)) as (client, _):
                site = httpx.Client(base_url=base_of(client), headers=client.headers, timeout=60)
                times = []
                for _ in range(6):
                    begun = time.perf_counter()
                    site.get("/").raise_for_status()
                    times.append(1000 * (time.perf_counter() - begun))
                (first if turn else cold).append(times[0])
                later += times[1:]
                if turn == given.turns:
                    with chromium() as browser:
                        for _ in range(5):
                            page = page_of(browser, base_of(client), "/")
                            drawn.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
                            page.context.close()
    many = f"list of {given.tasks:,} tasks"
    row(f"{many}: the very first page, all directories read", f"{median(cold):.0f} ms")
    row(f"{many}: the first page after a start", f"{median(first):.0f} ms", "<= 300 ms")
    row(f"{many}: later pages", f"{median(later):.0f} ms", "<= 300 ms")
    row(f"{many}: in Chromium, until loaded", f"{median(drawn):.0f} ms", "<= 1,000 ms")


OBSERVED = """() => {
  const done = document.getElementById("n-done"), seen = window.seen = [];
  new MutationObserver(() => seen.push([performance.timeOrigin + performance.now(), done.textContent]))
    .observe(done, {childList: true, characterData: true, subtree: true});
}"""
"""Notes when the page shows a new number of done requests."""


def live(given: argparse.Namespace) -> None:
    """Delay of the page behind the line of live.jsonl with the same count, and growth of the page."""
    grown: list[dict[str, float]] = []
    with ExitStack() as stack:
        runs = stack.enter_context(tempfile.TemporaryDirectory())
        mock = stack.enter_context(mock_process("--ttft", "50ms", "--tpot", "20ms"))
        client, _ = stack.enter_context(console_of(Path(runs)))
        browser = stack.enter_context(chromium())
        seconds = round(60 * given.minutes)
        task = new(client, mock.url, "long", concurrency=20, duration=f"{seconds}s", output_tokens=32)
        page = page_of(browser, base_of(client), f"/tasks/{task}")
        page.locator("#n-done").filter(has_text="0").wait_for(timeout=60_000)
        page.evaluate(OBSERVED)
        tools = page.context.new_cdp_session(page)
        tools.send("Performance.enable")
        until_s = time.monotonic() + seconds - 5
        for look in range(11):
            page.wait_for_timeout(max(0.0, 1000 * (until_s - time.monotonic()) / (11 - look)))
            tools.send("HeapProfiler.collectGarbage")
            metrics = {one["name"]: one["value"] for one in tools.send("Performance.getMetrics")["metrics"]}
            names = {"heap": "JSHeapUsedSize", "nodes": "Nodes", "listeners": "JSEventListeners"}
            grown.append({key: metrics[name] for key, name in names.items()})
        seen = page.evaluate("window.seen")
        client.post(f"/tasks/{task}/stop")
        ended(client, task)
        lines = [orjson.loads(line) for line in (Path(runs) / task / "live.jsonl").read_bytes().splitlines()]
    # The page uses the system clock; the lines have the monotonic clock.
    offset_ns = time.time_ns() - time.monotonic_ns()
    at_ns = {line["done"]: line["t_ns"] + offset_ns for line in reversed(lines)}
    behind = sorted(at - at_ns[n] / 1e6 for at, text in seen if (n := int(text.replace(",", ""))) in at_ns)
    row("live update behind the load, p50", f"{median(behind) / 1000:.2f} s", "<= 2 s")
    row(f"live update behind the load, worst of {len(behind)}", f"{behind[-1] / 1000:.2f} s", "<= 2 s")
    third = len(grown) // 3
    for key, unit, by in (("heap", "MB", 1e6), ("nodes", "", 1), ("listeners", "", 1)):
        values = [one[key] / by for one in grown]
        early, late = median(values[1 : 1 + third]), median(values[-third:])
        row(
            f"page over {given.minutes:g} min: {key}, early and late", f"{early:,.1f} and {late:,.1f} {unit}", "no leak"
        )


def memory(given: argparse.Namespace) -> None:
    """Resident memory of the console, empty and after many tasks whose pages were opened."""
    with ExitStack() as stack:
        runs = stack.enter_context(tempfile.TemporaryDirectory())
        mock = stack.enter_context(mock_process("--ttft", "1ms", "--tpot", "1ms"))
        client, process = stack.enter_context(console_of(Path(runs)))
        site = httpx.Client(base_url=base_of(client), headers=client.headers, timeout=60)
        before = _resident_mb(process)
        for n in range(given.tasks):
            task = new(client, mock.url, f"{n}", requests=4)
            client.get(f"/tasks/{task}/events")
            until(client, task, lambda found: found["has_report"])
            for path in ("/", f"/tasks/{task}", f"/api/tasks/{task}/report"):
                site.get(path).raise_for_status()
        row("memory of the console, empty", f"{before:.0f} MB")
        row(f"memory of the console after {given.tasks} tasks", f"{_resident_mb(process):.0f} MB", "<= 150 MB")


def _resident_mb(process: subprocess.Popen[str]) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def kill(given: argparse.Namespace) -> None:
    """Kill a console during a run, and start another one afterwards."""
    with tempfile.TemporaryDirectory() as folder, mock_process("--ttft", "20ms", "--tpot", "5ms") as mock:
        runs = Path(folder)
        with console_of(runs) as (client, process):
            task = new(client, mock.url, "killed", duration=f"{given.seconds}s", concurrency=8)
            waiting = new(client, mock.url, "next", requests=4)
            client.patch(f"/tasks/{task}", json={"label": "nightly"})
            until(client, task, lambda _: len(client.get(f"/tasks/{task}/live").json()) > 2)
            process.send_signal(signal.SIGKILL)
        before = len((runs / task / "live.jsonl").read_bytes().splitlines())
        with console_of(runs) as (client, _):
            found = client.get(f"/tasks/{task}").json()
            row("state after the second start", f"{found['state']}, label {found['label']}", "running, label nightly")
            counts = ended(client, task)["counts"]
            records = len((runs / task / "requests.jsonl").read_bytes().splitlines())
            lines = len((runs / task / "live.jsonl").read_bytes().splitlines())
            row("requests sent, and on the disk", f"{counts['sent']:,} and {records:,}", "no record lost")
            row("lines of live.jsonl, at the kill and at the end", f"{before} and {lines}", "goes on")
            row("state of the run at its end", client.get(f"/tasks/{task}").json()["state"], "ended")
            row("the task that waited", f"{ended(client, waiting)['counts']['sent']} of 4 sent", "4 of 4 sent")


PARTS = {"watched": watched, "list": listed, "live": live, "memory": memory, "kill": kill}


def main() -> None:
    """Run each requested part."""
    parser = argparse.ArgumentParser(prog="scripts/bench-console", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--turns", type=int, default=5, help="watched, list: how often (default: 5)")
    parser.add_argument(
        "--readers", action="store_true", help="watched: by clients that only read, in place of Chromium"
    )
    parser.add_argument("--streams", type=int, default=200, help="watched: requests in flight (default: 200)")
    parser.add_argument("--seconds", type=int, default=25, help="watched, kill: how long a run is (default: 25)")
    parser.add_argument("--minutes", type=float, default=10.0, help="live: how long (default: 10)")
    parser.add_argument("--tasks", type=int, help="list, memory: how many (default: 1000, 100)")
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"{unknown[0]} is no part: choose of {', '.join(PARTS)}")
    for part in given.parts or PARTS:
        tasks = given.tasks or {"list": 1000, "memory": 100}.get(part)
        PARTS[part](argparse.Namespace(**{**vars(given), "tasks": tasks}))


if __name__ == "__main__":
    main()
