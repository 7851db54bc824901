"""What a plan simulates of an hour, and its conclusions from hand-made answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from bench.capacity_plan.fitted import FittedServer
from bench.capacity_plan.simulators import Simulated
from bench.capacity_plan.stretches import Answer, Question, Stretches
from bench.capacity_plan.traffic import Hour, Requests
from bench.metrics.objectives import parse
from tests.support.changed import replace
from tests.support.planned_server import profile

INF = math.inf


@dataclass
class Made:
    """Answers jobs in turn."""

    simulated: Sequence[Simulated]
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def answers(self, jobs: Sequence[dict[str, Any]]) -> Sequence[Simulated]:
        self.jobs += jobs
        return self.simulated[: len(jobs)]


@dataclass
class Day:
    """The same requests in every hour."""

    hours: Sequence[Hour]
    load: Requests
    asked: list[tuple[Hour, float, int, float]] = field(default_factory=list)

    def requests(self, hour: Hour, seconds: float, draw: int, times: float = 1.0) -> Requests:
        self.asked.append((hour, seconds, draw, times))
        return self.load


def ended(*last_us: float) -> Simulated:
    return Simulated([0.0] * len(last_us), last_us, last_us, [0] * len(last_us))


def made(
    folder: Path, slo: str, *simulated: Simulated, load: Requests | None = None, hours: Sequence[Hour] = (), **of: Any
) -> tuple[Stretches, Made, Day]:
    """`slo`: objectives, separated by spaces."""
    server = FittedServer(profile(folder, **of), [folder / "first", folder / "second"])
    simulators, day = Made(simulated), Day(hours, load or Requests([0.0], [1], [2]))
    return Stretches(cast("Any", simulators), server, day, parse(slo.split()), "prefix"), simulators, day


@pytest.mark.parametrize(
    ("seqs", "users", "rate", "seconds"),
    [(64, 128, 42.0, 20.0), (64, 128, 4.8, 80.0), (192, 384, 12.0, 96.0), (193, 384, 12.0, 96.0), (None, 384, 12.0, 96.0)],
)  # fmt: skip
def test_a_server_is_measured_with_one_user_and_with_more_than_it_serves_at_once(
    seqs: int | None, users: int, rate: float, seconds: float, tmp_path: Path
) -> None:
    load = Requests([*range(2_000)], [7] * 2_000, [*range(2_000)], [(1, 2)] * 2_000)
    hours = [Hour(0, 60, 1.0), Hour(60, 60, rate)]
    alone = ended(*[second * 1e5 for second in range(11)])
    found, simulators, day = made(tmp_path, "ttft:p99<1s", alone, ended(1, 2), load=load, hours=hours, seqs=seqs)
    found.prepare()
    assert day.asked == [(hours[1], seconds, 0, 1.0)]  # Three requests per user, but at least 20 s.
    for job, of, many in zip(simulators.jobs, (1, users), (20, 3 * users), strict=True):
        assert (job["users"], job["at_us"], job["router"]) == (of, [], "prefix")
        assert job["settings"] == {"profile": str(tmp_path / "first"), "seed": 0}
        assert (job["output_tokens"], job["input_tokens"]) == ([*range(many)], [7] * many)
        assert len(job["prefix"]) == many
    assert found.settle_s == pytest.approx(2.5 * 0.9)  # 2.5 times the 10/11 quantile of the times alone.


def test_a_trace_of_few_requests_keeps_a_full_server_full_by_sending_them_again(tmp_path: Path) -> None:
    load = Requests([0.0, 1.0, 2.0], [7, 8, 9], [2, 3, 4])
    alone, hours = ended(1e5, 2e5, 3e5), [Hour(0, 60, 1.0)]
    found, simulators, _ = made(tmp_path, "ttft:p99<1s", alone, ended(1, 2), load=load, hours=hours, seqs=1)
    found.prepare()
    assert [job["output_tokens"] for job in simulators.jobs] == [[2, 3, 4], [2, 3, 4, 2, 3, 4]]
    assert [job["input_tokens"] for job in simulators.jobs] == [[7, 8, 9], [7, 8, 9, 7, 8, 9]]


def test_a_profile_without_limits_is_taken_to_have_none(tmp_path: Path) -> None:
    found, simulators, _ = made(tmp_path, "ttft:p99<1s", ended(1), ended(1), hours=[Hour(0, 60, 1.0)])
    found.server = FittedServer(replace(found.server.profile, limits=None), found.server.files)
    found.prepare()
    assert simulators.jobs[1]["users"] == 384


@pytest.mark.parametrize(
    ("slo", "broken"),
    [
        # A request alone takes 300 ms, 100 of them to the first token. One request in three is slower.
        ("ttft:p50<100ms", ("ttft:p50<100ms",)),
        ("ttft:p50<101ms e2el:p50<301ms tpot:p50<101ms", ()),
        ("ttft:max<100ms e2el:p99<300ms tpot:p99<100ms", ("ttft:max<100ms", "e2el:p99<300ms", "tpot:p99<100ms")),
        ("ttft:mean<100ms ttft:min<100ms", ()),
        ("ttft:mean<100ms e2el:p90<300ms goodput>=90%", ("e2el:p90<300ms",)),
    ],
)
def test_what_the_middle_request_breaks_alone_no_number_of_replicas_holds(
    slo: str, broken: tuple[str, ...], tmp_path: Path
) -> None:
    alone = Simulated([0.0] * 3, [1e5, 1e5, 9e5], [3e5, 3e5, 30e5], [0] * 3)
    load = Requests([0.0] * 3, [1] * 3, [3] * 3)
    found, _, _ = made(tmp_path, slo, alone, ended(1, 2), load=load, hours=[Hour(0, 60, 1.0)])
    found.prepare()
    assert found.broken_alone == broken


@pytest.mark.parametrize(
    ("rate", "duration_s", "settle_s", "seconds"),
    [
        (100.0, 3_600, 0.0, 20),
        (10.0, 3_600, 0.0, 100),
        (1.0, 3_600, 0.0, 600),
        (10.0, 90, 0.0, 90),
        (100.0, 3_600, 30.0, 60),
        (1.0, 3_600, 400.0, 800),
        (100.0, 3_600, 400.0, 800),
    ],
)
def test_a_stretch_has_a_thousand_requests_within_limits(
    rate: float, duration_s: float, settle_s: float, seconds: float, tmp_path: Path
) -> None:
    found, _, _ = made(tmp_path, "ttft:p99<1s")
    found.settle_s = settle_s
    assert found.seconds(Hour(0, duration_s, rate)) == seconds


@pytest.mark.parametrize(
    ("changes", "seconds"), [((), 110), (((95e6, 3),), 125), (((5e6, 3),), 110), (((5e6, 3), (95e6, 4)), 125)]
)
def test_a_stretch_settles_first_and_goes_on_after_the_last_change(
    changes: tuple[tuple[float, int], ...], seconds: float, tmp_path: Path
) -> None:
    found, simulators, day = made(tmp_path, "ttft:p99<1s", ended(1))
    found.settle_s = 10.0
    question = Question(Hour(0, 3_600, 10.0), 2, 1, 1.5, changes)
    found.answers([question, question])
    found.answers([question])
    assert day.asked == [(question.hour, seconds, 1, 1.5)]
    (job,) = simulators.jobs
    assert (job["replicas"], job["changes"], job["at_us"]) == (2, changes, [0.0])
    assert job["settings"] == {"profile": str(tmp_path / "second"), "seed": 1}


FOUR = Simulated([0.0, 1e6, 2e6, 3e6], [0.5e6, 1.5e6, None, 3.2e6], [4e6, 3e6, None, 5e6], [0, 0, 0, 1])
LOAD = Requests([0.0, 1e6, 2e6, 3e6], [10, 20, 30, 40], [1, 2, 3, 4])
"""TTFT: 500, 500, never, 200 ms. TPOT: one token, 1,500, never, 600 ms. E2EL: 4, 2, never, 2 s."""


@pytest.mark.parametrize(
    ("slo", "settle_s", "values"),
    [
        ("ttft:min<1s ttft:p50<1s ttft:max<1s ttft:mean<1s", 0.0, (200, 500, INF, INF)),
        ("ttft:p75<1s ttft:p99<1s", 0.0, (INF, INF)),
        ("tpot:min<1s tpot:p50<1s", 0.0, (600, 1_500)),
        ("e2el:min<9s e2el:p50<9s", 0.0, (2_000, 4_000)),
        ("ttft:min<1s e2el:min<9s", 2.0, (200, 2_000)),
        ("ttft:mean<1s tpot:mean<1s e2el:mean<1s", 3.0, (200, 600, 2_000)),
        # Goodput is the share of requests within every limit.
        ("goodput>10% ttft:p99<300ms", 0.0, (0.25, INF)),
        ("goodput>10% e2el:p99<3s", 0.0, (0.5, INF)),
        ("goodput>10% e2el:p99<3s ttft:p50<300ms", 3.0, (1.0, 2_000, 200)),
    ],
)
def test_the_statistics_of_a_stretch_are_of_the_requests_after_it_has_settled(
    slo: str, settle_s: float, values: tuple[float, ...], tmp_path: Path
) -> None:
    found, _, _ = made(tmp_path, slo, FOUR, load=LOAD)
    found.settle_s = settle_s
    assert found.answer(Question(Hour(0, 60, 1.0), 2, 0)).values == pytest.approx(values)


def test_replies_of_one_token_break_no_limit_on_the_time_between_tokens(tmp_path: Path) -> None:
    load = Requests([0.0] * 2, [1] * 2, [1] * 2)
    found, _, _ = made(tmp_path, "tpot:p99<1ms", ended(5e6, 6e6), load=load)
    answer = found.answer(Question(Hour(0, 60, 1.0), 1, 0))
    assert (answer.values, answer.broken, answer.good) == ((0,), 0, True)


@pytest.mark.parametrize(
    ("times", "replicas", "overloaded"), [(1.0, 2, False), (1.01, 2, True), (1.0, 1, True), (2.0, 4, False)]
)
def test_a_rate_above_the_saturated_throughput_of_all_replicas_overloads_them(
    times: float, replicas: int, overloaded: bool, tmp_path: Path
) -> None:
    found, _, _ = made(tmp_path, "ttft:p99<9s", ended(1e6))
    found.saturated = 5.0
    answer = found.answer(Question(Hour(0, 60, 10.0), replicas, 0, times))
    assert (answer.holds, answer.overloaded, answer.good) == ((True,), overloaded, not overloaded)


@pytest.mark.parametrize(
    ("sent", "last", "replica", "held"),
    [
        # A request that ends as the next begins does not overlap with it.
        ([0, 2, 2], [2, 4, 4], [0, 0, 0], (2, 5 + 7, 6 / 4)),
        ([0, 2, 2], [2, 4, 4], [0, 1, 1], (2, 5 + 7, 6 / 4 / 2)),
        ([0, 2, 2], [4, 4, None], [0, 1, None], (1, 5, 6 / 4 / 2)),
        ([0, None, 3], [4, None, None], [0, 0, 0], (2, 3 + 7, 5 / 4)),
        ([0, 1, 2], [None] * 3, [0, 0, 0], (2, 3 + 5, 3 / 2)),
    ],
)
def test_what_a_replica_holds_is_counted_from_sent_to_ended(
    sent: list[float | None],
    last: list[float | None],
    replica: list[int | None],
    held: tuple[float, ...],
    tmp_path: Path,
) -> None:
    simulated = Simulated(
        [None if at is None else at * 1e6 for at in sent], [None] * 3,
        [None if at is None else at * 1e6 for at in last], replica,
    )  # fmt: skip
    found, _, _ = made(tmp_path, "ttft:p99<9s", simulated, load=Requests([0.0] * 3, [1, 2, 3], [2, 3, 4]))
    answer: Answer = found.answer(Question(Hour(0, 60, 1.0), 1 + max(one or 0 for one in replica), 0))
    assert (answer.in_flight, answer.tokens, answer.mean_in_flight) == held
