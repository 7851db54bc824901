"""The decisions of a plan for replicas with a known capacity in requests per second, all computed by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

from bench.capacity_plan import decide, plan
from bench.capacity_plan.decide import Scaled, spread
from bench.capacity_plan.fitted import FittedServer
from bench.capacity_plan.plan import Asked, planned
from bench.capacity_plan.stretches import Answer, Question, Stretches
from bench.capacity_plan.traffic import Hour, Schedule, Trace
from bench.metrics.objectives import parse
from bench.results.base import to_plain
from bench.results.profile import Replay, ReplayedNumber
from tests.support.changed import replace
from tests.support.planned_server import profile

NIGHT, NOON, EVENING, LATE = (
    Hour(0, 10_800, 7),
    Hour(10_800, 21_600, 20),
    Hour(32_400, 7_200, 10),
    Hour(39_600, 3_600, 0),
)


@dataclass
class Known(Stretches):
    """`holds`: the capacity of a replica in requests per second, for each draw. At this rate TTFT is 100 ms, its limit.
    On a server that pads batches TTFT is 1.2 times as long. `bursts`: how many times its mean rate the busiest stretch of
    an hour has."""

    holds: tuple[float, ...] = ()
    bursts: Mapping[Hour, float] = field(default_factory=dict)

    def prepare(self) -> None:
        self.settle_s, self.saturated = 100.0, 8.0

    def answers(self, questions: Iterable[Question]) -> None:
        for one in questions:
            used = (1.2 if one.padded else 1.0) * one.hour.rate * one.times / (self.holds[one.draw] * one.replicas)
            used *= self.bursts.get(one.hour, 1.0)
            broken, good = max(0.0, 1 - self.holds[one.draw] * one.replicas / (one.hour.rate * one.times)), used < 1
            self.asked[one] = Answer((100 * used,), (good,), broken, 50 * used, 0, 10 * used, overloaded=False)


def known(folder: Path, *holds: float, hours: Sequence[Hour] = (NIGHT, NOON, EVENING, LATE)) -> Known:
    server = FittedServer(profile(folder), [])
    nothing = cast("Any", None)
    made = Known(nothing, server, Schedule(hours, nothing, nothing), parse(["ttft:p99<100ms"]), "prefix", holds=holds)
    made.prepare()
    return made


def test_all_that_a_plan_says_follows_from_what_a_replica_holds(tmp_path: Path) -> None:
    # Noon has 20 requests per second: these draws need 3.2, 2.5, 2.2, 3.6 and 2.9 replicas.
    found = known(tmp_path, 6.2, 8, 9, 5.5, 7)
    asked = Asked(2, 16, 5, price=2.0, cold_start_s=1_800.0, command=["plan"], date="today", settings={"draws": 5})
    content = to_plain(planned(found, asked))
    assert content == {
        "schema": "trueload/plan/1", "date": "today", "command": ["plan"], "settings": {"draws": 5},
        "server": found.server.profile.provenance.server, "objectives": ["ttft:p99<100ms"], "router": "prefix",
        "least": 2, "most": 16, "draws": 5, "known": True, "unknown": [],
        "not_shown": [
            "bursts, and peaks within a part of the day: arrivals are Poisson at the rate of each part (--trace plans for "
            "recorded requests); --burstiness plans for bursts"
        ],
        "replicas": 4, "interval": [3, 4],
        # Four replicas hold 24.8 requests per second in the first draw, 36 in the best and 22 in the worst.
        "headroom": 1.216, "headroom_interval": [1.05, 1.796],
        "at_peak": [
            # The limit is met in five of five draws: 0.025 ** (1 / 5).
            {"objective": "ttft:p99<100ms", "value": 71.43, "interval": [55.56, 90.91], "holds": 1.0,
             "holds_interval": [0.478176, 1.0]}
        ],
        "hours": [
            {"start_s": 0, "duration_s": 10_800, "rate": 7, "replicas": 2, "breaks": "no"},
            {"start_s": 10_800, "duration_s": 21_600, "rate": 20, "replicas": 4, "breaks": "perhaps"},
            {"start_s": 32_400, "duration_s": 7_200, "rate": 10, "replicas": 2, "breaks": "no"},
            {"start_s": 39_600, "duration_s": 3_600, "rate": 0, "replicas": 1, "breaks": "no"},
        ],
        "breaks_first_s": 10_800, "breaks_first_interval": [10_800, 10_800],
        "lost": {"requests_lost": 7.143, "interval": [5.556, 9.091], "holds": 0.6, "first_broken_s": 10_800},
        # Over twelve hours: 35 replica hours and three starts of half an hour; in the best draw 26 and two.
        "autoscaling": {
            "cold_start_s": 1_800, "replica_hours": 73, "interval": [54, 73], "most_started": 2,
            "late_breaks": 0.38, "cost_a_day": 146, "cost_interval": [108, 146],
        },
        "warnings": plan.warnings_of(found), "price": 2, "cost_a_day": 192, "cost_interval": [144, 192],
    }  # fmt: skip
    # Two more replicas are ready one cold start after the earlier requests have settled.
    assert Question(NOON, 2, 0, changes=((1_900e6, 4),)) in found.asked


def test_a_plan_of_a_trace_knows_only_its_own_requests(tmp_path: Path) -> None:
    found = known(tmp_path, 6.2)
    found.traffic = Trace(found.traffic.hours, ())
    (said,) = planned(found, Asked(1, 9, 1, price=None, cold_start_s=None, command=[], date="", settings={})).not_shown
    assert said.startswith("other days: every draw has the same requests")


def test_the_hour_of_a_trace_with_the_hardest_burst_decides(tmp_path: Path) -> None:
    # Of 20 requests per second at noon, and of 7 at night that come four times as densely.
    found = known(tmp_path, 8)
    found.traffic, found.bursts = Trace(found.traffic.hours, ()), {NIGHT: 4.0}
    content = planned(found, Asked(1, 9, 1, price=None, cold_start_s=1.0, command=[], date="", settings={}))
    assert (content.replicas, content.breaks_first_s) == (4, NIGHT.start_s)
    assert [(hour.replicas, hour.breaks) for hour in content.hours] == [(4, "yes"), (3, "no"), (2, "no"), (1, "no")]


@pytest.mark.parametrize(("holds", "headroom", "interval"), [(76, 3.733, [3.733, 3.733]), (80, 3.92, None)])
def test_a_headroom_beyond_the_most_that_is_tried_has_no_interval(
    holds: float, headroom: float, interval: list[float] | None, tmp_path: Path
) -> None:
    found = known(tmp_path, holds)
    content = planned(found, Asked(1, 4, 1, price=None, cold_start_s=None, command=[], date="", settings={}))
    assert (content.replicas, content.headroom, content.headroom_interval) == (1, headroom, interval)


@pytest.mark.parametrize(
    ("seen", "known_so", "headroom", "interval"),
    [(64, True, 1.103, [1.103, 1.103]), (22, True, 1.0, None), (20, False, 1.103, [1.103, 1.103])],
)
def test_a_headroom_ends_at_the_loads_that_the_fit_knows(
    seen: int, known_so: bool, headroom: float, interval: list[float] | None, tmp_path: Path
) -> None:
    # Two replicas of 8 requests per second have 43.75 requests in flight at rate 14, and 45.9 at 1.05 times that. A fit
    # is valid up to twice the load that it saw. If that makes a plan unknown, the plan says what it would otherwise be.
    found = known(tmp_path, 8, hours=[Hour(0, 3_600, 14)])
    found.server = FittedServer(profile(tmp_path, seen=seen), [])
    content = planned(found, Asked(1, 8, 1, price=None, cold_start_s=None, command=[], date="", settings={}))
    assert (content.known, content.headroom, content.headroom_interval) == (known_so, headroom, interval)


def test_a_plan_is_not_known_if_the_profile_misjudged_its_objective_by_more_than_its_room(tmp_path: Path) -> None:
    found = known(tmp_path, 6.2)
    for replayed, unknown in ((150.0, 1), (250.0, 0)):  # TTFT is 300 ms. At noon it is 81 of 100 ms with four replicas.
        off = replayed / 300 - 1
        row = ReplayedNumber(number="ttft_ms", quantile="p99", measured=300, replayed=replayed, off=off, apart=True)
        load = Replay(name="busy", held_out=False, numbers=[row])
        found.server = FittedServer(structs.replace(found.server.profile, replay=[load]), [])
        content = planned(found, Asked(1, 8, 1, price=None, cold_start_s=None, command=[], date="", settings={}))
        assert (content.replicas, content.known, len(content.unknown)) == (4, not unknown, unknown)


@pytest.mark.parametrize(("rate", "seen", "unknown"), [(14, 40, 1), (14, 44, 0), (12, 40, 0)])
def test_a_plan_is_not_known_if_it_rests_on_batches_that_were_not_seen(
    rate: float, seen: int, unknown: int, tmp_path: Path
) -> None:
    # Two replicas of 8 requests per second have 43.75 requests in flight at rate 14, where TTFT is 87.5 of 100 ms, or
    # 105 ms if batches of more than 40 are padded. At rate 12 it is 90 ms when padded.
    found = known(tmp_path, 8, hours=[Hour(0, 3_600, rate)])
    server = profile(tmp_path, seen=seen)
    found.server = FittedServer(server, [], tmp_path / "padded.json")
    content = planned(found, Asked(1, 8, 1, price=None, cold_start_s=None, command=[], date="", settings={}))
    assert (content.replicas, content.known, len(content.unknown)) == (2, not unknown, unknown)
    assert all("the fit saw 40" in one and "--concurrency 80" in one for one in content.unknown)


def test_a_plan_of_which_no_number_is_enough_has_no_costs(tmp_path: Path) -> None:
    found = known(tmp_path, 6.2, 8)
    content = planned(found, Asked(1, 2, 2, price=2.0, cold_start_s=1.0, command=[], date="", settings={}))
    assert (content.replicas, content.interval, content.lost, content.autoscaling) == (None, [3, 3], None, None)
    assert (content.cost_a_day, content.cost_interval, content.headroom_interval) == (None, None, None)
    assert [hour.breaks for hour in content.hours] == ["no", "yes", "no", "no"]


@pytest.mark.parametrize(
    ("holds", "most", "needed"),
    [
        # At least 90% of the draws: 2 of 2, 9 of 10, 10 of 11.
        ((9, 21), 8, ((3, 1), 3)),
        ((21, *[11] * 8, 2.1), 16, ((1, *[2] * 8, 10), 2)),
        ((21, *[11] * 8, 2.1, 2.3), 16, ((1, *[2] * 8, 10, 9), 9)),
        ((9, 2.6), 8, ((3, 8), 8)),
        ((9, 2.4), 8, ((3, 9), None)),
    ],
)
def test_the_replicas_hold_in_nine_draws_of_ten(
    holds: tuple[float, ...], most: int, needed: tuple[tuple[int, ...], int | None], tmp_path: Path
) -> None:
    found = decide.needed(known(tmp_path, *holds), NOON, 1, most, len(holds))
    assert (found.by_draw, found.replicas) == needed


def test_the_first_question_is_of_three_quarters_of_the_saturated_throughput(tmp_path: Path) -> None:
    found = known(tmp_path, 8)
    decide.needed(found, NOON, 1, 16, 1)
    assert [question.replicas for question in found.asked][:1] == [4]  # 20 / (0.75 * 8) = 3.3
    found = known(tmp_path, 8)
    found.saturated = float("inf")
    decide.needed(found, NOON, 2, 16, 1)
    assert [question.replicas for question in found.asked][:1] == [2]


@pytest.mark.parametrize(("many", "ends"), [(1, (0, 0)), (39, (0, 38)), (40, (1, 38)), (120, (3, 116))])
def test_the_spread_leaves_out_one_of_forty_at_each_end(many: int, ends: tuple[int, int]) -> None:
    assert spread(range(many - 1, -1, -1)) == ends


@pytest.mark.parametrize(
    ("holds", "draws"), [((6, 8, 9, 5), [0, 2, 3]), ((9, 8, 5), [0, 2]), ((5, 8, 9), [0, 2]), ((8,), [0])]
)
def test_the_draws_that_represent_all_are_the_first_the_easiest_and_the_hardest(
    holds: tuple[float, ...], draws: list[int], tmp_path: Path
) -> None:
    assert decide.representative_draws(known(tmp_path, *holds), NOON, 3, len(holds)) == draws


def test_the_hours_above_some_rate_break(tmp_path: Path) -> None:
    found = known(tmp_path, 8, 5, 25)
    assert decide.broken_hours(found, 1, [0, 1, 2]) == [{NOON, EVENING}, {NIGHT, NOON, EVENING}, set()]
    assert decide.broken_hours(found, 0, [0, 2]) == [{NIGHT, NOON, EVENING}] * 2


@pytest.mark.parametrize(
    ("hours", "cold_start_s", "scaled"),
    [
        # The hour before the first is the last hour of the day.
        ((NOON, NIGHT), 3_600.0, Scaled((3, 1), (23.0,), 2, 1 - 8 / 20)),
        ((NIGHT, NOON, EVENING), 0.0, Scaled((1, 3, 2), (25.0,), 2, 1 - 8 / 20)),
        ((NIGHT, LATE), 3_600.0, Scaled((1, 1), (4.0,), 0, None)),
    ],
)
def test_replicas_are_started_before_the_hour_that_needs_them(
    hours: tuple[Hour, ...], cold_start_s: float, scaled: Scaled, tmp_path: Path
) -> None:
    assert decide.scaled(known(tmp_path, 8, hours=hours), 4, cold_start_s, [0]) == scaled


def test_a_lost_replica_breaks_its_earliest_hour_first(tmp_path: Path) -> None:
    found = decide.lost(known(tmp_path, 8, 11), NOON, 3, 2, {EVENING, NOON})
    assert found.in_flight == pytest.approx((10 * 20 / 24, 10 * 20 / 33))
    assert (found.holds, found.first_broken) == (0.5, NOON)
    assert decide.lost(known(tmp_path, 11), NOON, 3, 1, set()).first_broken is None


def answer(in_flight: float, tokens: float = 0, *, value: float = 1.0, overloaded: bool = False) -> Answer:
    return Answer((value,), (value < 100,), 0.0, in_flight, tokens, 1.0, overloaded)


@pytest.mark.parametrize(
    ("answers", "unknown"),
    [
        # The fit saw 64 requests and 1,600 tokens in flight. The median over the draws that are not overloaded counts.
        ([answer(128), answer(129, overloaded=True)], []),
        ([answer(129)], ["129 requests in flight"]),
        ([answer(127), answer(128), answer(900)], []),
        ([answer(1), answer(1, 2_000), answer(1, 9_000)], []),
        ([answer(1), answer(1, 2_001), answer(1, 9_000)], ["2,001 tokens"]),
        ([answer(129, 2_001)], ["129 requests", "2,001 tokens"]),
        ([answer(900, overloaded=True)], []),
    ],
)
def test_a_plan_rests_on_what_a_replica_has_in_flight_in_the_middle_draw(
    answers: list[Answer], unknown: list[str], tmp_path: Path
) -> None:
    made = profile(tmp_path)
    assert made.limits is not None
    limits = replace(made.limits, kv_blocks=replace(made.limits.kv_blocks, value=None))
    found = known(tmp_path, 8)
    found.server = FittedServer(replace(made, limits=limits), [])
    said = plan._unknown(found, answers)
    assert [words in sentence for words, sentence in zip(unknown, said, strict=True)] == [True] * len(unknown)


@pytest.mark.parametrize(
    ("answers", "row"),
    [
        ([answer(1, value=80), answer(1, value=90), answer(1, value=math.inf)], (85, [80, 90], 0.6667)),
        ([answer(1, value=80), answer(1, value=90, overloaded=True), answer(1, value=70)], (80, [70, 90], 0.6667)),
        ([answer(1, value=math.inf)], (None, None, 0)),
        ([answer(1, value=value) for value in range(1, 100, 2)], (50, [3, 97], 1)),
    ],
)
def test_an_objective_at_the_peak_has_its_median_and_the_share_of_the_draws_that_hold_it(
    answers: list[Answer], row: tuple[object, ...], tmp_path: Path
) -> None:
    (shown,) = plan._objectives(known(tmp_path, 8), answers)
    assert (shown.value, shown.interval, shown.holds) == row
