"""A plan's results, in virtual time with the mock's engines in this process."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bench.capacity_plan import decide
from bench.capacity_plan.decide import Search, least_true
from bench.capacity_plan.plan import Asked, planned
from bench.capacity_plan.simulators import Simulated
from bench.capacity_plan.stretches import Answer, Question, supported
from bench.capacity_plan.traffic import Hour, Requests
from bench.commands.plan import progress
from bench.documents.document import Level
from bench.documents.plan_document import plan_document
from bench.errors import UsageError
from bench.metrics.objectives import parse
from bench.report import text
from bench.results.plan import PlanContent
from tests.support.changed import replace as changed
from tests.support.planned_server import HOURS, stretches

SLO = ("ttft:p99<150ms", "tpot:p99<45ms")


@pytest.fixture(autouse=True)
def _shorter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch has a quarter of the usual requests: only the tests marked `long` need a steady p99."""
    if request.node.get_closest_marker("long"):
        return
    monkeypatch.setattr("bench.capacity_plan.stretches._REQUESTS", 250)
    monkeypatch.setattr("bench.capacity_plan.stretches._LEAST_S", 5.0)


def asked(**of: object) -> Asked:
    values: dict[str, object] = {
        "least": 1, "most": 16, "draws": 1, "price": None, "cold_start_s": None, "command": ["plan"], "date": "2026-11-29",
        "settings": {},
    }  # fmt: skip
    return Asked(**{**values, **of})  # type: ignore[arg-type]


def test_the_time_that_is_left_is_that_of_the_stretches_that_such_a_plan_takes(tmp_path: Path) -> None:
    plan, _ = stretches(tmp_path, *SLO)
    ten = asked(draws=10)
    assert progress(plan, ten, 3.0) == "planning: 0 stretches simulated"
    answer = Answer((1.0, 1.0), (True, True), 0.0, 1.0, 1.0, 1.0, overloaded=False)
    plan.asked |= {Question(HOURS[2], 1, draw): answer for draw in range(10)}
    # 2 stretches for each of 10 draws, and 30 for the hours and the headroom.
    assert progress(plan, ten, 20.0) == "planning: 10 stretches simulated, about 80 s left"
    plan.saturated = 14.0  # 42/s need 4 replicas at three quarters of that rate.
    assert progress(plan, asked(draws=10, cold_start_s=60.0), 20.0).endswith(", about 1.9 min left")
    plan.asked |= {Question(HOURS[2], 2, draw): answer for draw in range(90)}
    assert progress(plan, ten, 100.0).endswith(", about 1 s left")


@pytest.mark.parametrize("answer", [1, 2, 7, 8, 30, 33])
@pytest.mark.parametrize("guess", [1, 7, 40])
def test_the_least_number_is_found_in_few_questions(answer: int, guess: int) -> None:
    asked_for: list[int] = []

    def holds(number: int) -> bool:
        asked_for.append(number)
        return number >= answer

    assert result_of(least_true(1, 32, guess), holds) == answer
    assert len(asked_for) <= 10
    assert set(asked_for) <= set(range(1, 33))


@pytest.mark.parametrize(
    ("guess", "answer", "asked"),
    [
        (10, 50, [10, 11, 13, 17, 25, 41, 73, 57, 49, 53, 51, 50]),
        (60, 22, [60, 59, 57, 53, 45, 29, 1, 15, 22, 18, 20, 21]),
        (98, 101, [98, 99, 100]),
        (0, 1, [1]),
        (200, 100, [100, 99]),
    ],
)
def test_a_search_doubles_its_stride_until_the_answer_is_passed_and_halves_what_is_left(
    guess: int, answer: int, asked: list[int]
) -> None:
    questions: list[int] = []

    def holds(number: int) -> bool:
        questions.append(number)
        return number >= answer

    assert (result_of(least_true(1, 100, guess), holds), questions) == (answer, asked)


def result_of(search: Search, holds: Callable[[int], bool]) -> int:
    number = next(search)
    while True:
        try:
            number = search.send(holds(number))
        except StopIteration as end:
            return int(end.value)


def test_the_planned_replicas_hold_the_busiest_hour_and_one_fewer_does_not(tmp_path: Path) -> None:
    found, _ = stretches(tmp_path, *SLO)
    plan = planned(found, asked())
    assert plan.replicas is not None
    peak = HOURS[2]
    assert found.answer(Question(peak, plan.replicas, 0)).good
    assert not found.answer(Question(peak, plan.replicas - 1, 0)).good
    assert (plan.known, plan.unknown, plan.breaks_first_s) == (True, [], 50_400)
    assert not any("no run at a rate was fitted" in warning for warning in plan.warnings)
    assert plan.lost is not None
    assert (plan.lost.holds, plan.lost.first_broken_s) == (0, 50_400)
    assert plan.headroom is not None
    assert 1 <= plan.headroom < plan.replicas / (plan.replicas - 1) + 0.1


