"""Failing surroundings: disks, clocks, names, addresses, proxies, descriptors, ports, memory; a machine that sleeps."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hard_parts.place import (
    Asked,
    Place,
    Row,
    ended_before,
    records_in,
    report_problem,
    row,
    run_directories,
    suppress_gone,
)

_SMALL = ("--input-tokens", "20", "--output-tokens", "8", "--quiet")
_MOCK = ("--ttft", "20ms", "--tpot", "5ms")
WITHIN_S = 180.0


def _run(url: str, *more: str) -> tuple[str, ...]:
    return ("run", "--url", url, "--out", "run", "--rate", "40", "--duration", "3s", *_SMALL, *more)


def _after(place: Place, ledger: Path | None, at_ns: int) -> list[str]:
    """Problems after a command has ended: processes that still run, leftover files, missing records, or a report that
    fails."""
    wrong = [f"{role} still runs" for role in place.wait_for_all(60).values()]
    place.end_all()
    kept: dict[str, dict[str, object]] = {}
    for run in run_directories(place.folder):
        kept |= records_in(run)
        if (problem := report_problem(run)) is not None:
            wrong.append(problem)
    wrong += [f"{found} is left behind" for found in place.left_behind()]
    if ledger is not None and (missing := ended_before(ledger, at_ns) - kept.keys()):
        wrong.append(f"{len(missing)} requests that had ended have no record")
    return wrong


def _summary(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place.folder / "run" / "summary.json").read_bytes())
    return found


def _status(place: Place, started: subprocess.Popen[bytes], allowed: tuple[int, ...]) -> list[str]:
    try:
        status = started.wait(timeout=WITHIN_S)
    except subprocess.TimeoutExpired:
        return ["it has not ended"]
    logs = "".join(path.read_text(errors="replace") for path in place.folder.glob("bench-*.log"))
    wrong = [] if status in allowed else [f"exit status {status}"]
    return wrong + (["it ended with a traceback"] if "Traceback" in logs else [])


def disk(asked: Asked) -> list[Row]:
    """a disk that is full at each file, by a limit on the size of files (RLIMIT_FSIZE), from 0 bytes on"""
    problems: list[str] = []
    sizes = (0, 1, 500, 2_000, 5_000, 20_000, 60_000, 100_000)
    for size in sizes:
        place = Place(asked.folder / f"{size}")

        def limit(size: int = size) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        with place.mock(*_MOCK) as (url, ledger):
            # Its own output goes to a pipe: the limit would cut a file.
            command = [sys.executable, "-m", "bench", *_run(url)]
            done = subprocess.run(
                command,
                env=place.environment,
                cwd=place.folder,
                preexec_fn=limit,
                capture_output=True,
                text=True,
                timeout=WITHIN_S,
                check=False,
            )
            at_ns = time.monotonic_ns()
        said = done.stderr + done.stdout
        if "Traceback" in said:
            problems.append(f"{size} bytes: it ended with a traceback: {said.strip().splitlines()[-1][:200]}")
        if done.returncode not in (0, 2, 3, 4):
            problems.append(f"{size} bytes: exit status {done.returncode}")
        rescued = _rescued(said)
        problems += [
            f"{size} bytes: {wrong}"
            for wrong in _after(place, None if rescued or done.returncode == 2 else ledger, at_ns)
            if "report" not in wrong and "temporary" not in wrong
        ]
    return [row("a disk that takes so many bytes a file: " + ", ".join(map(str, sizes)), f"{len(sizes)}", problems)]


def _rescued(said: str) -> bool:
    """Whether the run reports that records are not in its file."""
    return "bytes of records are in" in said or "No space" in said or "File too large" in said


def clock(asked: Asked) -> list[Row]:
    """the wall clock stepped an hour forwards during a run (libfaketime, where it is installed)"""
    library = next(iter(Path("/usr/lib").rglob("libfaketimeMT.so.1")), None)
    if library is None:
        return [row("the wall clock stepped by an hour", "0: libfaketime is not installed (apt install faketime)", [])]
    problems: list[str] = []
    # Backwards does not work this way: libfaketime shifts timers of CLOCK_MONOTONIC too, which no step of the wall
    # clock does.
    for step in ("+3600", "+7200"):
        place = Place(asked.folder / step)
        times = place.folder / "time"
        times.write_text("+0")
        place.more = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(times),
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with place.mock(*_MOCK) as (url, ledger):
            started = place.start("bench", *_run(url, "--duration", "6s"))
            _wait_for_records(place)
            time.sleep(1.0)
            times.write_text(step)
            wrong = _status(place, started, (0, 3))
            at_ns = time.monotonic_ns()
        problems += [f"{step} s: {one}" for one in (*wrong, *_after(place, ledger, at_ns))]
        problems += [f"{step} s: {one}" for one in _wrong_times(place)]
    return [row("the wall clock stepped forwards by one and two hours during a run", "2", problems)]


def _wrong_times(place: Place) -> list[str]:
    """Latencies that a step has made wrong: the mock answers after 20 ms, and a request takes about 60 ms in all."""
    latency = _summary(place)["latency"]
    if latency["ttft_ms"]["max"] > 5_000 or latency["ttft_ms"]["p50"] < 15:
        return [f"TTFT is {latency['ttft_ms']}"]
    return []


def _wait_for_records(place: Place) -> None:
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        if any(path.stat().st_size for path in place.folder.rglob("requests*.jsonl")):
            return
        time.sleep(0.05)
    raise TimeoutError("no request has ended")


def sleep(asked: Asked) -> list[Row]:
    """the machine sleeps: every process is stopped (SIGSTOP) for some seconds, the mock too"""
    problems: list[str] = []
    for number, flags in enumerate(((), ("--workers", "2"), ("--concurrency", "8"))):
        place = Place(asked.folder / f"{number}")
        with place.mock(*_MOCK) as (url, ledger):
            words = _run(url, "--duration", "6s", *flags)
            words = tuple(w for w in words if w not in ("--rate", "40")) if "--concurrency" in flags else words
            started = place.start("bench", *words)
            _wait_for_records(place)
            numbers = [*place.processes()]
            for one in numbers:
                with suppress_gone():
                    os.kill(one, signal.SIGSTOP)
            time.sleep(3.0)
            for one in numbers:
                with suppress_gone():
                    os.kill(one, signal.SIGCONT)
            wrong = _status(place, started, (0, 3))
            at_ns = time.monotonic_ns()
        problems += [f"{flags}: {one}" for one in (*wrong, *_after(place, ledger, at_ns))]
        verdict = _summary(place)["verdict"]
        if verdict["status"] == "VALID":
            problems.append(f"{flags}: a run that slept for 3 s is VALID")
    return [row("all processes of the client stopped for 3 s; the verdict says so", "3", problems)]


def limits(asked: Asked) -> list[Row]:
    """too few descriptors, ports and memory"""
    rows = []
    users = ("--concurrency", "200", "--requests", "400")
    few = ("--concurrency", "50", "--requests", "400")
    # How many descriptors an open loop needs shows only during the run.
    rate = ("--rate", "150", "--duration", "4s")
    slow = ("--ttft", "1500ms", "--tpot", "5ms")
    cases: dict[str, tuple[Callable[[], None], tuple[str, ...], tuple[str, ...], tuple[int, ...]]] = {
        "64 descriptors for 200 users: refused": (_limiter(resource.RLIMIT_NOFILE, 64), users, _MOCK, (2,)),
        "100 descriptors where a rate comes to need 250": (
            _limiter(resource.RLIMIT_NOFILE, 100),
            rate,
            slow,
            (0, 3, 4),
        ),
        "600 MB of address space": (_limiter(resource.RLIMIT_AS, 600_000_000), few, _MOCK, (0, 3)),
        "250 MB of address space: refused": (_limiter(resource.RLIMIT_AS, 250_000_000), few, _MOCK, (2,)),
    }
    for number, (what, (limit, load, mock, allowed)) in enumerate(cases.items()):
        place = Place(asked.folder / f"{number}")
        with place.mock(*mock) as (url, ledger):
            started = place.start("bench", "run", "--url", url, "--out", "run", *_SMALL, *load, preexec_fn=limit)
            wrong = _status(place, started, allowed)
            at_ns = time.monotonic_ns()
        rows.append(row(what, _often(place), wrong + _after(place, ledger, at_ns)))
    rows.append(_ports(asked, "50 ports for 200 users: refused", users, _MOCK, (2,)))
    rows.append(_ports(asked, "50 ports where a rate comes to need 225", rate, slow, (0, 3, 4)))
    return rows


def _often(place: Place) -> str:
    """How many requests succeeded and failed, if the run came that far."""
    if not (place.folder / "run" / "summary.json").exists():
        return "1"
    counts = _summary(place)["counts"]
    return f"{counts['succeeded']} requests, {counts['failed']} failed"


def _limiter(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


def _ports(asked: Asked, what: str, load: Sequence[str], mock: Sequence[str], allowed: Sequence[int]) -> Row:
    """Run in a network namespace with 50 ports, if allowed."""
    place = Place(asked.folder / what.replace(" ", "-"))
    script = (
        "ip link set lo up || exit 77; sysctl -qw net.ipv4.ip_local_port_range='40000 40049' || exit 77; "
        f"{sys.executable} -m mockserver --port 8000 {' '.join(mock)} --ledger ledger.jsonl > mock.txt & mock=$!; "
        "for i in $(seq 600); do grep -q ready mock.txt 2>/dev/null && break; sleep 0.1; done; "
        f"{sys.executable} -m bench run --url http://127.0.0.1:8000 --out run {' '.join((*load, *_SMALL))}; "
        "status=$?; kill $mock; wait; exit $status"
    )
    done = subprocess.run(
        ["unshare", "-n", "bash", "-c", script],
        env=place.environment,
        cwd=place.folder,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    if "unshare" in done.stderr or done.returncode == 77:
        return row(what, "0: no network namespace may be made here", [])
    wrong = [] if done.returncode in allowed else [f"exit status {done.returncode}: {done.stderr[-200:]}"]
    wrong += ["it ended with a traceback"] if "Traceback" in done.stderr else []
    return row(what, _often(place), wrong + _after(place, place.folder / "ledger.jsonl", time.monotonic_ns()))


def names(asked: Asked) -> list[Row]:
    """a name that is not known, and one that has IPv6 only"""
    rows = []
    place = Place(asked.folder / "unknown")
    started = place.start("bench", *_run("http://no-such-host.invalid:8000"))
    rows.append(
        row("a host name that DNS does not know", "1", _status(place, started, (2, 4)) + _after(place, None, 0))
    )
    place = Place(asked.folder / "ipv6")
    if not socket.has_ipv6:
        return [*rows, row("IPv6 alone", "0: this machine has none", [])]
    with place.mock(*_MOCK, host="::1") as (url, ledger):
        started = place.start("bench", *_run(url))
        wrong = _status(place, started, (0, 3))
        at_ns = time.monotonic_ns()
    counts = _summary(place)["counts"]
    wrong += [f"{counts['failed']} requests failed"] if counts["failed"] else []
    rows.append(row("IPv6 alone (::1)", f"{counts['succeeded']} requests", wrong + _after(place, ledger, at_ns)))
    return rows


def proxy(asked: Asked) -> list[Row]:
    """a proxy in between that buffers: it passes on what came only every 200 ms"""
    place = Place(asked.folder / "proxy")
    with (
        place.mock("--ttft", "20ms", "--tpot", "20ms") as (url, ledger),
        BufferingProxy(int(url.rpartition(":")[2])) as port,
    ):
        started = place.start("bench", *_run(f"http://127.0.0.1:{port}", "--output-tokens", "32"))
        wrong = _status(place, started, (0, 3))
        at_ns = time.monotonic_ns()
    summary = _summary(place)
    if summary["counts"]["failed"]:
        wrong.append(f"{summary['counts']['failed']} requests failed")
    return [
        row(
            "a proxy that buffers for 200 ms",
            f"{summary['counts']['succeeded']} requests",
            wrong + _after(place, ledger, at_ns),
        )
    ]


class BufferingProxy:
    """Passes on requests at once, and responses every 200 ms, in whatever pieces that makes."""

    def __init__(self, to: int, every_s: float = 0.2) -> None:
        self._to = to
        self._every_s = every_s
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> int:
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        port: int = self._listening.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listening.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            thread = threading.Thread(target=self._requests, args=(client, server))
            thread.start()
            with contextlib.suppress(OSError):
                self._replies(server, client)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        while data := server.recv(65536):
            time.sleep(self._every_s)
            server.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while more := server.recv(65536):
                    data += more
            server.setblocking(True)
            client.sendall(data)
