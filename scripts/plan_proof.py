"""Prints how far a plan is from what is then measured over sockets, in two ways.

replicas: one mock is fitted from short loads, through a small router; then three such mocks behind it get a rate of
requests, and the plan's engine gets the same requests with three replicas. llama.cpp, vllm: fitted at 1, 2 and 4 users;
then the engine gets the requests that the server got from 8 users and at a Poisson rate. All need a quiet machine: a
miss no larger than the drift between the fitted loads is the machine's, not the fit's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from bench.capacity_plan.simulators import running
from bench.cli import main as bench
from bench.fit.profile import USAGE_ON_CHUNKS
from bench.fit.streams import Stream, streams_of
from bench.run_files.run_directory import RunDirectory
from tests.support import real_servers
from tests.support.mock_process import mock_process
from tests.support.unseen_loads import numbers

REPLICAS, RATE, USERS = 3, 24.0, (1, 8)
COST = "b0=12000,b1=25,b2=500,a0=3000"
LENGTHS = ("--input-tokens", "uniform:32..256", "--output-tokens", "uniform:32..96")
WITHIN = {"TTFT p50": 0.05, "TPOT p50": 0.05, "tokens/s": 0.05, "TTFT p99": 0.10, "TPOT p99": 0.10}
WITHIN_REAL = {"TTFT p50": 0.10, "TPOT p50": 0.10, "tokens/s": 0.05, "TTFT p99": 0.20, "TPOT p99": 0.20}
REAL = ("--ignore-eos", "--extra-body", USAGE_ON_CHUNKS)
REAL_USERS, REAL_HELD, REAL_RATE = (1, 2, 4), 8, 4.0
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Router:
    """Sends each request to the next server, over a new connection."""

    ports: Sequence[int]

    async def serve(self, ready: threading.Event, port: list[int], stop: asyncio.Event) -> None:
        turns = itertools.cycle(self.ports)

        async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                answers, requests = await asyncio.open_connection("127.0.0.1", next(turns))
                requests.write(head[:-2] + b"connection: close\r\n\r\n" + body)
                while content := await answers.read(1 << 16):
                    writer.write(content)
                    await writer.drain()
                requests.close()
            writer.close()

        server = await asyncio.start_server(passed_on, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            await stop.wait()


@contextlib.contextmanager
def routed(urls: Sequence[str]) -> Iterator[str]:
    """The URL of a router in front of these servers."""
    ready, port = threading.Event(), list[int]()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    router = Router([urlsplit(url).port or 80 for url in urls])
    thread = threading.Thread(target=lambda: loop.run_until_complete(router.serve(ready, port, stop)))
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{port[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def run(url: str, how: Sequence[str], seconds: float, out: Path) -> Path:
    """Run a load. Returns its directory."""
    bench(["run", "--url", url, *how, "--duration", str(seconds), *LENGTHS, "--quiet", "--out", str(out)])
    return out


def streams(run: Path) -> list[Stream]:
    """The streams of a run's requests, by time."""
    return [stream for stream in streams_of(RunDirectory.open(run).records()) if stream.sure]


def measured(found: Sequence[Stream]) -> dict[str, float]:
    begin = found[0].sent_us
    return numbers((s.sent_us - begin, s.arrivals_us[0] - begin, s.arrivals_us[-1] - begin, s.generated) for s in found)


def simulated(profile: Path, found: Sequence[Stream], *, replicas: int, users: int | None) -> dict[str, float]:
    """The plan's engine on the same requests."""
    tokens = [one.generated for one in found]
    job = {
        "settings": {"profile": str(profile)}, "replicas": replicas, "users": users,
        "at_us": [one.sent_us - found[0].sent_us for one in found],
        "input_tokens": [one.prompt_tokens for one in found], "output_tokens": tokens,
    }  # fmt: skip
    with running(1) as simulators:
        (seen,) = simulators.answers([job])
    rows = zip(seen.sent_us, seen.first_us, seen.last_us, tokens, strict=True)
    return numbers(
        (s, first, last, n) for s, first, last, n in rows if not (s is None or first is None or last is None)
    )


