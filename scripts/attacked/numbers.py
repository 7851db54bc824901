"""Runs with wrong numbers and no visible fault: a generator that stood still, false usage, a cache."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attacked.checkout import Checkout, Ran
from tests.support.literal_replies import (
    CHUNKED,
    LAST_CHUNK,
    ROLE,
    api,
    chunk,
    content,
    finish,
    frame,
    frames,
    head,
    stream,
    usage_of,
)
from tests.support.literal_server import CERTIFICATE, LiteralServer, Pause, Received, Responder, Send, Step

TOKEN = content("word ")


# ---- Stopped processes
# -------------------------------------------------------------------------------------------------


def children(parent: int, program: str) -> list[int]:
    """Child processes that run this program."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            of = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_text().split("\0")
        except (OSError, ValueError, IndexError):
            continue
        if of == parent and program in words:
            found.append(int(entry.name))
    return sorted(found)


def stopped(*words: str, pause: Callable[[int], None], about: str) -> Callable[[Checkout], str]:
    """A load of nine seconds, during which something is stopped."""

    def attack(checkout: Checkout) -> str:
        def during(process: subprocess.Popen[str], out: Path) -> None:
            deadline = time.monotonic() + 30
            while not any(p.stat().st_size for p in out.glob("requests*.jsonl")) and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(1.5)
            pause(process.pid)

        with checkout.mock("--ttft", "30ms", "--tpot", "5ms") as mock:
            ran = checkout.run(mock.url, "--duration", "9s", *words, during=during)
        return f"{ran.words(about)}{_throughput(ran)}"

    return attack


def _throughput(ran: Ran) -> str:
    summary = ran.summary
    if summary is None or summary["load"]["mode"] != "concurrency":
        return ""
    users = ran.summary["run"]["config"]["concurrency"] if ran.summary else 0
    possible = users / 0.045
    return f"; requests/s {summary['throughput']['requests_per_s'] / possible - 1:+.0%} of what the mock gives"


def hold(pids: list[int], seconds: float) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def one_worker(parent: int) -> None:
    hold(children(parent, "bench.scale.program")[:1], 3.0)


def each_worker_in_turn(parent: int) -> None:
    for pid in children(parent, "bench.scale.program"):
        hold([pid], 1.5)


def all_workers(parent: int) -> None:
    hold(children(parent, "bench.scale.program"), 1.5)


def the_process(parent: int) -> None:
    hold([parent], 3.0)


def many_short_stops(parent: int) -> None:
    for _ in range(30):
        hold([parent], 0.09)
        time.sleep(0.06)


def the_feed(parent: int) -> None:
    hold(children(parent, "bench.scale.feed_program") + children(parent, "bench.load.feed_program"), 3.0)


def the_feed_to_the_end(parent: int) -> None:
    for pid in children(parent, "bench.scale.feed_program") + children(parent, "bench.load.feed_program"):
        os.kill(pid, signal.SIGSTOP)


def kill_one_worker(parent: int) -> None:
    for pid in children(parent, "bench.scale.program")[:1]:
        os.kill(pid, signal.SIGKILL)


# ---- Usage that cannot be true -----------------------------------------------------------------------------------------


def paced(*events: dict[str, Any] | str, gap_s: float = 0.01) -> list[Step]:
    steps: list[Step] = [Send(head("200 OK", "text/event-stream", CHUNKED))]
    for body in frames(*events):
        steps += [Pause(gap_s), Send(chunk(body))]
    return [*steps, Send(LAST_CHUNK)]


def usage_says(tokens: object, chunks: int = 4) -> Callable[[Checkout], str]:
    """Four chunks 10 ms apart, of four tokens asked for, and the server's own claim about usage."""

    def attack(checkout: Checkout) -> str:
        said = {"choices": [], "usage": {**usage_of(4, 16), "completion_tokens": tokens}}
        reply = paced(ROLE, *[TOKEN] * chunks, finish(), said, "[DONE]")
        with LiteralServer(api(lambda request: reply)) as server:
            ran = checkout.run(server.url, "--requests", "20", "--concurrency", "4")
        summary = ran.summary
        if summary is None:
            return ran.words()
        tpot, rate = summary["latency"]["tpot_ms"]["p50"], summary["throughput"]["output_tokens_per_s"]
        shown = "none" if tpot is None else f"{tpot:.1f} ms"
        return f"{ran.words('usage')}; TPOT p50 {shown}, {rate:.0f} tokens/s"

    return attack


# ---- Caches ------------------------------------------------------------------------------------------------------------


