"""Decides a plan: how many replicas, which hour breaks first, the effect of a lost replica, and the cost of late
starts.

All answers come from stretches (`stretches.py`), for each draw separately: another server within the fit's uncertainty,
and other arrivals. More replicas are never worse and a higher rate is never better, so each search needs only a few
questions around the result of the first draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from bench.capacity_plan.stretches import Answer, Question, Stretches
from bench.capacity_plan.traffic import Hour, Trace

SURE = 0.9
"""The share of the draws in which the planned replicas hold."""
_MORE_TRAFFIC = tuple(1.05**power for power in range(29))
"""Multiples of the day's traffic, up to about 4."""
_AIM = 0.75
"""The share of the saturated throughput at which the search begins."""
Search = Generator[int, bool, int]


@dataclass(frozen=True, slots=True)
class Needed:
    """The replicas that the busiest hour needs in each draw; `most` + 1 if the range is not enough."""

    by_draw: tuple[int, ...]
    replicas: int | None

    @property
    def interval(self) -> tuple[int, int]:
        """The 95% interval over the draws."""
        return spread(self.by_draw)


@dataclass(frozen=True, slots=True)
class Lost:
    """The effect of a replica that dies in the busiest hour."""

    in_flight: tuple[float, ...]
    """Requests in flight on one replica, for each draw."""
    holds: float
    first_broken: Hour | None


@dataclass(frozen=True, slots=True)
class Scaled:
    """Scaling each hour to the replicas that it needs: for the first draw, and the replica-hours of each examined draw."""

    by_hour: tuple[int, ...]
    replica_hours: tuple[float, ...]
    most_started: int
    late_breaks: float | None


def spread(values: Sequence[int]) -> tuple[int, int]:
    """The central 95% of whole numbers, rounded outwards."""
    ordered = sorted(values)
    cut = int(0.025 * len(ordered))
    return ordered[cut], ordered[-1 - cut]


def least_true(least: int, most: int, guess: int) -> Search:
    """The least number in a range for which a monotonic condition holds; most + 1 if there is none.

    Yields each number to test, and is sent the answer. Begins at the guess and doubles its stride.
    """
    low, high = least - 1, most + 1  # `low` does not hold, `high` does.
    at, stride = min(max(guess, least), most), 1
    while high - low > 1:
        if (yield at):
            high = at
            at = max(low + 1, high - stride)
        else:
            low = at
            at = min(high - 1, low + stride)
        stride *= 2
        if low >= least and high <= most:
            at = (low + high) // 2
    return high


def together(
    searches: Sequence[Search],
    ask: Callable[[int, int], Question],
    stretches: Stretches,
    good: Callable[[Answer], bool],
) -> list[int]:
    """The results of searches that run side by side. `ask`: the question for a search (by its index) and a number."""
    results: dict[int, int] = {}
    pending = {place: next(search) for place, search in enumerate(searches)}
    while pending:
        questions = {place: ask(place, number) for place, number in pending.items()}
        stretches.answers(questions.values())
        for place, question in questions.items():
            try:
                pending[place] = searches[place].send(good(stretches.asked[question]))
            except StopIteration as e:
                results[place] = e.value
                del pending[place]
    return [results[place] for place in range(len(searches))]


def _good(answer: Answer) -> bool:
    return answer.good


def _bad(answer: Answer) -> bool:
    return not answer.good


def busiest_last(stretches: Stretches) -> list[Hour]:
    """The hours with traffic, the busiest last: by rate. A trace may have bursts, so its hours are ordered by how close
    they come to breaking an objective."""
    hours = sorted((hour for hour in stretches.traffic.hours if hour.rate > 0), key=lambda hour: hour.rate)
    if not isinstance(stretches.traffic, Trace):
        return hours
    replicas = guessed(stretches, hours[-1], 1)
    asked = {hour: Question(hour, replicas, 0) for hour in hours}
    stretches.answers(asked.values())
    return sorted(hours, key=lambda hour: stretches.strain(stretches.asked[asked[hour]]))


def guessed(stretches: Stretches, hour: Hour, least: int) -> int:
    """The estimated replicas for an hour, from their saturated throughput; `least` before that is known."""
    return math.ceil(hour.rate / (_AIM * stretches.saturated)) if math.isfinite(stretches.saturated) else least


def needed(stretches: Stretches, hour: Hour, least: int, most: int, draws: int) -> Needed:
    """The replicas for an hour."""
    guess = guessed(stretches, hour, least)

    def ask(draw: int, replicas: int) -> Question:
        return Question(hour, replicas, draw)

    (first,) = together([least_true(least, most, guess)], ask, stretches, _good)
    others = together(
        [least_true(least, most, first) for _ in range(1, draws)], lambda place, n: ask(place + 1, n), stretches, _good
    )
    by_draw = (first, *others)
    ordered = sorted(by_draw)
    enough = ordered[math.ceil(SURE * len(ordered)) - 1]
    return Needed(by_draw, enough if enough <= most else None)


