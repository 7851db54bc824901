"""A turn: the server of an arm is started and measured, which gives one value.

A turn of a held load is a short search; any other is a run at each load, and the best of those that keep every
objective.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.clock import NS_PER_S, now_ns
from bench.config import RunConfig
from bench.errors import Interrupted, TargetError
from bench.load_search.conclusion import conclude
from bench.load_search.decisions import Ending
from bench.load_search.driver import Follower, SearchEnd
from bench.load_search.whole import carry_out, new_directory
from bench.load_search.whole import plan as search_plan
from bench.load_sweep.points import run_of
from bench.loads import KINDS
from bench.observer import LoadOnly, Observer
from bench.results.summary import RunSummary
from bench.results.tune import TuneLoad, TuneTurn
from bench.series.runs import RunSeries, aside
from bench.tuning import servers
from bench.tuning.race import Step
from bench.tuning.servers import Server
from bench.tuning.spec import Resolve, Spec

START_S = 15.0
"""The expected time of a start, before there is one."""
TURNS_IN_BUDGET = 4
"""The budget is divided so that every arm has room for this many turns."""
LEAST_VISIT_S, MOST_VISIT_S = 5.0, 60.0
LEAST_WARMUP_S, MOST_WARMUP_S = 2.0, 10.0
LEAST_SEARCH_S, MOST_SEARCH_S = 20.0, 180.0
USABLE = ("VALID", "SUSPECT")


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of the parts of a turn. `search_s` is the budget of a search."""

    warmup_s: float
    visit_s: float
    search_s: float

    def turn_s(self, spec: Spec) -> float:
        """The expected length of a turn."""
        if spec.goal == "held_load":
            return START_S + self.search_s
        return START_S + len(spec.loads.values) * (self.warmup_s + self.visit_s)


def lengths_of(spec: Spec) -> Lengths:
    """The lengths in the file, otherwise lengths that fit the budget."""
    room_s = (spec.first_budget_s or spec.budget_s) / (TURNS_IN_BUDGET * len(spec.arms)) - START_S
    each_s = room_s / len(spec.loads.values)
    visit_s = spec.visit_s
    if visit_s is None:
        visit_s = round(min(max(each_s * 6 / 7, LEAST_VISIT_S), MOST_VISIT_S), 1)
    warmup_s = spec.warmup_s
    if warmup_s is None:
        warmup_s = round(min(max(visit_s / 6, LEAST_WARMUP_S), MOST_WARMUP_S), 1)
    return Lengths(warmup_s, visit_s, min(max(room_s, LEAST_SEARCH_S), MOST_SEARCH_S))


def latency_of(objectives: Sequence[str]) -> str:
    """The latency of the points: from the first objective on a percentile, else E2EL p50."""
    for text in objectives:
        name = text.partition("<")[0].strip()
        if name.partition(":")[0] in ("ttft", "tpot", "e2el") and name.partition(":")[2] in ("p50", "p90", "p99"):
            return name
    return "e2el:p50"