def second_run(checkout: Checkout) -> str:
    """The same command twice against a server with a prefix cache."""
    shape = ("--input-tokens", "512", "--output-tokens", "4")
    flags = ("--requests", "40", "--concurrency", "2")
    with caching_server() as server:
        first = checkout.run(server.url, *flags, shape=shape)
        second = checkout.run(server.url, *flags, shape=shape)
    a, b = first.summary, second.summary
    if a is None or b is None:
        return second.words()
    times = [s["latency"]["ttft_ms"]["p50"] for s in (a, b)]
    return f"{second.words('cache')}; TTFT p50 {times[0]:.1f} ms, then {times[1]:.1f} ms"


def longer_prompts(checkout: Checkout) -> str:
    """Prompts of 256 tokens, then of 512: a longer prompt may begin with a shorter one."""
    flags = ("--requests", "40", "--concurrency", "2")
    with caching_server() as server:
        checkout.run(server.url, *flags, shape=("--input-tokens", "256", "--output-tokens", "4"))
        server.hits = [0, 0]
        ran = checkout.run(server.url, *flags, shape=("--input-tokens", "512", "--output-tokens", "4"))
        hit, total = server.hits
    return f"{ran.words('cache')}; {hit / max(total, 1):.0%} of the prompt text came from the cache"


class caching_server(LiteralServer):
    """A server that remembers every prompt, and answers a new one sooner the more of it it has seen: 1 ms per 100
    characters.

    It reports this nowhere: no metrics, no cached_tokens.
    """

    BLOCK = 64

    def __init__(self) -> None:
        super().__init__(api(self._answer))
        self._seen: set[str] = set()
        self.hits = [0, 0]

    def _answer(self, request: Received) -> list[Step]:
        text = request.body.decode().partition('"content":"')[2].partition('"}')[0]
        if len(text) < self.BLOCK:
            return stream(ROLE, *[TOKEN] * 4, finish(), {"choices": [], "usage": usage_of(4, 16)}, "[DONE]")
        hit = 0
        while hit + self.BLOCK <= len(text) and text[: hit + self.BLOCK] in self._seen:
            hit += self.BLOCK
        self._seen.update(text[:end] for end in range(self.BLOCK, len(text) + 1, self.BLOCK))
        self.hits[0] += hit
        self.hits[1] += len(text)
        return [Pause((len(text) - hit) / 1e5), *stream(ROLE, *[TOKEN] * 4, finish(), "[DONE]")]


def cache_said_in_usage(checkout: Checkout) -> str:
    """A server that took most of each fresh prompt from its cache, and reports it in its usage."""
    said = {"choices": [], "usage": {**usage_of(4, 64), "prompt_tokens_details": {"cached_tokens": 60}}}
    with LiteralServer(api(lambda request: stream(ROLE, *[TOKEN] * 4, finish(), said, "[DONE]"))) as server:
        ran = checkout.run(server.url, "--requests", "20", shape=("--input-tokens", "64", "--output-tokens", "4"))
    return ran.words("cache")


# ---- Servers that die, shed and stall
# ------------------------------------------------------------------------------------


def server_killed(checkout: Checkout) -> str:
    def during(process: subprocess.Popen[str], out: Path) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            path = out / "requests.jsonl"
            if path.exists() and path.read_bytes().count(b"\n") >= 70:
                break
            time.sleep(0.01)
        mock.process.kill()

    with checkout.mock("--ttft", "20ms", "--tpot", "5ms") as mock:
        ran = checkout.run(mock.url, "--requests", "200", "--concurrency", "4", during=during)
    return ran.words("requests failed")


def by_number(answer: Callable[[int], list[Step]]) -> Responder:
    """A server whose reply depends on the request's number; the probe does not count."""
    numbers = iter(range(-1, 1 << 30))
    return api(lambda request: answer(next(numbers)))


GOOD: list[dict[str, Any] | str] = [ROLE, *[TOKEN] * 4, finish(), {"choices": [], "usage": usage_of(4, 16)}, "[DONE]"]


def shed(every: int) -> Callable[[Checkout], str]:
    """A server that answers 503 at once, except to every `every`-th request."""
    refusal = [Send(head("503 Service Unavailable", "text/plain", "content-length: 4") + b"busy")]

    def attack(checkout: Checkout) -> str:
        def answer(number: int) -> list[Step]:
            return list(paced(*GOOD)) if number < 0 or number % every == 0 else list(refusal)

        with LiteralServer(by_number(answer)) as server:
            ran = checkout.run(server.url, "--requests", "60", "--concurrency", "2")
        return ran.words("failed")

    return attack


def shorter_than_asked(checkout: Checkout) -> str:
    """Replies of 4 tokens to requests for exactly 64."""
    with LiteralServer(api(lambda request: paced(*GOOD))) as server:
        ran = checkout.run(
            server.url, "--requests", "20", "--ignore-eos", shape=("--input-tokens", "16", "--output-tokens", "64")
        )
    return ran.words("output tokens")


