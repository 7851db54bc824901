"""Times sampled from a real server, as `python -m bench fit --engine sampled` writes them for the engine `sampled`.

    {"ttft_ms": [q0, ..., q1], "ttft_per_input_token_us": x, "gap_ms": [q0, ..., q1], "between": b, "follows": f,
     "load": [[requests in flight, TTFT factor, gap factor], ...]}

A list of quantiles runs from the minimum to the maximum at equal steps of probability, with linear interpolation. Each
gap has a normal score z = sqrt(b) R + sqrt(1 - b) y: R belongs to the request, and y is correlated with the previous y
by f. So the gaps have exactly the given distribution, some requests are slow as a whole, and slow tokens come in
clusters. TTFT and gaps are multiplied by a factor of the load: linear between the points, constant beyond them.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from mockserver.clock import NS_PER_MS, NS_PER_US
from mockserver.rng import Random
from mockserver.steps.variation import is_number
from promptset.whole_file import read_text

_KEYS = ("ttft_ms", "ttft_per_input_token_us", "gap_ms", "between", "follows", "load")


@dataclass(frozen=True, slots=True)
class SampledTimes:
    """The numbers of the module docstring, times in ns. `text` is what the user wrote: the file name."""

    text: str
    ttft_ns: tuple[float, ...]
    per_input_token_ns: float
    gap_ns: tuple[float, ...]
    between: float
    follows: float
    load: tuple[tuple[float, float, float], ...]

    def __str__(self) -> str:
        return self.text

    def ttft(self, share: float, input_tokens: int) -> int:
        """The TTFT quantile in ns at `share`, for a request with this many input tokens and no other in flight."""
        return round(_value(self.ttft_ns, share) + self.per_input_token_ns * input_tokens)

    def gap(self, share: float) -> float:
        """The gap quantile in ns at `share`, for a request with no other in flight."""
        return _value(self.gap_ns, share)

    def gaps(self, count: int, chance: Random) -> tuple[int, ...]:
        """The gaps of one request with no other in flight, in ns."""
        base, rest = math.sqrt(self.between) * chance.gauss(0, 1), math.sqrt(1 - self.between)
        fresh = math.sqrt(1 - self.follows**2)
        values, score = [], chance.gauss(0, 1)
        for _ in range(count):
            values.append(round(self.gap(_share(base + rest * score))))
            score = self.follows * score + fresh * chance.gauss(0, 1)
        return tuple(values)

    def factors(self, under_way: int) -> tuple[float, float]:
        """The factors of TTFT and gaps with this many requests in flight, including the request itself."""
        place = bisect_left(self.load, float(under_way), key=lambda point: point[0])
        if place == 0 or place == len(self.load):
            _, ttft, gap = self.load[min(place, len(self.load) - 1)]
            return ttft, gap
        (low, *before), (high, *after) = self.load[place - 1 : place + 1]
        inside = (under_way - low) / (high - low)
        ttft, gap = (a + inside * (b - a) for a, b in zip(before, after, strict=True))
        return ttft, gap


def _share(score: float) -> float:
    """The cumulative probability of a normal score."""
    return 0.5 * math.erfc(-score / math.sqrt(2))


def _value(quantiles: tuple[float, ...], share: float) -> float:
    place = min(max(share, 0.0), 1.0) * (len(quantiles) - 1)
    below = min(int(place), len(quantiles) - 2)
    return quantiles[below] + (quantiles[below + 1] - quantiles[below]) * (place - below)


def parse_sampled_times(path: str) -> SampledTimes:
    """The times from a file. Raises ValueError with one sentence that names every problem."""
    try:
        row = json.loads(read_text(Path(path)))
    except RecursionError:
        raise ValueError(f"{path!r}: cannot be read: it is nested too deeply") from None
    except (OSError, ValueError) as e:
        raise ValueError(f"{path!r}: cannot be read: {e.strerror if isinstance(e, OSError) else e}") from e
    if isinstance(row, dict) and isinstance(row.get("sampled_times"), dict):  # A whole profile.
        row = row["sampled_times"]
    return sampled_times_of(row, path)


def sampled_times_of(row: object, text: str) -> SampledTimes:
    """The times from a JSON object. Raises ValueError with one sentence that names every problem."""
    if not isinstance(row, dict):
        raise ValueError(f"{text!r}: must contain one object with {', '.join(_KEYS)}")
    problems = [f"no key is called {key!r}; the keys are {', '.join(_KEYS)}" for key in row if key not in _KEYS]
    problems += [f"{key} is missing" for key in _KEYS if key not in row]
    for key in ("ttft_ms", "gap_ms"):
        if key in row and not _rises(row[key]):
            problems.append(f"{key}: write two or more times in ms that do not fall, 0 or more")
    for key, least, most in (("ttft_per_input_token_us", 0.0, 1e9), ("between", 0.0, 1.0), ("follows", -1.0, 1.0)):
        if key in row and not (is_number(row[key]) and least <= row[key] <= most):
            problems.append(f"{key}={row[key]!r}: write a number from {least:g} to {most:g}")
    if "load" in row and not _is_load(row["load"]):
        problems.append(
            "load: write points [requests under way, TTFT factor, gap factor], with rising requests and factors above 0"
        )
    if problems:
        raise ValueError(f"{text!r}: {'; '.join(problems)}")
    return SampledTimes(
        text,
        tuple(ms * NS_PER_MS for ms in row["ttft_ms"]),
        row["ttft_per_input_token_us"] * NS_PER_US,
        tuple(ms * NS_PER_MS for ms in row["gap_ms"]),
        float(row["between"]),
        float(row["follows"]),
        tuple((float(n), float(ttft), float(gap)) for n, ttft, gap in row["load"]),
    )


def _rises(values: object) -> bool:
    if not isinstance(values, list) or len(values) < 2 or not all(map(is_number, values)):
        return False
    return values[0] >= 0 and values == sorted(values)


def _is_load(points: object) -> bool:
    if not isinstance(points, list) or not points:
        return False
    if not all(isinstance(point, list) and len(point) == 3 and all(map(is_number, point)) for point in points):
        return False
    users = [point[0] for point in points]
    return users == sorted(set(users)) and all(point[1] > 0 and point[2] > 0 for point in points)