def representative_draws(stretches: Stretches, hour: Hour, replicas: int, draws: int) -> list[int]:
    """Three draws that represent all: the first, and the two in which this hour strains this many replicas least and most."""
    questions = [Question(hour, replicas, draw) for draw in range(draws)]
    stretches.answers(questions)
    strain = [stretches.strain(stretches.asked[question]) for question in questions]
    ordered = sorted(range(draws), key=lambda draw: strain[draw])
    return list(dict.fromkeys([0, ordered[0], ordered[-1]]))


def broken_hours(stretches: Stretches, replicas: int, draws: Sequence[int]) -> list[set[Hour]]:
    """The hours that this many replicas do not hold, for each draw. They are the last ones of `busiest_last`."""
    busy = busiest_last(stretches)
    if replicas < 1:
        return [set(busy) for _ in draws]
    guess = sum(hour.rate <= _AIM * stretches.saturated * replicas for hour in busy)
    places = together(
        [least_true(0, len(busy) - 1, guess) for _ in draws],
        lambda place, hour: Question(busy[hour], replicas, draws[place]),
        stretches,
        _bad,
    )
    return [set(busy[place:]) for place in places]


def headroom(
    stretches: Stretches, hour: Hour, replicas: int, draws: Sequence[int], *, known: bool
) -> tuple[list[float], bool]:
    """For each draw, how many times the traffic of an hour this many replicas hold; 0 if not even once. Also whether
    they may hold more: no draw breaks at the highest multiple tried, or the fit does not cover such loads. `known`: it
    covers this one."""

    def seen(answer: Answer) -> bool:
        return not known or not stretches.server.beyond(answer.in_flight, answer.tokens)

    def ask(place: int, times: int) -> Question:
        return Question(hour, replicas, draws[place], _MORE_TRAFFIC[times])

    places = together(
        [least_true(0, len(_MORE_TRAFFIC) - 1, 2) for _ in draws],
        ask,
        stretches,
        lambda answer: not (answer.good and seen(answer)),
    )
    ends = [ask(place, times) for place, times in enumerate(places) if times < len(_MORE_TRAFFIC)]
    more = len(ends) < len(draws) or any(stretches.asked[end].good for end in ends)
    return [_MORE_TRAFFIC[place - 1] if place else 0.0 for place in places], more


def lost(stretches: Stretches, hour: Hour, replicas: int, draws: int, broken: set[Hour]) -> Lost:
    """The effect of a replica that dies in the busiest hour and is not replaced. `broken`: the hours that the others do
    not hold."""
    whole, fewer = ([Question(hour, n, draw) for draw in range(draws)] for n in (replicas, replicas - 1))
    stretches.answers([*whole, *fewer])
    in_flight = tuple(stretches.asked[question].mean_in_flight for question in whole)
    holds = sum(stretches.asked[question].good for question in fewer) / draws
    return Lost(in_flight, holds, min(broken, key=lambda hour: hour.start_s, default=None))


def scaled(stretches: Stretches, most: int, cold_start_s: float, draws: Sequence[int]) -> Scaled:
    """The plan in which each hour has the replicas that it needs."""
    by_hour = _by_hour(stretches, most, draws)
    hours = stretches.traffic.hours
    starts = [
        max(0, later - before) for before, later in zip(by_hour[0][-1:] + by_hour[0][:-1], by_hour[0], strict=True)
    ]
    replica_hours = tuple(
        sum(n * hour.duration_s for n, hour in zip(need, hours, strict=True)) / 3600
        + sum(max(0, b - a) for a, b in zip(need[-1:] + need[:-1], need, strict=True)) * cold_start_s / 3600
        for need in by_hour
    )
    worst = max(range(len(hours)), key=lambda place: starts[place])
    late = None
    if starts[worst]:
        after = by_hour[0][worst]
        cold = (cold_start_s + stretches.settle_s) * 1e6
        question = Question(hours[worst], after - starts[worst], 0, changes=((cold, after),))
        late = stretches.answer(question).broken
    return Scaled(tuple(by_hour[0]), replica_hours, max(starts), late)


def _by_hour(stretches: Stretches, most: int, draws: Sequence[int]) -> list[list[int]]:
    """For each draw, the replicas that each hour needs, at most this many."""
    busy = busiest_last(stretches)
    pairs = [(replicas, draw) for replicas in range(1, most) for draw in draws]

    def ask(place: int, hour: int) -> Question:
        replicas, draw = pairs[place]
        return Question(busy[hour], replicas, draw)

    guesses = [sum(hour.rate <= _AIM * stretches.saturated * replicas for hour in busy) for replicas, _ in pairs]
    searches = [least_true(0, len(busy) - 1, guess) for guess in guesses]
    first_broken = dict(zip(pairs, together(searches, ask, stretches, _bad), strict=True))
    rank = {hour: place for place, hour in enumerate(busy)}
    return [
        [
            1 + sum(hour.rate > 0 and rank[hour] >= first_broken[replicas, draw] for replicas in range(1, most))
            for hour in stretches.traffic.hours
        ]
        for draw in draws
    ]