def slow_connections(checkout: Checkout) -> str:
    """Each request needs a new connection, whose TLS handshake takes 300 ms: a user waits for it, and no TTFT contains
    it."""
    reply = [Send(head("200 OK", "text/event-stream", CHUNKED, "connection: close")), *paced(*GOOD)[1:]]
    with LiteralServer(api(lambda request: reply), tls=True, handshake_pause_s=0.3) as server:
        ran = checkout.run(server.url, "--requests", "20", "--concurrency", "2", "--ca-file", str(CERTIFICATE))
    return ran.words("new connection")


def all_at_once(checkout: Checkout) -> str:
    """A proxy that holds the reply until it is complete: the time between tokens is unknown."""
    whole = b"".join([chunk(frame(event)) for event in GOOD])
    reply: list[Step] = [Pause(0.05), Send(head("200 OK", "text/event-stream", CHUNKED) + whole + LAST_CHUNK)]
    with LiteralServer(api(lambda request: reply)) as server:
        ran = checkout.run(server.url, "--requests", "40", "--concurrency", "2")
    printed = checkout.start("bench", "report", str(ran.folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    text = printed.communicate(timeout=60)[0]
    line = next((" ".join(row.split()[:4]) for row in text.splitlines() if row.strip().startswith("ITL")), "no ITL")
    return f"{ran.words('shared reads')}; prints {line!r}"


def objective_of_open_numbers(checkout: Checkout) -> str:
    """The same proxy with --slo itl:p99<1ms: the stamps show 0, and the truth may be 17."""
    whole = b"".join([chunk(frame(event)) for event in GOOD])
    reply: list[Step] = [Pause(0.05), Send(head("200 OK", "text/event-stream", CHUNKED) + whole + LAST_CHUNK)]
    with LiteralServer(api(lambda request: reply)) as server:
        ran = checkout.run(server.url, "--requests", "40", "--concurrency", "2", "--slo", "itl:p50<1ms")
    held = None if ran.summary is None else ran.summary["slo"]["held"]
    return f"{ran.words('shared reads')}; itl:p50<1ms {'held' if held else 'did not hold'}"


ATTACKS: dict[str, Callable[[Checkout], str]] = {
    "`kill -STOP` of one of three workers, 3 s of 9": stopped(
        "--concurrency", "6", "--workers", "3", pause=one_worker, about="ready"
    ),
    "`kill -STOP` of all three workers in turn, 1.5 s each": stopped(
        "--concurrency", "6", "--workers", "3", pause=each_worker_in_turn, about="ready"
    ),
    "`kill -STOP` of all three workers at once, 1.5 s": stopped(
        "--concurrency", "6", "--workers", "3", pause=all_workers, about="ready"
    ),
    "`kill -STOP` of the one process, 3 s of 9": stopped(
        "--concurrency", "6", "--workers", "1", pause=the_process, about="ready"
    ),
    "`kill -STOP` of the one process, 30 times 90 ms": stopped(
        "--concurrency", "6", "--workers", "1", pause=many_short_stops, about="ready"
    ),
    "the same in an open loop, 3 s of 9": stopped(
        "--rate", "40", "--workers", "1", pause=the_process, about="left late"
    ),
    "`kill -STOP` of the process that makes prompts, 3 s of 9": stopped(
        "--concurrency", "6", "--workers", "1", pause=the_feed, about="ready"
    ),
    "`kill -STOP` of the process that makes prompts, to the end of the run": stopped(
        "--concurrency", "6", "--workers", "1", pause=the_feed_to_the_end, about="never sent"
    ),
    "`kill -KILL` of one of three workers": stopped(
        "--concurrency", "6", "--workers", "3", pause=kill_one_worker, about="share of the load"
    ),
    "usage says 99 tokens, 4 chunks, 4 asked": usage_says(99),
    "usage says -5 tokens": usage_says(-5),
    "usage says 0 tokens": usage_says(0),
    "usage says 1,000,000,000,000 tokens": usage_says(10**12),
    'usage says "4" tokens': usage_says("4"),
    "usage says 4.5 tokens": usage_says(4.5),
    "usage says null tokens": usage_says(None),
    "the same command twice, a server that caches prefixes and does not tell": second_run,
    "prompts of 256 tokens, then of 512, the same server": longer_prompts,
    "usage says that 60 of 64 fresh prompt tokens were cached": cache_said_in_usage,
    "the server is killed after a third of the run": server_killed,
    "a server that sheds 9 of 10 requests": shed(10),
    "a server that sheds every second request": shed(2),
    "replies of 4 tokens, 64 asked for with --ignore-eos": shorter_than_asked,
    "each request needs a new connection, which takes 300 ms": slow_connections,
    "a proxy that holds replies until they are whole": all_at_once,
    "the same, with --slo": objective_of_open_numbers,
}
