"""A profile with known costs, and simulators in this process, for plans without processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import orjson

from bench.capacity_plan.fitted import FittedServer, drawn, read_profile
from bench.capacity_plan.simulators import Simulated, Simulators
from bench.capacity_plan.stretches import Stretches
from bench.capacity_plan.traffic import Hour, Schedule
from bench.metrics.objectives import parse
from bench.results.profile import Profile
from mockserver.simulate import Job, simulate
from promptset.distributions import parse as distribution

MADE = Path(__file__).parent / "made_profile.json"
HOURS = (Hour(0, 21_600, 5.0), Hour(21_600, 28_800, 30.0), Hour(50_400, 14_400, 42.0), Hour(64_800, 21_600, 12.0))


_ANSWERS: dict[tuple[bytes, bytes], Simulated] = {}
"""By the part of a job's profile that the mock uses, and the rest of the job: several tests ask for the same, each in
its own folder."""


class InProcess:
    """Answers jobs as the processes do, and records them."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []

    def answers(self, jobs: Sequence[dict[str, Any]]) -> list[Simulated]:
        self.jobs += jobs
        return [_answer(job) for job in jobs]


def _answer(job: dict[str, Any]) -> Simulated:
    settings = job["settings"]
    row = orjson.loads(Path(settings["profile"]).read_bytes())
    taken = {name: row[name] for name in ("engine", "model", "step_cost", "settings")}
    key = orjson.dumps(taken), orjson.dumps({**job, "settings": {**settings, "profile": None}})
    if key not in _ANSWERS:
        _ANSWERS[key] = Simulated(**orjson.loads(orjson.dumps(simulate(Job(**orjson.loads(orjson.dumps(job)))))))
    return _ANSWERS[key]


def profile(
    folder: Path, *, mean_error: float = 0.0, seen: int = 64, seqs: int | None = 64, within: float = 0.0,
    resamples: Sequence[float] = (), of_users: bool = False,
) -> Profile:  # fmt: skip
    """A server for which 10 requests per second are about half of its capacity: 20 tokens per reply, steps of 20 ms.

    `within`: half the width of each coefficient's interval, relative to it. `resamples`: factors of equally plausible
    costs.
    """
    row = orjson.loads(MADE.read_bytes())
    row["step_cost"] = {"b0": 12_000, "b1": 10, "b2": 900, "b3": 0, "a0": 2_000, "a1": 0, "w0": 0, "kv_blocks": 9_000}
    row["step_cost"] |= {} if seqs is None else {"max_num_seqs": seqs}
    row["coefficients"] = {
        name: {"value": value, "low": value * (1 - within), "high": value * (1 + within), "told": True, "unit": "us"}
        for name, value in row["step_cost"].items()
        if name[1].isdigit()
    }
    row["limits"]["max_num_seqs"] = {"value": seqs, "at_least": seen, "source": "given" if seqs else "unknown"}
    row["limits"]["kv_blocks"] = {"value": 9_000, "at_least": 100, "source": "given"}
    row["fit"] |= {"mean_error": mean_error, "left_out": 0.0}
    costs = {name: row["step_cost"][name] for name in ("b0", "b1", "b2", "b3")}
    if resamples:
        row["fit"]["draws"] = [{name: cost * factor for name, cost in costs.items()} for factor in resamples]
    row["provenance"]["runs"][0] |= {"most_in_flight": seen, "load": {"mode": "concurrency" if of_users else "rate"}}
    row |= {"decode": [], "warnings": [], "unknown": []}
    file = folder / "profile.json"
    file.write_bytes(orjson.dumps(row))
    return read_profile(file)


def stretches(
    folder: Path, *slo: str, draws: int = 1, hours: Sequence[Hour] = HOURS, router: str = "round_robin", **of: Any
) -> tuple[Stretches, InProcess]:
    """Stretches of that server, and the simulators that answer them."""
    server: FittedServer = drawn(profile(folder, **of), draws, folder)
    traffic = Schedule(tuple(hours), distribution("uniform:20..60", "tokens"), distribution("uniform:10..30", "tokens"))
    simulators = InProcess()
    return Stretches(cast("Simulators", simulators), server, traffic, parse(slo), router), simulators
