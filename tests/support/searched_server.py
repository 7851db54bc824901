"""A search of a server that is a formula: nothing is sent, and a quarter of an hour takes no time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.errors import Interrupted
from bench.load_search.decisions import Search
from bench.load_search.driver import Follower
from bench.load_search.run_visits import run_name
from bench.load_search.visits import Result, Visit
from bench.run_files.run_directory import RunDirectory
from tests.support.golden_run import golden_summary


def logistic(capacity: float, allowed: float = 0.01, slope: float = 40.0) -> Callable[[float], float]:
    """The share of requests that break an objective at a load."""

    def share(load: float) -> float:
        return 1 / (1 + math.exp(-math.log(allowed / (1 - allowed)) - slope * math.log(load / capacity)))

    return share


@dataclass
class FormulaVisits:
    """Makes the visits of a search. `shares` has for each objective the share of requests that break it at a load.

    `at` has events that replace a visit, by its number: an exception, or None for Ctrl-C while it runs. `folder`: where
    to leave a summary of each visit.
    """

    shares: Mapping[str, Callable[[float], float]]
    at: Mapping[int, BaseException | None] = field(default_factory=dict)
    verdict: Callable[[float], str] = lambda load: "VALID"
    folder: Path | None = None
    made: list[Visit] = field(default_factory=list)

    def make(self, search: Search, visit: Visit) -> Result:
        """The formula's result."""
        self.made.append(visit)
        if visit.n in self.at:
            happens = self.at[visit.n]
            if happens is None:
                raise Interrupted("in the visit")
            raise happens
        rate = search.settings.load_kind == "rate"
        n = max(40, round(visit.load * visit.measure_s))
        found = {text: share(visit.load) for text, share in self.shares.items()}
        if self.folder is not None:
            self._leave_summary(self.folder / run_name(visit), visit, found)
        return Result(
            n=visit.n, phase=visit.phase, load=visit.load, verdict=self.verdict(visit.load), settle_s=visit.settle_s,
            measure_s=visit.measure_s, seconds=visit.settle_s + visit.measure_s + 3.0, requests=n,
            violations={text: round(share * n) for text, share in found.items()}, act=dict.fromkeys(found, 20.0),
            kept_up=True if rate else None, e2el_p90_s=1.0, run_dir=run_name(visit),
        )  # fmt: skip

    def _leave_summary(self, path: Path, visit: Visit, found: Mapping[str, float]) -> None:
        summary = golden_summary()
        rows = [
            {"objective": text, "metric": "ttft", "stat": "p99", "op": "<", "limit": 500.0, "unit": "ms", "ci95": None,
             "between": None, "value": 500 * (1 + share), "held": share <= 0.01, "shown": "not shown"}
            for text, share in found.items()
        ]  # fmt: skip
        summary["slo"] = {"held": None, "objectives": rows}
        summary["throughput"] |= {"requests_per_s": visit.load, "output_tokens_per_s": 100 * visit.load}
        summary["verdict"] = {"status": self.verdict(visit.load), "reasons": ["the client's processor was busy"]}
        path.mkdir(parents=True)
        RunDirectory(path).write("summary.json", orjson.dumps(summary))


@dataclass
class Silent(Follower):
    """Follows a search and counts its notifications."""

    begun: int = 0
    ended: int = 0
    over: bool = False

    def visit_begins(self, search: Search, visit: Visit) -> None:
        self.begun += 1

    def visit_ended(self, search: Search, result: Result) -> None:
        self.ended += 1

    def search_ended(self) -> None:
        self.over = True