class Turns:
    """Makes turns in the directory of a race."""

    def __init__(
        self,
        spec: Spec,
        series: RunSeries,
        resolved: Resolve,
        observer: Observer,
        carry_out: Callable[..., tuple[SearchEnd, object]] = carry_out,
    ) -> None:
        self.spec = spec
        self.lengths = lengths_of(spec)
        self._series = series
        self._resolved = resolved
        self._observer = observer
        self._carry_out = carry_out
        self._running: dict[int, tuple[int, Server]] = {}
        """The running servers by port, the least recently used first, each with its arm."""

    def make(self, step: Step, hint: float | None) -> TuneTurn:
        """Make a turn. `hint`: the load at which a search starts. Raises Interrupted and UsageError."""
        began_ns = now_ns()
        name = f"r{step.round}-a{step.arm}"
        made: list[TuneLoad] = []
        start_s: float | None = None
        why: str | None = None
        words: list[str] = []
        with self._server(step.arm, name) as server:
            try:
                start_s = self._wait(server, step)
                self._measure(server, step, name, hint, made)
                why = None if _values(self.spec, step.arm, made) else self._why_no_value(made)
            except TargetError as e:
                why = str(e)
            if not server.running and start_s is not None:
                why = f"the server {server.how_it_ended()} under load"
            if why is not None and (start_s is None or not server.running):
                words = server.last_words()
        values = _values(self.spec, step.arm, made) if why is None else []
        best = min if self.spec.goal.endswith("million_tokens") else max
        return TuneTurn(
            arm=step.arm, round=step.round, value=best(values) if values else None,
            seconds=(now_ns() - began_ns) / NS_PER_S, start_s=start_s, loads=made, why=why, last_words=words,
            worse_answers=(),
        )  # fmt: skip

    def stop_all(self) -> None:
        """End every server."""
        while self._running:
            _, (_, server) = self._running.popitem()
            server.stop()

    @contextmanager
    def _server(self, arm: int, name: str) -> Iterator[Server]:
        """The server of an arm, started if it is not running."""
        for port, (running, server) in list(self._running.items()):
            if not server.running:
                del self._running[port]
                server.stop()
            elif running == arm:
                self._running[port] = self._running.pop(port)
                yield server
                return
        port = self._free_port()
        words = self.spec.arms[arm].words(self.spec.server.command, port)
        server = servers.start(self.spec.server, words, port, self._series.path / f"{name}.log")
        self._running[port] = (arm, server)
        try:
            yield server
        finally:
            if not (self.spec.server.together and server.running):
                del self._running[port]
                with self._observer.waiting("waiting for the server to end"):
                    server.stop()

    def _free_port(self) -> int:
        """A port of the file that no server of ours has; if all are taken, the least recently used server is stopped."""
        ports = self.spec.server.ports
        if len(self._running) >= len(ports):
            self._running.pop(next(iter(self._running)))[1].stop()
        free = next(port for port in ports if port not in self._running)
        return free or servers.free_port()

    def _wait(self, server: Server, step: Step) -> float:
        began_ns = now_ns()
        config = self._config(server, step, self.spec.loads.values[0])
        with self._observer.waiting(f"waiting for the server: {self.spec.arms[step.arm].name}"):
            servers.wait_for(server, self.spec.server, config)
        return (now_ns() - began_ns) / NS_PER_S

    def _measure(self, server: Server, step: Step, name: str, hint: float | None, made: list[TuneLoad]) -> None:
        if self.spec.goal == "held_load":
            servers.clear_cache(self.spec.server, server)
            made.append(self._search(server, step, f"{name}-search", hint))
            return
        for load in self.spec.loads.values:
            servers.clear_cache(self.spec.server, server)
            visit = f"{name}-{self.spec.loads.kind}-{load:g}"
            result = self._series.make(visit, self._config(server, step, load)).result
            made.append(self._load_of(visit, load, result.summary))

    def _settings(self, server: Server, step: Step) -> dict[str, object]:
        cost = {} if self.spec.gpu_hour_cost is None else {"gpu_hour_cost": self.spec.gpu_hour_cost}
        return {
            "name": "tune", "gpus": self.spec.arms[step.arm].gpus, **self.spec.load, **cost,
            "url": self.spec.server.url_at(server.port), "slo": self.spec.objectives,
            # The arms of a round get the same arrivals and lengths.
            "seed": self.spec.seed + step.round - 1,
        }  # fmt: skip

    def _config(self, server: Server, step: Step, load: float) -> RunConfig:
        lengths, kind = self.lengths, KINDS[self.spec.loads.kind]
        settings = {**self._settings(server, step), **kind.flags(load)}
        settings |= {"duration": lengths.visit_s, "warmup": f"{lengths.warmup_s:g}s"}
        if kind.whole and "ramp_up" not in settings:
            settings["ramp_up"] = round(lengths.warmup_s / 2, 3)
        return self._resolved(settings)

    def _load_of(self, name: str, load: float, summary: RunSummary) -> TuneLoad:
        numbers = run_of(name, load, 1, summary, open_loop=self.spec.loads.kind == "rate")
        gpu = summary.gpu
        held = (summary.slo.held or not summary.slo.objectives) and numbers.kept_up is not False
        return TuneLoad(
            name=name, load=load, status=numbers.status, held=held,
            tokens_per_s=numbers.numbers["output_tokens_per_s"].value,
            latency=numbers.numbers[latency_of(self.spec.objectives)].value,
            joules_per_token=None if gpu is None else gpu.joules_per_output_token,
        )  # fmt: skip

    def _search(self, server: Server, step: Step, name: str, hint: float | None) -> TuneLoad:
        path = self._series.path / name
        if path.exists():  # It was interrupted: a search of a new server does not resume the visits to an old one.
            path.rename(aside(path))
        of_search: Mapping[str, str] = {"precision": "5%", **self.spec.search}
        of_search = {"budget": f"{self.lengths.search_s:.0f}s", **of_search}
        if hint is not None:
            of_search = {**of_search, "start": f"{round(hint) if of_search.get('load') == 'concurrency' else hint:g}"}
        settings = {**self._settings(server, step), "out": str(path)}
        plan = search_plan(settings, of_search, lambda amount: self._resolved({**settings, **amount}))
        directory = new_directory(plan.base, self._series.command)
        runs = RunSeries(path, command=self._series.command, observer=LoadOnly(self._observer))
        end, _ = self._carry_out(plan.search, plan.wanted, plan.base, directory, runs, Follower())
        if end.stopped_by is Ending.INTERRUPTED:
            raise Interrupted(f"interrupted: {path} is not complete")
        if end.error is not None and not plan.search.results:
            raise end.error
        conclusion = conclude(plan.search)
        load = conclusion.at_least if conclusion.known is None else conclusion.known.estimate
        return TuneLoad(name=name, load=load or 0.0, status=str(conclusion.kind), held=load is not None)

    def _why_no_value(self, made: Sequence[TuneLoad]) -> str:
        if self.spec.goal == "held_load":
            return f"the search concluded: {made[-1].status}"
        statuses = {row.status for row in made}
        if not statuses & {*USABLE}:
            return f"no run can be used: {', '.join(sorted(statuses))}"
        if not any(row.held for row in made if row.status in USABLE):
            return "no load kept every objective"
        return (
            "the runs have no tokens per second" if "joules" not in self.spec.goal else "no power of a GPU was measured"
        )


def _values(spec: Spec, arm: int, made: Sequence[TuneLoad]) -> list[float]:
    """The goal's value at each load that counts."""
    if spec.goal == "held_load":
        return [row.load for row in made if row.held]
    usable = [row for row in made if row.held and row.status in USABLE]
    match spec.goal:
        case "tokens_per_s":
            return [row.tokens_per_s for row in usable if row.tokens_per_s]
        case "joules_per_million_tokens":
            return [row.joules_per_token * 1e6 for row in usable if row.joules_per_token]
        case "dollars_per_million_tokens":
            return [cost for row in usable if (cost := dollars(spec, arm, row.tokens_per_s)) is not None]


def dollars(spec: Spec, arm: int, tokens_per_s: float | None) -> float | None:
    """The cost of a million output tokens: price x GPUs / (tokens/s x 3600) x 1e6."""
    if spec.gpu_hour_cost is None or not tokens_per_s:
        return None
    return spec.gpu_hour_cost * spec.arms[arm].gpus / (tokens_per_s * 3600) * 1e6
