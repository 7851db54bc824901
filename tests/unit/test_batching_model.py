"""The fast model of continuous batching, which the tests of the statistics use, against the mock's engine."""

from __future__ import annotations

import numpy as np
import pytest

from mockserver.engine import EngineRequest
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.closed_form import ClosedForm
from mockserver.plans.plan import Plan
from tests.support.batching_model import S1, S2, S3, Served, Server, closed_loop, open_loop, poisson


def engine_stamps(server: Server, sent_s: list[float], lengths: list[tuple[int, int]]) -> list[list[int]]:
    """The instants (ns) at which the mock's engine gives each request's tokens."""
    engine = BatchingEngine(server.cost, prefix_caching=False)
    for key, (at, (prompt, reply)) in enumerate(zip(sent_s, lengths, strict=True)):
        engine.admit(key, EngineRequest(round(at * 1e9), Plan(0, (0,) * (reply - 1), reply), prompt, ()))
    stamps: list[list[int]] = [[] for _ in sent_s]
    while (now := engine.next_ns()) is not None:
        for key, tokens in engine.step(now):
            stamps[key] += [now] * tokens
    return stamps


@pytest.mark.parametrize(("server", "rate"), [(S1, 38.0), (S2, 32.0), (S3, 17.0)], ids=["S1", "S2", "S3"])
def test_the_model_gives_tokens_when_the_engine_does(server: Server, rate: float) -> None:
    arrivals = poisson(rate, 12.0, np.random.default_rng(1))
    drawn = server.lengths(np.random.default_rng(2))
    lengths = [next(drawn) for _ in arrivals]
    stamps = engine_stamps(server, arrivals, lengths)
    served = open_loop(server, arrivals, np.random.default_rng(2))
    assert [len(of_one) for of_one in stamps] == served.output_tokens.astype(int).tolist()
    # The engine counts in whole ns, and rounds the cost of each step.
    assert served.first_s == pytest.approx([of_one[0] / 1e9 for of_one in stamps], abs=2e-6)
    assert served.last_s == pytest.approx([of_one[-1] / 1e9 for of_one in stamps], abs=2e-6)
    gaps = np.diff(np.array(stamps[7])) / 1e6
    assert served.gaps_ms(7) == pytest.approx(gaps, abs=2e-3)


@pytest.mark.parametrize("users", [1, 32, 200])
def test_a_closed_loop_has_the_throughput_of_the_closed_form(users: int) -> None:
    served = closed_loop(S1, users, 120.0, np.random.default_rng(3), ramp_s=5.0)
    rate = served.tokens_per_s(20.0, 120.0).mean() / S1.output_tokens
    assert rate == pytest.approx(ClosedForm(S1.cost, 1024, 128).requests_per_s(users), rel=0.02)


def test_tokens_and_requests_in_flight_are_counted_by_the_second() -> None:
    served = Served(
        np.array([0.0, 1.0]), np.array([0.5, 1.5]), np.array([2.5, 2.5]), np.array([3.0, 2.0]), np.array([1, 2]),
        np.array([0.5, 1.5, 2.5]),
    )  # fmt: skip
    assert served.tokens_per_s(0.0, 3.0).tolist() == [1.0, 2.0, 2.0]
    assert served.mean_in_flight(0.0, 2.0) == pytest.approx(1.5)
    assert served.ttft_ms.tolist() == [500.0, 500.0]
    assert served.tpot_ms.tolist() == [1_000.0, 1_000.0]
