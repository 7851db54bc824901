"""A fitted server, and the servers that it could equally be: profiles with other coefficients, within the fit's
uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import orjson

from bench.errors import UsageError
from bench.fit.replayed import NUMBERS, misjudged
from bench.metrics.objectives import Objective
from bench.results.base import to_plain
from bench.results.plan import PlannedObjective
from bench.results.profile import DRIFT, REFUSED, FittedCoefficient, Profile, ReplayedNumber, StepCost
from bench.rng import Random, stream

_TWO_SIDED = 3.92
"""The width of a 95% interval in standard deviations."""
_BEYOND, _FAR_BEYOND = 1.25, 2.0
"""How far beyond the observed loads the fit still holds: if a limit is unknown, and if only the cost is unknown."""
_BLOCK_TOKENS = 16
_REPLAYED = {"mean": "p50", "p75": "p90", "p95": "p99", "p999": "p99", "max": "p99", "min": "p50"}
"""The replayed quantile that is closest to a statistic without a replay."""
_OF_STEPS = ("b0", "b1", "b2", "b3", "b4")


@dataclass(frozen=True, slots=True)
class FittedServer:
    """A profile, and the file of each draw; the first is the profile itself.

    `padded`: the file of a server that pads batches larger than the fitted ones, so that they cost as much as batches
    of twice the size. None if the steps are not known.
    """

    profile: Profile
    files: Sequence[Path]
    padded: Path | None = None

    @property
    def most_seen(self) -> int:
        """The most requests in flight together in the fitted runs."""
        return max((run.most_in_flight for run in self.profile.provenance.runs), default=0)

    def beyond(self, in_flight: float, tokens: float) -> list[str]:
        """Why the fit does not cover a load with this many requests and tokens in flight on one server."""
        reasons: list[str] = []
        limits, most = self.profile.limits, self.most_seen
        many = f"a replica has up to {in_flight:.0f} requests in flight"
        if self.profile.engine == "sampled" and in_flight > most:
            reasons.append(
                f"{many}, and a profile of sampled times serves more than {most} like {most}: fit its steps, or record "
                "a higher load"
            )
        if limits is None:
            return reasons
        seqs, blocks = limits.max_num_seqs, limits.kv_blocks
        if seqs.value is None and in_flight > _BEYOND * max(seqs.at_least, most):
            reasons.append(f"{many}, and the fit saw {most}: max_num_seqs is not known{self._next('max_num_seqs')}")
        elif in_flight > _FAR_BEYOND * max(1, most):
            reasons.append(f"{many}, and the fit saw {most}: what such batches cost is not known{self._next('b0, b2')}")
        if blocks.value is None and tokens > _BEYOND * max(1, blocks.at_least) * _BLOCK_TOKENS:
            reasons.append(
                f"a replica holds up to {tokens:,.0f} tokens, and the fit saw {blocks.at_least * _BLOCK_TOKENS:,}: the size "
                f"of its KV cache is not known{self._next('kv_blocks')}"
            )
        return reasons

    def longer(self, prompt: tuple[float, float], context: tuple[float, float]) -> list[str]:
        """Why the fit does not cover requests with these lengths (p99 and the longest, in tokens). Even a few far
        longer requests delay the requests next to them."""
        runs = self.profile.provenance.runs
        reasons = []
        for (usual, most), subject, of_run in (
            (prompt, "prompts", [run.longest_prompt for run in runs]),
            (context, "prompts with their replies", [run.longest_context for run in runs]),
        ):
            longest = max((tokens for tokens in of_run if tokens is not None), default=None)
            if longest is not None and (usual > _BEYOND * longest or most > _FAR_BEYOND * longest):
                reasons.append(
                    f"{subject} have up to {most:,.0f} tokens, and the fit saw {longest:,}: what longer ones cost is not "
                    "known; next: runs with the lengths of this traffic, and fit again"
                )
        return reasons[:1]

    def if_padded(self, in_flight: float, broken: Sequence[str]) -> str:
        """The assumption behind a plan if padded batches break these objectives."""
        most = self.most_seen
        return (
            f"a replica has up to {in_flight:.0f} requests in flight, and the fit saw {most}: if larger batches cost as much "
            f"as {2 * most} (some servers pad them), {' and '.join(broken)} may not hold; next: a run with "
            f"--concurrency {2 * most}, and fit again"
        )

    def when_full(self) -> list[str]:
        """Why the fit does not cover an overloaded server. Its requests in flight grow without end, so their number
        only reflects the length of the simulation."""
        limits, most = self.profile.limits, self.most_seen
        if self.profile.engine == "sampled":
            return [f"a profile of sampled times serves more than {most} requests like {most}: record a higher load"]
        if limits is None:
            return []
        if limits.max_num_seqs.value is not None:
            return self.beyond(limits.max_num_seqs.value, 0)
        return [
            f"max_num_seqs is not known, and a server that takes more at once may keep up{self._next('max_num_seqs')}"
        ]

    def untold(self) -> list[str]:
        """Coefficients that matter but could not be determined from the loads of the fit; and what the model lacks."""
        coefficients = self.profile.coefficients or {}
        names = [name for name in ("b0", "b1", "b2") if name in coefficients and not coefficients[name].told]
        if "b1" not in names and "a1" in coefficients and coefficients["a1"].value > 0 and not coefficients["a1"].told:
            names.append("a1")  # Some of it may be time in steps, which requests share.
        lacks = [row for row in self.profile.unknown if row.what in (DRIFT, REFUSED)]
        return [
            *(f"the fit could not determine {name}{self._next(name)}" for name in names),
            *(f"{row.why}; next: {row.command}" for row in lacks),
        ]

    def misjudged(self, objectives: Sequence[Objective], planned: Sequence[PlannedObjective]) -> list[str]:
        """Objectives whose answer changes if the profile is as wrong in the plan as it was when a load was replayed."""
        sentences = []
        for objective, at_peak in zip(objectives, planned, strict=True):
            rows = [
                (load, row, turned)
                for limit in (objective, *objective.limits)
                for load in self.profile.replay or ()
                if (row := misjudged(load, f"{limit.metric}_ms", _REPLAYED.get(limit.stat or "p99", limit.stat)))
                is not None
                and (turned := _turned(objective, at_peak.value, row)) is not None
            ]
            if rows:
                load, row, turned = max(rows, key=lambda item: abs(item[1].off or 0.0))
                sentences.append(
                    f"{objective.text} {turned}: the profile's {NUMBERS[row.number]} {row.quantile} was {row.off:+.0%} off "
                    f"when {load.name} was replayed; see the warnings of the fit, or plan from a search of one replica "
                    "(--search)"
                )
        return sentences

    def _next(self, subject: str) -> str:
        """The run, suggested by the profile, that would determine it."""
        command = next(
            (row.command for row in self.profile.unknown if subject in row.what or row.what in subject), None
        )
        return "" if command is None else f"; next: {command}"


def read_profile(path: Path) -> Profile:
    """Read a profile. Raises UsageError with one sentence."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except OSError as e:
        raise UsageError(f"--profile {path}: cannot be read: {e.strerror}") from e
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"--profile {path}: is not a profile of `python -m bench fit`: {e}") from e


