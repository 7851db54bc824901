"""Puts together the result of a plan: everything that `decide.py` finds, in the form of plan.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.capacity_plan import decide
from bench.capacity_plan.stretches import Answer, Question, Stretches
from bench.capacity_plan.traffic import Hour, Schedule, Trace, Traffic
from bench.modes import MODES
from bench.modes.interface import OpenLoopMode
from bench.results.plan import SCHEMA, Autoscaling, LostReplica, PlanContent, PlannedHour, PlannedObjective
from bench.statistics.paired_shares import clopper_pearson

HOURS_A_DAY = 24
_A_DRAW, _A_DAY, _A_REPLICA = 2, 30, 6
"""The number of stretches that typical plans of a day took: per draw, for the hours and the headroom, and per replica
to scale."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user wants to know. `price`: of one replica for one hour."""

    least: int
    most: int
    draws: int
    price: float | None
    cold_start_s: float | None
    command: Sequence[str]
    date: str
    settings: Mapping[str, object]


def planned(stretches: Stretches, asked: Asked) -> PlanContent:
    """The complete plan."""
    hours, draws = stretches.traffic.hours, asked.draws
    stretches.prepare()
    peak = decide.busiest_last(stretches)[-1]
    need = decide.needed(stretches, peak, asked.least, asked.most, draws)
    replicas = need.replicas
    shown = asked.most if replicas is None else replicas
    representative = decide.representative_draws(stretches, peak, shown, draws)
    broken = decide.broken_hours(stretches, shown if replicas is None else shown - 1, representative)
    answers = [stretches.asked[Question(peak, shown, draw)] for draw in range(draws)]
    at_peak = _objectives(stretches, answers)
    unknown = _unknown(stretches, answers) or _if_padded(stretches, Question(peak, shown, 0, padded=True))
    unknown += stretches.server.misjudged(stretches.objectives, at_peak)
    room, more = (
        (None, False)
        if replicas is None
        else decide.headroom(stretches, peak, replicas, representative, known=not unknown)
    )
    scaled = (
        None
        if asked.cold_start_s is None or replicas is None
        else _autoscaling(stretches, replicas, representative, asked)
    )
    firsts = [min((hour.start_s for hour in of), default=None) for of in broken]
    cost = None if asked.price is None or replicas is None else asked.price * HOURS_A_DAY
    return PlanContent(
        schema=SCHEMA,
        date=asked.date,
        command=asked.command,
        server=stretches.server.profile.provenance.server,
        objectives=[objective.text for objective in stretches.objectives],
        router=stretches.router,
        least=asked.least,
        most=asked.most,
        draws=draws,
        known=not unknown,
        unknown=unknown,
        not_shown=_not_shown(stretches.traffic),
        replicas=replicas,
        broken_alone=stretches.broken_alone,
        interval=list(need.interval),
        headroom=None if room is None else short(min(room) if more else room[0]),
        headroom_interval=None if room is None or more else _interval(room),
        at_peak=at_peak,
        hours=_hours(hours, broken, scaled),
        breaks_first_s=firsts[0],
        breaks_first_interval=_interval([first for first in firsts if first is not None]) if any(broken) else None,
        lost=None if replicas is None or replicas == 1 else _lost(stretches, peak, replicas, draws, broken[0]),
        autoscaling=None if scaled is None else scaled[0],
        price=asked.price,
        cost_a_day=None if cost is None or replicas is None else short(cost * replicas),
        cost_interval=None if cost is None else [short(cost * n) for n in need.interval],
        settings=asked.settings,
        warnings=warnings_of(stretches),
    )


def stretches_left(stretches: Stretches, asked: Asked) -> int:
    """About how many stretches remain to be simulated; one is always in progress."""
    expected = _A_DRAW * asked.draws + _A_DAY
    if asked.cold_start_s is not None:
        peak = max(stretches.traffic.hours, key=lambda hour: hour.rate)
        expected += _A_REPLICA * (min(decide.guessed(stretches, peak, asked.least), asked.most) - 1)
    return max(1, expected - len(stretches.asked))


def short(value: float) -> float:
    """The value rounded to four digits."""
    return float(f"{value:.4g}")


def _interval(values: Sequence[float]) -> list[float]:
    """The 95% interval over the draws."""
    low, high = np.quantile(np.array(values), (0.025, 0.975), method="nearest")
    return [short(float(low)), short(float(high))]


def _not_shown(traffic: Traffic) -> list[str]:
    """What a plan of such traffic leaves out."""
    if isinstance(traffic, Trace):
        return ["other days: every draw has the same requests, those of the trace, so the intervals show the fit's "
                "uncertainty alone"]  # fmt: skip
    if not isinstance(traffic, Schedule):
        return []
    rest = "at the rate of each part (--trace plans for recorded requests)"
    if traffic.burstiness == 1:
        return [
            f"bursts, and peaks within a part of the day: arrivals are Poisson {rest}; --burstiness plans for bursts"
        ]
    return [f"peaks within a part of the day: arrivals come in gaps of burstiness {traffic.burstiness:g} {rest}"]


