"""Makes a plan from a search: how many replicas keep the day's rates, and what a search cannot show.

A search shows up to which rate one server kept its objectives, for its own prompts and replies and Poisson arrivals. N
replicas that share the arrivals evenly keep N times that rate. Nothing else follows: a search has no server to
simulate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.capacity_plan.plan import HOURS_A_DAY, Asked, short
from bench.capacity_plan.traffic import Hour
from bench.errors import UsageError
from bench.results.plan import SCHEMA, PlanContent, PlannedHour, SearchedRate
from bench.results.search import SearchContent

_FILE = "search.json"
NOT_SHOWN = (
    "what a router does: each replica is taken to get an even share of Poisson arrivals",
    "what happens while a replica dies or starts, and how many requests fail then",
    "latencies: the search says only whether its objectives hold",
    "prompts and replies of other lengths than the search sent",
)


def read_search(path: Path) -> SearchContent:
    """The search in a directory, or in its search.json. Raises UsageError with one sentence."""
    file = path / _FILE if path.is_dir() else path
    try:
        return msgspec.json.decode(file.read_bytes(), type=SearchContent)
    except OSError as e:
        why = f"it holds no search: it has no {_FILE}" if path.is_dir() else f"cannot be read: {e.strerror}"
        raise UsageError(f"--search {path}: {why}") from e
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"--search {path}: is not the {_FILE} of `python -m bench search`: {e}") from e


def rate_of(search: SearchContent, path: Path) -> SearchedRate:
    """The rate that one replica keeps. Raises UsageError if the search does not show it."""
    if search.load_kind != "rate":
        raise UsageError(
            f"--search {path}: it varied {search.load_kind}, and a plan needs requests per second: search with --load rate"
        )
    if search.capacity is not None and search.capacity.low > 0:
        return SearchedRate(estimate=search.capacity.estimate, low=search.capacity.low, high=search.capacity.high)
    if search.at_least is not None and search.at_least > 0:
        return SearchedRate(estimate=None, low=search.at_least, high=None)
    raise UsageError(
        f"--search {path}: it does not say which rate a server keeps (its conclusion: {search.conclusion}): search longer, "
        "or from a lower --start"
    )


def planned_of_search(search: SearchContent, rate: SearchedRate, hours: Sequence[Hour], asked: Asked) -> PlanContent:
    """The plan. Its number of replicas keeps the busiest hour even at the low end of the search's interval."""
    peak = max(hours, key=lambda hour: hour.rate)
    need = max(asked.least, math.ceil(peak.rate / rate.low))
    fewest = asked.least if rate.high is None else max(asked.least, math.ceil(peak.rate / rate.high))
    replicas = need if need <= asked.most else None
    fewer = asked.most if replicas is None else replicas - 1
    rows = [_hour(hour, fewer, rate) for hour in hours]
    broken = [hour.start_s for hour in rows if hour.breaks == "yes"]
    cost = None if asked.price is None or replicas is None else asked.price * HOURS_A_DAY
    many = asked.most if replicas is None else replicas
    known = rate.high is not None or (search.held is not None and search.held.load >= rate.low)
    unsure = []
    if rate.high is None and need > asked.least:
        unsure.append("whether fewer would do: no load of the search broke")
    if not known:
        unsure.append("that a replica keeps this rate: the search is less than 95% sure of it")
    return PlanContent(
        schema=SCHEMA,
        date=asked.date,
        command=asked.command,
        server=None,
        objectives=[objective.text for objective in search.objectives],
        router=None,
        least=asked.least,
        most=asked.most,
        draws=None,
        known=known,
        unknown=(),
        search=rate,
        not_shown=[*unsure, *NOT_SHOWN],
        replicas=replicas,
        interval=[min(fewest, asked.most + 1), min(need, asked.most + 1)],
        headroom=None if replicas is None else short(many * (rate.estimate or rate.low) / peak.rate),
        headroom_interval=None
        if replicas is None or rate.high is None
        else [short(many * end / peak.rate) for end in (rate.low, rate.high)],
        at_peak=(),
        hours=rows,
        breaks_first_s=broken[0] if broken else None,
        breaks_first_interval=None,
        lost=None,
        price=asked.price,
        cost_a_day=None if cost is None else short(cost * many),
        cost_interval=None if cost is None else [short(cost * n) for n in (fewest, need)],
        settings=asked.settings,
        warnings=(),
    )


def _hour(hour: Hour, replicas: int, rate: SearchedRate) -> PlannedHour:
    """Whether an hour breaks this many replicas."""
    surely = rate.high is not None and hour.rate > replicas * rate.high
    breaks = "yes" if surely else "no" if hour.rate <= replicas * rate.low else "perhaps"
    return PlannedHour(start_s=hour.start_s, duration_s=hour.duration_s, rate=short(hour.rate), breaks=breaks)