def lengths_of(profile: Profile) -> dict[str, str]:
    """The lengths sent by the busiest run, by the name of their setting, if known."""
    lengths: dict[str, str] = {}
    for run in sorted(profile.provenance.runs, key=lambda run: -run.most_in_flight):
        for name in ("input_tokens", "output_tokens"):
            if run.load.get(name) is not None:
                lengths.setdefault(name, str(run.load[name]))
    return lengths


def drawn(profile: Profile, draws: int, folder: Path) -> FittedServer:
    """The server with the file of each draw, in this folder."""
    cost = profile.step_cost
    others = [{}, *({} if cost is None else _other_cost(profile, draw) for draw in range(1, draws))]
    files = [_written(profile, other, folder / f"draw-{draw}.json") for draw, other in enumerate(others)]
    server = FittedServer(profile, files)
    if cost is None:
        return server
    return replace(server, padded=_written(profile, _padded(cost, profile, server.most_seen), folder / "padded.json"))


def _written(profile: Profile, cost: Mapping[str, object], file: Path) -> Path:
    """Write the profile with other step costs to a file."""
    content = to_plain(profile)
    if cost:
        content["step_cost"] |= cost
    file.write_bytes(orjson.dumps(content))
    return file


def _padded(cost: StepCost, profile: Profile, most: int) -> Mapping[str, object]:
    """Step costs of a server that pads: decodes beyond the largest observed batch cost as much as a batch twice as large."""
    largest = max(1, most) * (1 + (profile.settings.num_speculative_tokens or 0))
    points = [(0, 0.0), *(cost.decode or ())]

    def us(tokens: int) -> float:
        beyond = max(0, tokens - points[-1][0])
        return float(np.interp(tokens, [at for at, _ in points], [all_us for _, all_us in points])) + cost.b2 * beyond

    below = [[tokens, us] for tokens, us in points[1:] if tokens < largest]
    return {"decode": [*below, [largest, us(largest)], [largest + 1, us(2 * largest)]]}


def _other_cost(profile: Profile, draw: int) -> Mapping[str, object]:
    """Coefficients of a resample, all scaled by a draw from the uncertainty of a step's mean; a0, a1 and w0 are drawn
    separately."""
    chance = stream(draw, "plan-server")
    coefficients, fit = profile.coefficients or {}, profile.fit
    resamples = () if fit is None or fit.draws is None else fit.draws
    error = 0.0 if fit is None or fit.mean_error is None else fit.mean_error / 2
    longer = max(0.2, 1 + chance.gauss(0, 1) * error)
    cost: dict[str, object] = {}
    if resamples:
        row = to_plain(resamples[(draw - 1) % len(resamples)])
        cost |= {name: row[name] * longer for name in _OF_STEPS if name in row}
        if row.get("decode"):
            cost["decode"] = [[tokens, us * longer] for tokens, us in row["decode"]]
    else:
        cost |= {name: _other(coefficients[name], chance) * longer for name in _OF_STEPS if name in coefficients}
    return cost | {name: _other(coefficients[name], chance) for name in ("a0", "a1", "w0") if name in coefficients}


def _turned(objective: Objective, value: float | None, row: ReplayedNumber) -> str | None:
    """The consequence if a planned value is as far off as a replayed one; None if the objective's result stays the
    same.

    Goodput is a share of requests, so it is only known whether their latencies are too short or too long.
    """
    if value is None or row.replayed <= 0:
        return None
    holds = objective.holds(value)
    if objective.metric == "goodput":
        turns = holds == (row.measured > row.replayed)
    else:
        turns = objective.holds(value * row.measured / row.replayed) != holds
    if not turns:
        return None
    return "may not hold" if holds else "may hold"


def _other(estimate: FittedCoefficient, chance: Random) -> float:
    """Another value that the coefficient could equally have. An undetermined coefficient has no interval to draw from."""
    deviation = (
        0.0
        if estimate.low is None or estimate.high is None or not estimate.told
        else (estimate.high - estimate.low) / _TWO_SIDED
    )
    return max(0.0, estimate.value + chance.gauss(0, 1) * deviation)