def test_a_limit_that_a_request_alone_breaks_is_no_matter_of_replicas(tmp_path: Path) -> None:
    # A step takes 12 ms, so a second replica does not bring the first token within 1 ms.
    found, _ = stretches(tmp_path, "ttft:p99<1ms", "tpot:p99<45ms")
    plan = planned(found, asked(most=2))
    assert (plan.replicas, plan.broken_alone) == (None, ("ttft:p99<1ms",))
    banner = " ".join(text.render(plan_document(plan)).split())
    assert "No number of replicas holds the objectives: a request alone on a replica breaks ttft:p99<1ms" in banner
    assert "Raise --replicas" not in banner
    assert "Replicas needed no number is enough" in banner


def test_a_range_that_is_too_small_has_no_answer(tmp_path: Path) -> None:
    found, _ = stretches(tmp_path, *SLO)
    plan = planned(found, asked(most=1))
    assert (plan.replicas, plan.interval, plan.headroom, plan.lost) == (None, [2, 2], None, None)
    assert [hour.breaks for hour in plan.hours] == ["no", "no", "yes", "no"]
    assert plan.breaks_first_s == 50_400
    assert "Raise --replicas, or relax an objective" in " ".join(text.render(plan_document(plan)).split())
    unsure = [changed(hour, breaks="perhaps") for hour in plan.hours]
    said = " ".join(text.render(plan_document(changed(plan, hours=unsure))).split())
    assert f"Nor do they surely hold {min(hour.rate for hour in unsure):g}/s, so more may not help: relax" in said
    assert "Raise --replicas" not in said


@pytest.mark.parametrize(
    ("of", "unknown"),
    [
        ({"seen": 64, "seqs": 64}, []),
        ({"seen": 2, "seqs": 64}, ["a replica has up to 64 requests in flight, and the fit saw 2: what such"]),
        ({"seen": 64, "seqs": None}, ["max_num_seqs is not known, and a server that takes more at once may"]),
    ],
)
def test_of_too_few_replicas_the_requests_that_pile_up_are_no_load_to_fit(
    of: dict[str, Any], unknown: list[str], tmp_path: Path
) -> None:
    found, _ = stretches(tmp_path, *SLO, hours=[Hour(0, 3_600, 84.0)], **of)
    plan = planned(found, asked(most=1))
    (in_flight,) = (answer.in_flight for question, answer in found.asked.items() if question.replicas == 1)
    assert in_flight > 2 * 64
    assert plan.replicas is None
    assert [sentence[: len(start)] for sentence, start in zip(plan.unknown, unknown, strict=True)] == unknown


def test_a_plan_of_one_replica_says_nothing_of_fewer_and_what_was_tried_at_most(tmp_path: Path) -> None:
    found, _ = stretches(tmp_path, *SLO, hours=[Hour(0, 3_600, 0.01)])
    plan = planned(found, asked(most=2))
    assert (plan.replicas, plan.headroom, plan.headroom_interval) == (1, pytest.approx(1.05**28, rel=1e-3), None)
    told = " ".join(text.render(plan_document(plan), Level.USUAL).split())
    assert "3.92 times this (at least this)" in told
    assert "one fewer" not in told.lower()


def planned_of_peak(folder: Path, **of: Any) -> PlanContent:
    found, _ = stretches(folder, "tpot:p99<45ms", draws=5, hours=HOURS[2:3], **of)
    return planned(found, asked(draws=5, most=4))


@pytest.mark.long
def test_an_uncertain_fit_gives_a_wider_interval(tmp_path: Path) -> None:
    sure, unsure = planned_of_peak(tmp_path), planned_of_peak(tmp_path, within=1.2)
    assert (sure.replicas, sure.interval) == (2, [2, 2])
    assert (unsure.replicas, unsure.interval) == (3, [1, 3])
    assert sure.headroom_interval is not None
    assert unsure.headroom_interval is not None
    widths = [high / low for low, high in (sure.headroom_interval, unsure.headroom_interval)]
    assert widths[1] > 1.5 * widths[0]