def shown(title: str, real: dict[str, float], plan: dict[str, float], within: dict[str, float]) -> int:
    """Print a row for each number. Returns how many miss."""
    missed = 0
    print(f"\n== {title}\n{'':<10}{'measured':>12}{'planned':>12}{'off':>9}{'wanted':>9}")
    for name, most in within.items():
        off = plan[name] / real[name] - 1
        missed += abs(off) > most
        said = " MISSED" if abs(off) > most else ""
        print(f"{name:<10}{np.round(real[name], 2):>12}{np.round(plan[name], 2):>12}{off:>+9.1%}{most:>9.0%}{said}")
    return int(missed)  # sys.exit does not take NumPy's integers.


def of_replicas(place: Path, seconds: float) -> int:
    """Three mocks behind a router."""
    mock = ("--engine", "batching", "--step-cost", COST)
    with mock_process(*mock) as one, routed([one.url]) as url:
        runs = [run(url, ("--concurrency", str(users)), seconds, place / f"users-{users}") for users in USERS]
        runs.append(run(url, ("--rate", str(RATE / REPLICAS)), seconds, place / "rate"))
    profile = place / "profile.json"
    bench(["fit", *map(str, runs), "--no-replay", "--out", str(profile)])
    with contextlib.ExitStack() as opened:
        urls = [opened.enter_context(mock_process(*mock)).url for _ in range(REPLICAS)]
        url = opened.enter_context(routed(urls))
        found = streams(run(url, ("--rate", str(RATE)), 2 * seconds, place / "routed"))
    plan = simulated(profile, found, replicas=REPLICAS, users=None)
    return shown(f"{REPLICAS} replicas, {RATE:g} requests/s", measured(found), plan, WITHIN)


def of_real(name: str, place: Path, seconds: float) -> int:
    """A real server, fitted at small loads."""
    model = place / "model"
    model.mkdir()
    with contextlib.ExitStack() as opened:
        if name == "vllm":
            real_servers.write_vllm_model(model)
            url = opened.enter_context(real_servers.vllm(model))
        else:
            url = opened.enter_context(real_servers.llama_cpp("--parallel", "8"))
        run(url, ("--concurrency", "2", *REAL), 5.0, place / "warm")

        def fitted(when: str, users: Sequence[int]) -> dict[int, Path]:
            name = f"{when}-held-users"
            return {n: run(url, ("--concurrency", str(n), *REAL), seconds / 2, place / f"{name}-{n}") for n in users}

        # Half of the fitted loads come before the held-out loads, and half after: a drifting machine is not the fit's
        # fault.
        before = fitted("before", REAL_USERS)
        held = streams(run(url, ("--concurrency", str(REAL_HELD), *REAL), seconds, place / "held-users"))
        rate = streams(run(url, ("--rate", str(REAL_RATE), *REAL), seconds, place / "held-rate"))
        after = fitted("after", REAL_USERS[::-1])
    runs = [*before.values(), *after.values()]
    profile = place / "profile.json"
    bench(["fit", *map(str, runs), "--no-replay", "--out", str(profile)])
    for n in REAL_USERS:
        ends = [measured(streams(of[n])) for of in (before, after)]
        moved = ", ".join(f"{name} {ends[1][name] / ends[0][name] - 1:+.1%}" for name in ("TTFT p50", "TPOT p50"))
        print(f"the machine meanwhile, {n} user{'s' if n > 1 else ''} after against before: {moved}")
    missed = 0
    for title, found, users in ((f"{REAL_HELD} users", held, REAL_HELD), (f"{REAL_RATE:g} requests/s", rate, None)):
        plan = simulated(profile, found, replicas=1, users=users)
        missed += shown(f"{name}, {title}", measured(found), plan, WITHIN_REAL)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("replicas", "llama.cpp", "vllm"))
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plan-proof-") as folder:
        place = Path(folder)
        if given.what == "replicas":
            return min(1, of_replicas(place, given.seconds))
        return min(1, of_real(given.what, place, given.seconds))


if __name__ == "__main__":
    sys.exit(main())
