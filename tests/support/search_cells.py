"""Search conclusions about servers with a known truth, from starts that are right or wrong by a factor of eight, and
about servers without any capacity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.load_search.conclusion import Conclusion, Kind, conclude
from bench.load_search.decisions import Settings
from bench.load_search.goals import Goal
from mockserver.step_cost import StepCost
from tests.support.batching_model import S1, S2, Server
from tests.support.search_model import NO_TROUBLE, Limit, Trouble, run_search, tpot, ttft
from tests.support.statistics_claims import FAST

LONG = Server(
    StepCost(b0=25_000, b1=40, b2=150, a0=2_000, max_num_seqs=256, max_num_batched_tokens=8192), 800, 650, 0.8, 0.5
)
"""Replies of 35 s on average near the capacity, with lognormal lengths."""

SERVERS: Mapping[str, tuple[Server, Limit, float]] = {
    "fixed lengths": (S1, ttft("p99", 500, 0.01), 38.37),
    "lognormal lengths": (S2, tpot("p99", 50, 0.01), 29.76),
    "replies of 35 s": (LONG, ttft("p99", 500, 0.01), 4.74),
}
"""Each with its capacity, by bisection over hours of load (`scripts/simulate-statistics capacities`)."""
STARTS = (0.125, 1.0, 8.0)
BUDGETS_S = (900.0, 300.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """Searches of one server, from a start that is this multiple of its capacity."""

    server: str
    start: float
    budget_s: float

    @property
    def name(self) -> str:
        return f"{self.server}, from {self.start:g} x, {self.budget_s / 60:.0f} min"


CELLS = tuple(Cell(server, start, budget_s) for server in SERVERS for budget_s in BUDGETS_S for start in STARTS)


@dataclass(slots=True)
class Outcomes:
    """The conclusions of searches. `held` counts the intervals that contain the truth, `too_much` the searches whose
    `held` or `at_least` is over 2% beyond it."""

    searches: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    held: int = 0
    too_much: int = 0
    squares: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    minutes: float = 0.0

    @property
    def answers(self) -> int:
        """How many searches gave a capacity with an interval."""
        return self.kinds[Kind.UP_TO]


def try_cell(cell: Cell, n: int, first_seed: int = 0) -> Outcomes:
    """Run `n` searches of a cell."""
    server, limit, true = SERVERS[cell.server]
    settings = Settings(
        "rate", (limit.goal,), start=float(f"{cell.start * true:.4g}"), precision=0.02, budget_s=cell.budget_s
    )
    seen = Outcomes()
    for seed in range(first_seed, first_seed + n):
        ended = run_search(server, (limit,), settings, seed)
        found = conclude(ended.search)
        seen.searches += 1
        seen.kinds[str(found.kind)] += 1
        seen.minutes += ended.minutes / n
        shown = found.at_least
        if found.known is not None:
            seen.held += found.known.low <= true <= found.known.high
            seen.squares.append((found.known.estimate / true - 1) ** 2)
            seen.widths.append(found.known.high / found.known.low - 1)
            shown = None if found.known.held is None else found.known.held[0]
        seen.too_much += shown is not None and shown > 1.02 * true
    return seen


_ERRORS = Limit(Goal("error_rate<1%", 0.01), lambda served: np.zeros(len(served.sent_s)), 1.0)
_HELD = ttft("p99", 500, 0.01)

TROUBLES: dict[str, tuple[Server, Limit, Trouble, Mapping[str, float]]] = {
    "a tenth of the requests fails": (S1, _ERRORS, Trouble(fails=0.1), {}),
    "2% of the requests fail, --max 40": (S1, _ERRORS, Trouble(fails=0.02), {"most": 40.0}),
    "stops for 2 s every 20 s": (S1, _HELD, Trouble(stall_s=2.0), {}),
    "gets 20 times slower": (S1, _HELD, Trouble(slower=20.0), {}),
    "gets 4 times slower": (S1, _HELD, Trouble(slower=4.0), {}),
    "fast, gets 20 times slower": (FAST, ttft("p99", 60, 0.01), Trouble(slower=20.0), {"start": 40.0}),
    "never breaks, --max 4": (LONG, ttft("p99", 60_000, 0.01), NO_TROUBLE, {"most": 4.0}),
    "0.5% of the requests fail": (S1, _HELD, Trouble(fails=0.005), {}),
}


HARD_EDGE = 13.7
HARD_EDGES: dict[str, tuple[Server, Limit, Trouble, Mapping[str, float]]] = {
    f"{share:.0%} fail above {HARD_EDGE:g}/s, {limit.goal.text}": (
        S1, limit, Trouble(fails=share, fails_above=HARD_EDGE), {"start": 10.0, "budget_s": 600.0}
    )
    for limit in (_ERRORS, _HELD)
    for share in (0.15, 0.3, 1.0)
}  # fmt: skip
"""Servers that refuse, as a rate limiter does: no slope of the model is as steep, and none stays at such a share."""


SHORT_STALLS: dict[str, tuple[Server, Limit, Trouble, Mapping[str, float]]] = {
    f"{which}stops for 2 s every 20 s, {budget_s:.0f} s": (
        server, _HELD, Trouble(stall_s=2.0), {"start": start, "budget_s": budget_s}
    )
    for which, server, start in (("", S1, 1.0), ("fast, ", FAST, 10.0))
    for budget_s in (60.0, 90.0, 180.0, 300.0)
}  # fmt: skip
"""Searches too short to tell a server's pauses from an edge."""


def try_trouble(name: str, n: int, first_seed: int = 0) -> Counter[str]:
    """How often `n` searches reach each conclusion about a troubled server."""
    return Counter(str(found.kind) for found in conclusions(name, n, first_seed))


def conclusions(name: str, n: int, first_seed: int = 0) -> list[Conclusion]:
    """The conclusions of `n` searches of a troubled server. By default each takes a quarter of an hour and starts at
    1/s."""
    server, limit, trouble, changes = (TROUBLES | SHORT_STALLS | HARD_EDGES)[name]
    settings = Settings("rate", (limit.goal,), **changes)
    searches = (run_search(server, (limit,), settings, seed, trouble) for seed in range(first_seed, first_seed + n))
    return [conclude(ended.search) for ended in searches]