def _unknown(stretches: Stretches, answers: Sequence[Answer]) -> list[str]:
    """Why the fit does not cover the loads of the plan."""
    server = stretches.server
    steady = [answer for answer in answers if not answer.overloaded]
    reasons = [*server.untold(), *server.longer(answers[0].prompt, answers[0].context)]
    if not steady:
        return [*reasons, *server.when_full()]
    most = float(np.median([answer.in_flight for answer in steady]))
    tokens = float(np.median([answer.tokens for answer in steady]))
    return [*reasons, *server.beyond(most, tokens)]


def _if_padded(stretches: Stretches, question: Question) -> list[str]:
    """A sentence if the plan only holds if batches beyond the fit cost no more than expected."""
    server, expected = stretches.server, stretches.asked[replace(question, padded=False)]
    if server.padded is None or not expected.good or expected.in_flight <= server.most_seen:
        return []
    holds = stretches.answer(question).holds
    broken = [objective.text for objective, held in zip(stretches.objectives, holds, strict=True) if not held]
    return [server.if_padded(expected.in_flight, broken)] if broken else []


def _objectives(stretches: Stretches, answers: Sequence[Answer]) -> list[PlannedObjective]:
    rows = []
    for place, objective in enumerate(stretches.objectives):
        values = [answer.values[place] for answer in answers]
        finite = [value for value in values if math.isfinite(value)]
        holds = [answer.holds[place] and not answer.overloaded for answer in answers]
        surely = clopper_pearson(sum(holds), len(holds))
        rows.append(
            PlannedObjective(
                objective=objective.text,
                value=short(float(np.median(finite))) if finite else None,
                interval=_interval(finite) if finite else None,
                holds=_share(holds),
                holds_interval=[round(surely.low, 6), round(surely.high, 6)],
            )
        )
    return rows


def _share(of: Sequence[bool]) -> float:
    return short(sum(of) / len(of))


def _hours(
    hours: Sequence[Hour], broken: Sequence[set[Hour]], scaled: tuple[Autoscaling, Sequence[int]] | None
) -> list[PlannedHour]:
    return [
        PlannedHour(
            start_s=hour.start_s,
            duration_s=hour.duration_s,
            rate=short(hour.rate),
            replicas=None if scaled is None else scaled[1][place],
            breaks=_broken([hour in of for of in broken]),
        )
        for place, hour in enumerate(hours)
    ]


def _broken(by_draw: Sequence[bool]) -> str:
    return "perhaps" if any(by_draw) != all(by_draw) else "yes" if all(by_draw) else "no"


def _lost(stretches: Stretches, peak: Hour, replicas: int, draws: int, broken: set[Hour]) -> LostReplica:
    loss = decide.lost(stretches, peak, replicas, draws, broken)
    return LostReplica(
        requests_lost=short(float(np.median(loss.in_flight))),
        interval=_interval(loss.in_flight),
        holds=short(loss.holds),
        first_broken_s=None if loss.first_broken is None else loss.first_broken.start_s,
    )


def _autoscaling(
    stretches: Stretches, replicas: int, representative: Sequence[int], asked: Asked
) -> tuple[Autoscaling, Sequence[int]]:
    """The result of scaling, and the replicas of each hour."""
    assert asked.cold_start_s is not None
    scaling = decide.scaled(stretches, replicas, asked.cold_start_s, representative)
    total = sum(hour.duration_s for hour in stretches.traffic.hours) / 3600
    a_day = [hours / total * HOURS_A_DAY for hours in scaling.replica_hours]
    interval = [short(min(a_day)), short(max(a_day))]
    price = asked.price
    return (
        Autoscaling(
            cold_start_s=asked.cold_start_s,
            replica_hours=short(a_day[0]),
            interval=interval,
            most_started=scaling.most_started,
            late_breaks=None if scaling.late_breaks is None else short(scaling.late_breaks),
            cost_a_day=None if price is None else short(price * a_day[0]),
            cost_interval=None if price is None else [short(price * hours) for hours in interval],
        ),
        scaling.by_hour,
    )


def warnings_of(stretches: Stretches) -> list[str]:
    """Warnings about what the profile leaves open."""
    profile = stretches.server.profile
    warnings = [*profile.warnings]
    if profile.replay is None:
        warnings.append("no load of the profile was replayed: how far its times are from the server's is not known")
    traffic = stretches.traffic
    if isinstance(traffic, Trace) and traffic.left_out:
        warnings.append(
            f"{traffic.left_out} rows of the trace are left out: they are bad, or have no time or no tokens"
        )
    modes = [MODES.get(str(run.load.get("mode"))) for run in profile.provenance.runs]
    if not any(mode is not None and issubclass(mode, OpenLoopMode) for mode in modes):
        warnings.append(
            "no run at a rate was fitted: users send right after a reply, and a server that has paused may answer later, so "
            "TTFT at low loads may be longer; fit a run with --rate too"
        )
    cost, fit = profile.step_cost, profile.fit
    if cost is not None and cost.variation is None:
        warnings.append(
            "the profile does not say how steps vary: the tail may be longer; fit the runs again with this version"
        )
    if fit is not None and fit.draws is None:
        warnings.append(
            "the profile has no resamples: its coefficients are drawn one by one, and intervals may be too wide"
        )
    return warnings