def test_scaling_by_the_hour_takes_fewer_replicas_and_costs_what_they_cost(tmp_path: Path) -> None:
    found, _ = stretches(tmp_path, *SLO)
    plan = planned(found, asked(price=2.0, cold_start_s=60.0))
    by_hour = [hour.replicas for hour in plan.hours]
    assert plan.replicas is not None
    assert by_hour[2] == plan.replicas
    for hour, replicas in zip(HOURS, by_hour, strict=True):
        assert replicas is not None
        assert found.answer(Question(hour, replicas, 0)).good
        assert replicas == 1 or not found.answer(Question(hour, replicas - 1, 0)).good
    assert plan.autoscaling is not None
    hours = sum(hour.duration_s / 3600 * (n or 0) for hour, n in zip(HOURS, by_hour, strict=True))
    assert hours < plan.autoscaling.replica_hours < hours + 0.5
    assert plan.cost_a_day == 48 * plan.replicas
    assert plan.autoscaling.cost_a_day == pytest.approx(2 * plan.autoscaling.replica_hours, rel=1e-3)
    assert plan.autoscaling.late_breaks is not None
    assert plan.autoscaling.late_breaks > 0


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"seen": 2, "seqs": None}, "max_num_seqs is not known"),
        ({"seen": 2, "seqs": 64}, "what such batches cost is not known"),
        ({"seen": 64, "seqs": None}, None),
    ],
)
def test_a_load_that_the_fit_has_not_seen_is_not_known(of: dict[str, Any], said: str | None, tmp_path: Path) -> None:
    plan = planned(stretches(tmp_path, *SLO, hours=HOURS[2:3], **of)[0], asked())
    assert plan.known is (said is None)
    assert [said in sentence for sentence in plan.unknown if said is not None] == ([] if said is None else [True])


def test_a_rate_above_the_saturated_throughput_breaks_whatever_a_stretch_shows(tmp_path: Path) -> None:
    found, _ = stretches(tmp_path, "ttft:p99<900s")
    found.prepare()
    assert 15 < found.saturated < 60
    answer = found.answer(Question(HOURS[2], 1, 0, times=4.0))
    assert all(answer.holds)
    assert not answer.good


def test_no_stretch_is_simulated_twice(tmp_path: Path) -> None:
    found, simulators = stretches(tmp_path, *SLO, draws=2)
    planned(found, asked(draws=2))
    jobs = [repr((job["replicas"], job["changes"], job["settings"], job["at_us"])) for job in simulators.jobs[2:]]
    assert len(jobs) == len(set(jobs)) == len(found.asked)


def test_goodput_is_the_share_that_keeps_every_limit(tmp_path: Path) -> None:
    found, _ = stretches(tmp_path, "goodput>=90%", "ttft:p50<60ms")
    answer = found.answer(Question(HOURS[2], 4, 0))
    assert answer.values[0] == pytest.approx(1 - answer.broken)


@pytest.mark.parametrize("slo", ["itl:p99<50ms", "error_rate<1%", "ttft{class=chat}:p99<1s"])
def test_objectives_that_a_simulation_cannot_tell_are_refused(slo: str) -> None:
    with pytest.raises(UsageError, match="plan knows ttft, tpot, e2el and goodput"):
        supported(parse([slo]))


def test_objectives_that_a_simulation_can_tell_are_taken() -> None:
    supported(parse(["ttft:p99<1s", "tpot:p99<50ms", "e2el:mean<9s", "goodput>=90%"]))


def test_what_a_replica_holds_at_once(tmp_path: Path) -> None:
    """One replica has requests at 0 to 4 s, 1 to 3 s, and 2 s to the end at 5 s. The other has one at 3 to 5 s.
    Together: 11 s of requests in twice 5 s."""

    made, _ = stretches(tmp_path, "ttft:p99<1s")
    found: Any = replace(made, simulators=cast("Any", Seen(FOUR)), traffic=cast("Any", Day()))
    answer = found.answer(Question(HOURS[0], 2, 0))
    assert (answer.in_flight, answer.tokens, answer.mean_in_flight) == (3, 11 + 22 + 33, 1.1)
    assert (answer.values, answer.broken) == ((math.inf,), 0.25)


def test_an_answer_fits_80_columns(tmp_path: Path) -> None:
    plan = planned(stretches(tmp_path, *SLO, draws=2)[0], asked(draws=2, price=3.0, cold_start_s=30.0))
    shown = text.render(plan_document(plan), Level.USUAL, width=80)
    assert "2 replicas hold the objectives, $144 a day" in shown
    assert re.search(r"ttft:p99<\S+ +[\d.]+ ms ", shown)
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("\n") < 45


class Seen:
    """The same answer to every job."""

    def __init__(self, *answers: Simulated) -> None:
        self._answers = answers

    def answers(self, jobs: Sequence[object]) -> list[Simulated]:
        return [*self._answers]


class Day:
    """Four requests, a second apart."""

    hours = HOURS

    def requests(self, *of: object) -> Requests:
        return Requests([0.0, 1e6, 2e6, 3e6], [10, 20, 30, 40], [1, 2, 3, 4])


