"""The replicas of a scaling mock: instants of the model, and how the batching engine uses them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mockserver.config import MockConfig
from mockserver.dialect.refusals import Refusal
from mockserver.engine.batching import BatchingEngine
from mockserver.entries import RequestContext
from mockserver.errors import UsageError
from mockserver.intake import Intake
from mockserver.step_cost import StepCost
from mockserver.steps.scaling import Scaling, parse_scale
from tests.support.played_engine import US, work

S = 1_000_000_000


def context_at(received_s: float, *, handled_s: int) -> RequestContext:
    unused: Any = None
    return RequestContext(unused, round(received_s * S), handled_s * S, 0, unused)


def test_replicas_come_after_the_first_request_and_after_the_load_rises() -> None:
    scaling = Scaling(parse_scale("start=3s,replicas=3,above=2,delay=5s"))
    assert scaling.replicas(99 * S) == 0
    scaling.arrive(10 * S, 0)
    assert [scaling.replicas(at) for at in (10 * S, 13 * S - 1, 13 * S)] == [0, 0, 1]
    scaling.arrive(12 * S, 9)  # The first replica is still starting, so no other is requested.
    scaling.arrive(20 * S, 2)  # Not more than two requests per replica.
    scaling.arrive(21 * S, 3)
    scaling.arrive(22 * S, 9)  # One replica is starting.
    assert scaling.came_ns == [13 * S, 26 * S]
    scaling.arrive(27 * S, 4)
    scaling.arrive(28 * S, 5)
    scaling.arrive(40 * S, 99)  # Three replicas is the maximum.
    assert scaling.came_ns == [13 * S, 26 * S, 33 * S]
    assert [scaling.replicas(at) for at in (26 * S - 1, 26 * S, 33 * S)] == [1, 2, 3]


def test_the_engine_runs_as_many_requests_as_its_replicas_take() -> None:
    engine = BatchingEngine(StepCost(b0=10, b1=0, b2=0, max_num_seqs=2, max_num_batched_tokens=64, kv_blocks=64))
    engine.replicas = lambda at_ns: 1 if at_ns < 25 * US else 2
    for key in range(4):
        engine.admit(key, work(0, 1, 9))
    running = []
    for at in (10, 20, 30, 40):
        engine.step(at * US)
        running.append(engine.state().running)
    assert running == [2, 2, 4, 4]


def test_the_instant_at_which_a_request_came_decides_however_late_it_is_handled() -> None:
    intake: Any = SimpleNamespace(_scaling=Scaling(parse_scale("start=1s")), in_flight=0)
    for received_s in (1.0, 1.999):
        with pytest.raises(Refusal):
            Intake._scale(intake, context_at(received_s, handled_s=5))
    context = context_at(2.0, handled_s=5)
    Intake._scale(intake, context)
    assert (context.replicas, context.replica_ns) == (1, 2 * S)


def test_an_engine_without_a_replica_serves_whom_it_has_admitted() -> None:
    engine = BatchingEngine(StepCost(b0=10, b1=0, b2=0, max_num_seqs=2, max_num_batched_tokens=64, kv_blocks=64))
    engine.replicas = lambda at_ns: 0
    engine.admit(1, work(0, 1, 2))
    assert engine.step(20 * US) == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("start=soon", "write a time"),
        ("after=3s", "'after=3s': write start=TIME,replicas=N,above=N,delay=TIME"),
        ("start=1s,start=2s", "'start=2s': write start=TIME"),
        ("replicas=0", "replicas=0: give a whole number from 1 to 1000"),
        ("replicas=2", "replicas needs above and delay"),
    ],
)
def test_a_description_that_is_wrong_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_scale(text)


def test_more_replicas_need_an_engine_with_a_capacity_and_one_process() -> None:
    more = {"scale": "start=1s,replicas=2,above=2,delay=1s"}
    assert str(MockConfig(engine="batching", **more).scale) == more["scale"]
    with pytest.raises(ValueError, match="only --engine batching has a capacity that grows"):
        MockConfig(**more)
    with pytest.raises((ValueError, UsageError), match="--scale needs all requests in one process"):
        MockConfig(scale="start=1s", workers=2)
