"""Climbs the ladders: every step is a run of `bench.load_test`, and its numbers come from that run's summary."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.clock import NS_PER_S, now_ns
from bench.config import RunConfig, resolve
from bench.errors import BenchError, UsageError
from bench.limits.ladder import LADDERS, NO_TIME, Climb, Ladder, Step, climb_of, judge_step, next_load
from bench.limits.result import MachineLimits
from bench.limits.source import READY
from bench.machine import preflight
from bench.observer import Observer
from bench.process.mock_process import running_mock
from bench.series.drive import drive
from bench.series.files import stamp
from bench.series.runs import RunSeries, unless_interrupted


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. It sends each token `gap_ms` after the previous one, and the first `gap_ms` after the request."""

    url: str
    pid: int

    def cpu_s(self) -> float | None:
        """Processor time used so far, in seconds (proc(5), /proc/PID/stat). Returns None if the system does not report
        it."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return None
        return None if sys.platform == "win32" else ticks_of(stat) / os.sysconf("SC_CLK_TCK")


def ticks_of(stat: str) -> int:
    """The processor time in a /proc/PID/stat: utime and stime, the 12th and 13th fields after the program's name, which
    is in parentheses and may contain blanks."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def bare_source(gap_ms: float) -> Iterator[Server]:
    """Our bare source. Raises BenchError if it does not start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.limits.source", "--gap-ms", f"{gap_ms:g}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C must reach only this process.
    )
    with process:  # On exit, closes its standard input, which ends it, and waits.
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(READY):
            raise BenchError(f"the source ended with status {process.wait()} before it was ready: its error is above")
        yield Server(line.removeprefix(READY).strip(), process.pid)


@contextmanager
def mock(gap_ms: float) -> Iterator[Server]:
    """Our mock, with the same times."""
    with running_mock(f"--ttft {gap_ms:g}ms --tpot {gap_ms:g}ms", seed=0, tokenizer=None) as running:
        yield Server(running.url, running.process.pid)


SERVERS: dict[str, Callable[[float], AbstractContextManager[Server]]] = {
    "the bare source": bare_source,
    "the mock": mock,
}
"""By their names in reports. The first is the cheapest, so it shows the client's own ceiling."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Time limits: seconds of load per step, and seconds for all steps, after which no step begins."""

    step_s: float
    all_s: float


FULL = Pace(step_s=2.2, all_s=72.0)
QUICK = Pace(step_s=1.1, all_s=15.0)

CAP_S = 0.25
CAP_LEAST = 64
"""Caps the requests in flight at this many seconds of load: a slower reply has fallen far behind the pace."""


def measure(*, quick: bool, observer: Observer) -> MachineLimits:
    """Climb every ladder against every server. Raises Interrupted, and BenchError if a server does not start."""
    pace = QUICK if quick else FULL
    ladders = {name: ladder.quick() if quick else ladder for name, ladder in LADDERS.items()}
    until_ns = now_ns() + round(pace.all_s * NS_PER_S)
    climbs: dict[str, dict[str, Climb]] = {name: {} for name in ladders}
    with contextlib.suppress(UsageError):  # The servers inherit the limit; a step that needs more will report it.
        preflight.open_files_for(max(ladder.steps[-1] for ladder in ladders.values() if ladder.kind == "streams"))
    for server, start in SERVERS.items():
        for name, ladder in ladders.items():
            observer.say(f"{ladder.title}, against {server}")
            if now_ns() >= until_ns:
                climbs[name][server] = Climb(steps=(), ended=NO_TIME)
                continue
            with start(ladder.gap_ms) as running:
                climbs[name][server] = climb(ladder, server, running, pace.step_s, until_ns, observer)
    return MachineLimits(
        **stamp(),
        quick=quick,
        climbs=climbs,
    )


def climb(ladder: Ladder, server: str, running: Server, step_s: float, until_ns: int, observer: Observer) -> Climb:
    """Climb until a step does not hold. A step that fails while other programs are busy is tried once more."""
    taken, end = drive(
        lambda steps: next_load(ladder, steps, time_is_over=now_ns() >= until_ns),
        lambda asked: _take(ladder, asked, server, running, step_s, observer),
        tell=lambda _, step: observer.say(_step_line(ladder, step)),
        # The machine does not allow this load (open files, ports), or the server no longer answers a probe.
        why_error_ends=lambda _, error: str(error).splitlines()[0],
    )
    end.refuse_interrupted("interrupted: the limits are not known yet, and nothing was stored")
    return climb_of(taken, str(end.why))


def _take(ladder: Ladder, asked: int, server: str, running: Server, step_s: float, observer: Observer) -> Step:
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        config = load_of(ladder, asked, running.url, step_s, Path(folder))
        before_s = running.cpu_s()
        result = unless_interrupted(RunSeries(Path(folder), observer=observer, progress=False).run("run", config))
        after_s = running.cpu_s()
    used_s = None if before_s is None or after_s is None else after_s - before_s
    return judge_step(ladder, asked, result.summary, result.verdict, server, used_s)


def load_of(ladder: Ladder, asked: int, url: str, step_s: float, folder: Path) -> RunConfig:
    """The run of one step. All requests have the same short prompt, so generating prompts costs nothing."""
    data = folder / "prompts.jsonl"
    data.write_bytes(orjson.dumps({"prompt": "Say hello."}) + b"\n")
    flags: dict[str, object] = {
        "url": url,
        "name": "limits",
        "dataset": str(data),
        "workers": "1",
        "quiet": True,
        "server_metrics": ("off",),
        "gpu_metrics": "off",
    }
    if ladder.kind == "rate":
        cap = max(CAP_LEAST, round(asked * CAP_S))
        return resolve({**flags, "rate": asked, "max_concurrency": cap, "duration": step_s, "output_tokens": "1"})
    # The streams start evenly over one gap, for a steady flow of chunks rather than bursts.
    tokens = max(2, round(step_s * 1000 / ladder.gap_ms))
    spread_s = ladder.gap_ms / 1000
    return resolve(
        {**flags, "concurrency": asked, "requests": asked, "ramp_up": spread_s, "output_tokens": str(tokens)}
    )


def _step_line(ladder: Ladder, step: Step) -> str:
    late = (
        ""
        if step.lateness_ms is None
        else f", sends late by p50 {step.lateness_ms[0]:.2f} p99 {step.lateness_ms[1]:.2f} ms"
    )
    return f"  {step.load:,.0f} {ladder.unit}{late}: {'holds' if step.cause is None else f'limited by {step.cause}'}"
