"""Fitted servers with steps of many shapes, and the mock's errors at unseen loads."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from bench.fit.batching import fit_batching
from bench.fit.profile import batching_profile
from bench.fit.streams import Stream
from bench.results.base import to_plain
from bench.results.profile import Profile
from bench.rng import stream
from mockserver.simulate import Job, simulate
from tests.support.made_runs_of_fit import made_runs
from tests.support.step_families import FAMILIES
from tests.support.step_server import StepServer, closed_loop

WITHIN = {"TTFT p50": 0.10, "TTFT p99": 0.20, "TPOT p50": 0.10, "TPOT p99": 0.20, "tokens/s": 0.05}
USERS, RATE_SHARE = 8, 0.6


@dataclass(frozen=True)
class Case:
    """A server, the length of its runs, and the length of the loads that compare it with the mock."""

    family: str
    server: StepServer
    seed: int
    fit_s: float = 60.0
    compare_s: float = 300.0


def cases(servers: int, fit_s: float = 60.0) -> Iterator[Case]:
    """Servers of all families in turn."""
    names = [*FAMILIES]
    for seed in range(servers):
        chance = random.Random(seed)
        name = names[seed % len(names)]
        b0 = chance.uniform(3_000, 20_000)
        server = StepServer(
            b0=b0, b1=chance.uniform(0.001, 0.004) * b0, b2=chance.uniform(0.005, 0.05) * b0, b3=0.0,
            a0=chance.uniform(1_000, 8_000), w0=chance.choice((0.0, 0.4 * b0)), jitter_us=chance.uniform(10, 80),
            prompt=chance.choice((0.0, 0.3 * b0)), varied=FAMILIES[name],
        )  # fmt: skip
        yield Case(name, server, seed, fit_s)


def intervals_held(servers: int) -> dict[str, int]:
    """For how many servers with even steps, seen for 10 s at each load, the interval of a coefficient contains the
    truth."""
    held = dict.fromkeys(("b0", "b1", "b2", "b3"), 0)
    for seed in range(servers):
        server = StepServer(b3=0.5 * (seed % 2))
        runs = _fitted_runs(Case("even", server, 1_000 + seed, fit_s=10.0))
        found = fit_batching(runs, stream(seed, "fit")).steps.coefficients
        for name in held:
            held[name] += found[name].low <= getattr(server, name) <= found[name].high
    return held


def numbers(rows: Iterable[tuple[float, float, float, int]]) -> dict[str, float]:
    """The numbers of a load, without its first tenth: ms, and tokens per second. A row: sent, first and last token
    (us), tokens."""
    sent_us, first_us, last_us, tokens = np.array([*rows], dtype=np.float64).T
    begin, end = 0.1 * sent_us.max(), sent_us.max()
    late = sent_us >= begin
    several = late & (tokens > 1)
    values = {
        "TTFT": (first_us - sent_us)[late] / 1e3,
        "TPOT": ((last_us - first_us)[several] / (tokens[several] - 1)) / 1e3,
    }
    found = {f"{name} p{p}": float(np.quantile(of, p / 100)) for name, of in values.items() for p in (50, 99)}
    done = (last_us >= begin) & (last_us < end)
    return found | {"tokens/s": float(tokens[done].sum()) / (end - begin) * 1e6}


def profile_of(case: Case, runs: Sequence[Sequence[Stream]]) -> Profile:
    """The fit of runs of the server."""
    fit = fit_batching(runs, stream(case.seed, "fit"))
    return batching_profile(fit, made_runs(runs), date="2026-11-29", trueload=None, server=None)


def replayed(profile: Path, streams: Sequence[Stream], users: int | None, seed: int) -> dict[str, float]:
    """The results of the mock's engine for the same requests."""
    tokens = [one.generated for one in streams]
    outcome = simulate(
        Job(
            settings={"profile": str(profile), "seed": seed},
            users=users,
            at_us=[one.sent_us for one in streams],
            input_tokens=[one.prompt_tokens for one in streams],
            output_tokens=tokens,
        )
    )
    rows = zip(outcome.sent_us, outcome.first_us, outcome.last_us, tokens, strict=True)
    return numbers(
        (sent, first, last, n) for sent, first, last, n in rows if not (sent is None or first is None or last is None)
    )


def compared(case: Case, folder: Path) -> dict[str, dict[str, float]]:
    """By load and number: the relative error of the fitted mock."""
    runs = _fitted_runs(case)
    file = folder / f"{case.seed}.json"
    file.write_bytes(orjson.dumps(to_plain(profile_of(case, runs))))
    loads = _unseen(case, _most(case, runs), case.seed)
    return {
        name: off(replayed(file, streams, users, case.seed), _numbers_of(streams))
        for name, (users, streams) in loads.items()
    }


def by_chance(case: Case) -> dict[str, dict[str, float]]:
    """The same for the server against itself, with other random draws: the noise floor."""
    most = _most(case, _fitted_runs(case))
    one, other = (_unseen(case, most, case.seed + more) for more in (0, 500_000))
    return {name: off(_numbers_of(other[name][1]), _numbers_of(streams)) for name, (_, streams) in one.items()}


def _fitted_runs(case: Case) -> list[list[Stream]]:
    server, seed = case.server, case.seed * 10
    runs = [closed_loop(server, users, case.fit_s, seed=seed + users) for users in (1, 4, 16)]
    return [*runs, closed_loop(server, 1, case.fit_s, rate=0.5 * _most(case, runs), seed=seed + 5)]


def _most(case: Case, runs: Sequence[Sequence[Stream]]) -> float:
    """The requests per second of 16 users."""
    return len(runs[2]) / case.fit_s


def _unseen(case: Case, most: float, seed: int) -> dict[str, tuple[int | None, list[Stream]]]:
    """The unseen loads: their users, and the users' latencies."""
    server, seconds = case.server, case.compare_s
    return {
        f"{USERS} users": (USERS, closed_loop(server, USERS, seconds, seed=seed + 77_000)),
        "a rate": (None, closed_loop(server, 1, seconds, rate=RATE_SHARE * most, seed=seed + 78_000)),
    }


def _numbers_of(streams: Iterable[Stream]) -> dict[str, float]:
    return numbers((one.sent_us, one.arrivals_us[0], one.arrivals_us[-1], one.generated) for one in streams)


def off(found: dict[str, float], true: dict[str, float]) -> dict[str, float]:
    """The relative error of each number."""
    return {number: found[number] / value - 1 for number, value in true.items()}