FOUR = Simulated([0.0, 1e6, 2e6, 3e6], [0.5e6, 1.5e6, None, 3.5e6], [4e6, 3e6, None, 5e6], [0, 0, 0, 1])
"""TTFT: 0.5 s, 0.5 s, never, 0.5 s. E2EL: 4 s, 2 s, never, 2 s."""


@pytest.mark.parametrize(
    ("slo", "settle_s", "broken"),
    [
        (("ttft:p99<1s",), 0.0, 0.25),
        (("e2el:p99<2500ms", "ttft:p99<1s"), 0.0, 0.5),
        (("ttft:p99<1s", "e2el:p99<2500ms"), 0.0, 0.5),
        # Only requests after the settling time count, if there are any.
        (("e2el:p99<2500ms",), 1.5, 0.5),
        (("e2el:p99<2500ms",), 2.0, 0.5),
        (("e2el:p99<2500ms",), 2.5, 0.0),
        (("e2el:p99<2500ms",), 9.0, 0.5),
    ],
)
def test_a_request_is_broken_if_it_misses_any_limit(
    slo: tuple[str, ...], settle_s: float, broken: float, tmp_path: Path
) -> None:
    made, _ = stretches(tmp_path, *slo)
    found = replace(made, simulators=cast("Any", Seen(FOUR)), traffic=cast("Any", Day()), settle_s=settle_s)
    assert found.answer(Question(HOURS[0], 2, 0)).broken == broken


def test_the_saturated_throughput_is_that_of_the_middle_half(tmp_path: Path) -> None:
    def ended(at_us: Sequence[float | None]) -> Simulated:
        return Simulated([0.0] * len(at_us), [*at_us], [*at_us], [0] * len(at_us))

    made, _ = stretches(tmp_path, "ttft:p99<1s")
    # The middle has ten requests per second. The first and the last hundred are slower, and some never end.
    middle = [1_000e6 + n * 0.1e6 for n in range(203)]
    times = [*[n * 10e6 for n in range(100)], *middle, *[2_000e6 + n * 10e6 for n in range(100)], None, None]
    found = replace(made, simulators=cast("Any", Seen(ended([1e6] * 4), ended(times))), traffic=cast("Any", Day()))
    found.prepare()
    assert found.saturated == pytest.approx(10, rel=0.01)
    found = replace(found, simulators=cast("Any", Seen(ended([1e6] * 4), ended([5e6] * 8))))
    found.prepare()
    assert found.saturated == math.inf


@pytest.mark.parametrize(
    ("slo", "values", "overloaded", "strain"),
    [
        (("ttft:p99<200ms",), (150.0,), False, 0.75),
        (("ttft:p99<200ms", "goodput>=90%"), (1.0, 0.8), False, 2.0),
        (("ttft:p99<200ms", "goodput>=90%", "ttft:p50<1s"), (50.0, 0.95, 50.0), False, 0.5),
        (("ttft:p99<200ms",), (150.0,), True, math.inf),
    ],
)
def test_the_strain_is_the_share_of_the_way_to_the_nearest_limit(
    slo: tuple[str, ...], values: tuple[float, ...], overloaded: bool, strain: float, tmp_path: Path
) -> None:
    found, _ = stretches(tmp_path, *slo)
    answer = Answer(values, (True,) * len(values), 0.0, 1, 1, 1, overloaded)
    assert found.strain(answer) == pytest.approx(strain)


def test_the_headroom_is_the_last_multiple_that_holds(tmp_path: Path) -> None:
    found, _ = stretches(tmp_path, *SLO)
    found.prepare()
    for replicas in (1, 2):
        (times,), more = decide.headroom(found, HOURS[2], replicas, [0], known=False)
        assert not more
        multiples = decide._MORE_TRAFFIC
        if times == 0:
            assert not found.answer(Question(HOURS[2], replicas, 0, multiples[0])).good
            continue
        assert found.answer(Question(HOURS[2], replicas, 0, times)).good
        following = multiples[multiples.index(times) + 1 :]
        assert not following or not found.answer(Question(HOURS[2], replicas, 0, following[0])).good
    quiet = Hour(0, 3_600, 0.01)
    assert decide.headroom(found, quiet, 8, [0], known=True) == ([decide._MORE_TRAFFIC[-1]], True)


def test_hours_have_the_replicas_that_they_need_however_many_there_may_be(tmp_path: Path) -> None:
    hours = (Hour(0, 21_600, 0.0), *HOURS[1:])
    found, _ = stretches(tmp_path, *SLO, hours=hours)
    plan = planned(found, asked())
    assert plan.replicas is not None
    few, many = (decide.scaled(found, most, 60.0, [0]) for most in (plan.replicas, plan.replicas + 3))
    assert few.by_hour == many.by_hour
    assert few.by_hour[0] == 1
