"""Each claim behind the statistics, tested in virtual time: one function per claim, with the number of tries as its
argument.

`scripts/simulate-statistics` runs long simulations and prints their results; the tests run short ones, with the same
seeds.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bench.load_search.decisions import Settings
from bench.load_search.goals import Goal
from bench.metrics.arrivals import Arrivals
from bench.metrics.columns import NONE, Columns
from bench.metrics.scope import RunData, Scope
from bench.metrics.token_gaps import TokenGaps
from bench.metrics.tokens import TokenTimes
from bench.metrics.window import Window
from bench.records import RequestRecord
from bench.results.base import to_plain
from bench.statistics.autocorrelation import act, dependence
from bench.statistics.between_runs import Answer, batches, one_run_each, paired, welch
from bench.statistics.gate import Metric, Verdict, judge
from bench.statistics.keeps_up import backlog, growth, in_flight
from bench.statistics.knee import Knee, fit
from bench.statistics.multiple import holm
from bench.statistics.steady_state import halves
from mockserver.engine.closed_form import ClosedForm
from mockserver.step_cost import StepCost
from tests.support.batching_model import S1, S2, S3, Array, Served, Server, closed_loop, open_loop, poisson
from tests.support.made_records import START_NS, made_record
from tests.support.search_model import Found, Grade, Limit, goodput, grade, run_search, tpot, ttft
from tests.support.tables import table_of

WARM_S = 60.0
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
FAST = Server(
    StepCost(b0=3_000, b1=8, b2=40, a0=1_000, max_num_seqs=256, max_num_batched_tokens=8192), 256, 32, 0.3, 0.3
)
"""A server of short requests (a third of a second), for which a budget of one minute is enough."""


@dataclass(frozen=True, slots=True)
class Load:
    """A load on a server: requests per second (Poisson), or users of a closed loop."""

    name: str
    server: Server
    rate: float | None = None
    users: int | None = None

    def run(self, seconds: float, seed: int) -> Served:
        """A run of this many seconds after the warm-up; `sent_s` counts from its beginning."""
        rng = np.random.default_rng([seed, 7])
        if self.users is not None:
            return closed_loop(self.server, self.users, WARM_S + seconds, rng, ramp_s=5.0)
        assert self.rate is not None
        return open_loop(self.server, poisson(self.rate, WARM_S + seconds, rng), rng)


LOADS = [
    *(Load(f"S1 Poisson {share:.0%}", S1, rate=38.2 * share) for share in (0.5, 0.8, 0.95)),
    *(Load(f"S2 Poisson {share:.0%}", S2, rate=29.6 * share) for share in (0.5, 0.8, 0.95)),
    *(Load(f"S2 closed {share:.0%}", S2, users=users) for share, users in ((0.5, 39), (0.8, 155), (0.95, 740))),
]
"""Half, 80% and 95% of the capacity: of the load that holds an objective, and of the maximum throughput."""
SHORT_LOADS = [
    *LOADS,
    *(Load(f"S1 closed {share:.0%}", S1, users=users) for share, users in ((0.5, 39), (0.8, 155))),
    Load("S3 Poisson 95%", S3, rate=13.45 * 0.95),
]
"""The same, and a server whose mean depends on queues that a short run may not meet: no interval can know of them."""


METRICS = ("ttft_ms", "tpot_ms")
RATES = ("requests_per_s", "output_tokens_per_s")


@lru_cache(maxsize=16)
def truth(load: Load, runs: int = 24, seconds: float = 3_000.0) -> Mapping[str, float]:
    """The results of long runs, by "metric:statistic", or the name of a rate."""
    kept: dict[str, list[Array]] = {metric: [] for metric in METRICS}
    rates: dict[str, list[float]] = {rate: [] for rate in RATES}
    for seed in range(runs):
        served = load.run(seconds, 900_000 + seed)
        inside = served.between(WARM_S, WARM_S + seconds)
        kept["ttft_ms"].append(inside.ttft_ms)
        kept["tpot_ms"].append(inside.tpot_ms)
        ended = (served.last_s >= WARM_S) & (served.last_s <= WARM_S + seconds)
        rates["requests_per_s"].append(float(ended.sum()) / seconds)
        rates["output_tokens_per_s"].append(float(served.tokens_per_s(WARM_S, WARM_S + seconds).mean()))
    found = {rate: float(np.mean(values)) for rate, values in rates.items()}
    for metric, parts in kept.items():
        values = np.concatenate(parts)
        found |= {f"{metric}:{name}": float(np.quantile(values, p)) for name, p in QUANTILES.items()}
        found[f"{metric}:mean"] = float(values.mean())
    return found


def reported(served: Served, start_s: float, end_s: float, gaps: bool = False) -> dict[str, dict[str, Any]]:
    """A report's numbers for a window of a run: `latency` and `throughput` of a summary, from the code that makes them.

    The gaps between tokens take time, so they are computed on demand.
    """
    columns = Columns(0)
    n = len(served.sent_s)
    columns.index = array("q", range(n))
    columns.sent, columns.end = array("d", served.sent_s * 1e9), array("d", served.last_s * 1e9)
    columns.ok, columns.good = bytearray(b"\1" * n), bytearray(n)
    columns.input_tokens = array("d", np.zeros(n))
    for key in columns.metrics:
        columns.metrics[key] = array("d", np.full(n, NONE))
    columns.metrics["ttft_ms"] = array("d", served.ttft_ms)
    columns.metrics["tpot_ms"] = array("d", served.tpot_ms)
    tokens = Arrivals()
    # Each request produces a token per step, from its first step on.
    begins = np.bincount(served.first_step, minlength=len(served.step_ends_s) + 2)
    ends = np.bincount(served.first_step + served.output_tokens.astype(int), minlength=len(begins))[: len(begins)]
    at_ns, running = (np.asarray(served.step_ends_s) * 1e9).astype("q"), np.cumsum(begins - ends)[1:]
    tokens.add(at_ns[: len(running)], running[: len(at_ns)].astype("q"))
    times = TokenTimes(0)
    if gaps:
        table = table_of(*(_record(index, columns.sent[index] / 1e6, served.gaps_ms(index)) for index in range(n)))
        times.add(table, TokenGaps(table), START_NS)
    scope = Scope(RunData(columns, times, tokens, Arrivals()), Window(int(start_s * 1e9), int(end_s * 1e9), "given"))
    return {"latency": to_plain(scope.latency()), "throughput": to_plain(scope.throughput())}


def _record(index: int, sent_ms: float, gaps_ms: Any) -> RequestRecord:
    return made_record(index, sent_ms=sent_ms, chunks_ms=[1.0, *(1.0 + np.cumsum(gaps_ms)).tolist()])


def coverage(load: Load, seconds: float, runs: int, truth_runs: int = 24) -> dict[str, tuple[int, int]]:
    """By metric and statistic: how many intervals of a report contained the truth, and how many runs had one."""
    known = truth(load, truth_runs)
    result = dict.fromkeys(known, (0, 0))
    for seed in range(runs):
        report = reported(load.run(seconds, seed), WARM_S, WARM_S + seconds)
        for name in known:
            metric, _, statistic = name.partition(":")
            ci95 = report["latency"][metric]["ci95"] if statistic else report["throughput"]["ci95"]
            ends = ci95[statistic or metric]
            if ends is not None:
                hits, given = result[name]
                result[name] = (hits + (ends[0] <= known[name] <= ends[1]), given + 1)
    return result


def uncorrected_coverage(load: Load, seconds: float, runs: int, truth_runs: int = 24) -> dict[str, tuple[int, int]]:
    """The same for TTFT, with order statistics that treat every request as independent."""
    known = truth(load, truth_runs)
    result = {}
    for name, p in QUANTILES.items():
        hits = 0
        for seed in range(runs):
            values = np.sort(load.run(seconds, seed).between(WARM_S, WARM_S + seconds).ttft_ms)
            reach = 1.96 * math.sqrt(p * (1 - p) / len(values))
            low, high = np.quantile(values, (max(0.0, p - reach), min(1.0, p + reach)))
            hits += bool(low <= known[f"ttft_ms:{name}"] <= high)
        result[f"ttft_ms:{name}"] = (hits, runs)
    return result


def token_coverage(load: Load, seconds: float, runs: int, truth_runs: int = 40) -> dict[str, tuple[int, int]]:
    """Coverage of the mean and the quantiles of the gaps between tokens, in the steady window of a report."""

    def gaps(served: Served) -> Array:
        inside = served.between(WARM_S, WARM_S + 400)
        return np.concatenate([inside.gaps_ms(i) for i in range(len(inside.sent_s))])

    pooled = np.concatenate([gaps(load.run(400, 800_000 + seed)) for seed in range(truth_runs)])
    known = {"mean": float(pooled.mean()), **{name: float(np.quantile(pooled, p)) for name, p in QUANTILES.items()}}
    result = dict.fromkeys(known, (0, 0))
    for seed in range(runs):
        row = reported(load.run(seconds, seed), WARM_S, WARM_S + seconds, gaps=True)["latency"]["itl_ms"]
        for name, true in known.items():
            if (ends := row["ci95"][name]) is not None:
                hits, given = result[name]
                result[name] = (hits + (ends[0] <= true <= ends[1]), given + 1)
    return result


@dataclass(frozen=True, slots=True)
class SearchObjective:
    """What a search looks for, and its true value."""

    name: str
    server: Server
    limits: tuple[Limit, ...]
    capacity: float
    load_kind: str = "rate"
    start: float = 1.0


@lru_cache(maxsize=32)
def capacity_by_bisection(server: Server, value: Callable[[Served], Array], limit: float, allowed: float) -> float:
    """The load at which exactly the allowed share of requests is over a limit, from runs of an hour with common random
    numbers.

    `SearchObjective.capacity` comes from here (`scripts/simulate-statistics capacities`).
    """
    low, high = 1.0, 2_000.0
    while high / low > 1.003:
        middle = math.sqrt(low * high)
        over = total = 0
        for seed in range(4):
            rng = np.random.default_rng([seed, 11])
            seconds = min(3_600.0, 200_000 / middle)
            served = open_loop(server, poisson(middle, WARM_S + seconds, rng), rng).between(WARM_S, WARM_S + seconds)
            values = value(served)
            over, total = over + int((values > limit).sum()), total + len(values)
        low, high = (low, middle) if over > allowed * total else (middle, high)
    return math.sqrt(low * high)


def searches(sought: SearchObjective, budget_s: float, n: int, precision: float = 0.02) -> tuple[Grade, list[Found]]:
    """`n` graded searches. An unreachable precision makes each spend its budget."""
    settings = Settings(
        "rate" if sought.load_kind == "rate" else "concurrency", tuple(limit.goal for limit in sought.limits),
        start=sought.start, least=1.0, precision=precision, budget_s=budget_s,
    )  # fmt: skip
    found = [run_search(sought.server, sought.limits, settings, seed) for seed in range(n)]
    return grade(found, sought.capacity), found


def seek_ttft() -> SearchObjective:
    return SearchObjective("S1 ttft:p99<500ms", S1, (ttft("p99", 500, 0.01),), 38.2)


def seek_tpot() -> SearchObjective:
    return SearchObjective("S2 tpot:p99<50ms", S2, (tpot("p99", 50, 0.01),), 29.6)


def seek_own() -> SearchObjective:
    """A search of our own server: a queue behind a cap on sequences."""
    limit = ttft("p99", 800, 0.01)
    return SearchObjective("S3 ttft:p99<800ms", S3, (limit,), 13.45)


def seek_goodput() -> SearchObjective:
    limit = goodput(400, 40, 0.95)
    return SearchObjective("S2 goodput>=95%", S2, (limit,), 30.04)


def seek_both() -> SearchObjective:
    """Two objectives. TPOT is the binding one."""
    return SearchObjective(
        "S2 ttft:p99<900ms, tpot:p99<50ms", S2, (ttft("p99", 900, 0.01), tpot("p99", 50, 0.01)), 29.6
    )


def seek_fast() -> SearchObjective:
    limit = ttft("p99", 60, 0.01)
    return SearchObjective("fast ttft:p99<60ms", FAST, (limit,), 247.7)


def seek_backlog() -> SearchObjective:
    """A limit on TPOT that no load breaks: only the backlog does. The capacity is what the server serves when flooded."""
    return SearchObjective("S3 tpot:p99<100ms (keeps up)", S3, (tpot("p99", 100, 0.01),), flooded(S3))


def seek_mean(server: Server, load: float, metric: str, truth_runs: int = 24) -> SearchObjective:
    """A limit on a mean, set to the mean at a known load."""
    name = next(name for name in ("S1", "S2", "S3") if globals()[name] is server)
    level = truth(Load("", server, rate=load), truth_runs)[f"{metric}_ms:mean"]
    limit = (ttft if metric == "ttft" else tpot)("mean", level, None)
    return SearchObjective(f"{name} {metric}:mean", server, (limit,), load)


def seek_users(server: Server, users: int) -> SearchObjective:
    """A closed loop. The limit on TPOT p90 is the value at this many users."""
    served = closed_loop(server, users, 660, np.random.default_rng(5), ramp_s=5.0).between(60, 660)
    limit = Limit(Goal("tpot:p90", 0.1), lambda served: served.tpot_ms, float(np.quantile(served.tpot_ms, 0.9)) * 1.002)
    return SearchObjective(f"closed loop, {users} users", server, (limit,), users, load_kind="concurrency")


@lru_cache(maxsize=8)
def flooded(server: Server) -> float:
    """Requests per second of a server that never runs out of them."""
    rng = np.random.default_rng(1)
    ended = np.sort(open_loop(server, [0.0] * 20_000, rng).last_s)
    return 16_000 / float(ended[18_000] - ended[2_000])


def flags(server: Server, share: float, settle_s: float, measure_s: float, n: int) -> float:
    """The share of visits, at a share of the flooded rate, that report growing requests in flight."""
    flagged = 0
    for seed in range(n):
        rng = np.random.default_rng([seed, int(share * 1_000)])
        end_s = settle_s + measure_s
        served = open_loop(server, poisson(share * flooded(server), end_s, rng), rng)
        flagged += in_flight(served.sent_s, served.last_s, settle_s, end_s).grows
    return flagged / n


def backlogs(server: Server, share: float, seconds: float, n: int, *, rises: bool = False) -> float:
    """The share of runs on an initially idle server, at a share of the flooded rate, that are flagged as piling up.
    `rises`: for recordings whose rate rises from a third to its full value."""
    said = 0
    for seed in range(n):
        rng = np.random.default_rng([seed, int(share * 1_000), 7])
        due = poisson(share * flooded(server), seconds, rng)
        if rises:
            due = [at for at, drawn in zip(due, rng.random(len(due)), strict=True) if 3 * drawn < 1 + 2 * at / seconds]
        served = open_loop(server, due, rng)
        grown = growth(served.sent_s, served.last_s - served.sent_s)
        found = backlog(served.sent_s, served.last_s, grown, even=not rises)
        said += found is not None and found.rises
    return said / n


def compared_with_itself(load: Load, seconds: float, runs: int, n: int, how: str) -> float:
    """The share of comparisons of a load with itself that report `differs` for any of the primary latencies, under
    Holm.

    `how`: welch or paired over `runs` runs per side, or batches of one run each.
    """
    alarms = 0
    for i in range(n):
        sides = [[load.run(seconds, 1_000 * i + 2 * k + side + 50_000) for k in range(runs)] for side in range(2)]
        differences = []
        for statistic in (_ttft_p90, _tpot_p50):
            if how == "batches":
                a, b = (_batched(runs_[0], statistic, seconds) for runs_ in sides)
                if a is None or b is None:
                    continue
                differences.append(one_run_each(a, b))
            else:
                a, b = ([statistic(served.between(WARM_S, WARM_S + seconds)) for served in side] for side in sides)
                differences.append((welch if how == "welch" else paired)(a, b))
        corrected = holm([difference.p for difference in differences])
        alarms += any(
            d.answer(p=p) in (Answer.DIFFERS, Answer.THESE_DIFFER) for d, p in zip(differences, corrected, strict=True)
        )
    return alarms / n


def _ttft_p90(served: Served) -> float:
    return float(np.quantile(served.ttft_ms, 0.9))


def _tpot_p50(served: Served) -> float:
    return float(np.quantile(served.tpot_ms, 0.5))


def _batched(served: Served, statistic: Callable[[Served], float], seconds: float) -> list[float] | None:
    inside = served.between(WARM_S, WARM_S + seconds)
    values = inside.ttft_ms if statistic is _ttft_p90 else inside.tpot_ms
    order = 0.9 if statistic is _ttft_p90 else 0.5

    def quantile(batch: Sequence[float]) -> float:
        return float(np.quantile(np.asarray(batch), order))

    return batches(values.tolist(), quantile, act(values))


def found_changes(change: float, noise: float, pairs: int, n: int) -> tuple[float, float]:
    """For pairs of runs with a real change: how often `differs`, and how often the interval contained the change."""
    rng = np.random.default_rng(3)
    found = held = 0
    for _ in range(n):
        a = np.exp(rng.normal(0, noise, pairs))
        b = np.exp(rng.normal(math.log1p(change), noise, pairs))
        difference = paired(a.tolist(), b.tolist())
        found += difference.p < 0.05
        held += difference.low <= change <= difference.high
    return found / n, held / n


def gate_failures(change: float, noise: float, n: int, baseline: int = 5, candidate: int = 5, seed: int = 0) -> float:
    """The share of gates that fail when the first of six independent metrics changes by `change`."""
    rng = np.random.default_rng([seed, 13])
    failed = 0
    for _ in range(n):
        metrics = {}
        unchanged = ("ttft tail", "tpot", "tpot tail", "tokens", "errors")
        for name, shift in (("ttft", change), *((name, 0.0) for name in unchanged)):
            before = rng.lognormal(0, noise, baseline).tolist()
            metrics[name] = Metric(
                before, rng.lognormal(math.log1p(shift), noise, candidate).tolist(), name != "tokens"
            )
        failed += any(judged.verdict is Verdict.FAILED for judged in judge(metrics).values())
    return failed / n


GATED = {"ttft:p90": 1.0, "ttft:p99": 2.0, "tpot:p50": 1.0, "tpot:p99": 2.0, "tokens": 1.0}
"""The ratios that a gate compares with a baseline, and how much they vary from run to run, in units of the spread."""
SPREADS = ("independent", "alike", "heavy tails", "outliers", "drift", "sessions")


def gate_alarms(
    kind: str, spread: float, n: int, baseline: int = 5, candidate: int = 5, tail: float = 0.0, seed: int = 0
) -> float:
    """The share of gates that fail, over every number compared with a baseline, when p99 of TTFT changes by `tail`.

    `kind` is how runs vary: normally on the log scale, each number by itself (independent) or nearly as one (alike, a
    correlation of 0.9); by Student's t with 3 degrees of freedom of the same spread (heavy tails); one run of twenty
    slower by 30% (outliers); 1% slower from run to run, the candidates last (drift); and the candidates at another
    time, which moves them together by as much as runs vary (sessions). All but the first are alike.
    """
    rng = np.random.default_rng([seed, SPREADS.index(kind), 17])
    runs = baseline + candidate
    failed = 0
    for _ in range(n):
        common = rng.standard_t(3, runs) / math.sqrt(3) if kind == "heavy tails" else rng.normal(size=runs)
        later = np.arange(runs) >= baseline
        shift: Any = np.zeros(runs)
        if kind == "outliers":
            shift = 0.3 * (rng.random(runs) < 0.05)
        elif kind == "drift":
            shift = 0.01 * np.arange(runs)
        elif kind == "sessions":
            shift = later * rng.normal(0, spread)
        metrics = {"errors": Metric([0.0] * baseline, [0.0] * candidate, True, ratio=False, margin=0.01,
                                    independent=(400 * baseline, 400 * candidate))}  # fmt: skip
        for name, times in GATED.items():
            own = rng.normal(size=runs)
            noise = own if kind == "independent" else math.sqrt(0.9) * common + math.sqrt(0.1) * own
            log = spread * times * noise + shift + later * (math.log1p(tail) if name == "ttft:p99" else 0.0)
            values = np.exp(-log if name == "tokens" else log).tolist()
            metrics[name] = Metric(values[:baseline], values[baseline:], name != "tokens")
        failed += any(judged.verdict is Verdict.FAILED for judged in judge(metrics).values())
    return failed / n


def drifts(kind: str, load: Load, seconds: float, n: int) -> float:
    """The share of runs in which the halves of TPOT per second are reported to differ. The server is unchanged, or its
    TPOT drifts by 10 or 25% over the run, or jumps by 15% in the middle."""
    found = 0
    for seed in range(n):
        served = load.run(seconds, seed)
        inside = served.between(WARM_S, WARM_S + seconds)
        second = (inside.last_s - WARM_S).astype(int)
        inside_run = (second >= 0) & (second < seconds)
        count = np.bincount(second[inside_run], minlength=int(seconds))
        sums = np.bincount(second[inside_run], weights=inside.tpot_ms[inside_run], minlength=int(seconds))
        series = (sums / np.maximum(count, 1))[int(min(20, seconds / 4)) :]
        share = np.arange(len(series)) / len(series)
        shape = {
            "none": 0 * share,
            "drift 10%": 0.1 * share,
            "drift 25%": 0.25 * share,
            "step 15%": 0.15 * (share > 0.5),
        }
        tested = halves(series * (1 + shape[kind]))
        found += tested is not None and tested.drifted
    return found / n


def knee_of_model(loads: Sequence[int], seconds: float = 300.0, seed: int = 1) -> tuple[Knee, float]:
    """The knee fitted to a closed-loop sweep over S1, and N1/2 of the closed form."""
    throughputs = []
    for users in loads:
        served = closed_loop(S1, users, WARM_S + seconds, np.random.default_rng([seed, users]), ramp_s=10.0)
        throughputs.append(float(served.tokens_per_s(WARM_S, WARM_S + seconds).mean()) / S1.output_tokens)
    knee = fit(loads, throughputs)
    assert knee is not None
    return knee, ClosedForm(S1.cost, S1.input_tokens, S1.output_tokens).half_load_users


def dependence_of(load: Load, seconds: float, seed: int = 0) -> float:
    """D of TTFT in one run."""
    return dependence(load.run(seconds, seed).between(WARM_S, WARM_S + seconds).ttft_ms).d
