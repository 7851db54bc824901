"""The sampled engine under the test's own clock."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from mockserver.config import MockConfig
from mockserver.engine import ENGINES, EngineRequest
from mockserver.engine.sampled import SampledEngine
from mockserver.plans.plan import Plan


def work(received_ns: int, ttft_ns: int, *gaps_ns: int) -> EngineRequest:
    return EngineRequest(received_ns, Plan(ttft_ns, gaps_ns, len(gaps_ns) + 1))


def test_tokens_come_at_received_plus_ttft_plus_the_sum_of_gaps() -> None:
    engine = SampledEngine()
    engine.admit(1, work(1000, 50, 20, 30))
    seen = []
    while (at := engine.next_ns()) is not None:
        assert engine.step(at - 1) == []
        seen.append((at, engine.step(at)))
    assert seen == [(1050, [(1, 1)]), (1070, [(1, 1)]), (1100, [(1, 1)])]


def test_a_late_step_gives_what_is_due_and_moves_no_later_deadline() -> None:
    engine = SampledEngine()
    engine.admit(1, work(0, 50, 20, 20, 20))
    assert engine.step(95) == [(1, 1)] * 3
    assert engine.next_ns() == 110


def test_a_released_request_gives_nothing_and_tells_its_steps() -> None:
    engine = SampledEngine()
    engine.admit(1, work(0, 50, 20))
    engine.admit(2, work(0, 60))
    assert engine.step(50) == [(1, 1)]
    assert engine.release(1).facts == {"queue_ns": 0, "steps": 1}
    assert engine.step(1000) == [(2, 1)]
    assert engine.next_ns() is None


def test_the_table_of_engines_is_what_can_be_configured() -> None:
    assert get_args(MockConfig.model_fields["engine"].annotation) == tuple(ENGINES)


gaps = st.lists(st.integers(0, 50), max_size=12)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100), gaps), max_size=8),
    st.lists(st.integers(1, 40), min_size=1, max_size=60),
)
def test_no_token_is_lost_doubled_or_early_whatever_the_steps(
    requests: list[tuple[int, int, list[int]]], steps: list[int]
) -> None:
    engine = SampledEngine()
    due = {}
    for key, (received, ttft, token_gaps) in enumerate(requests):
        engine.admit(key, work(received, ttft, *token_gaps))
        instants = [received + ttft]
        for gap in token_gaps:
            instants.append(instants[-1] + gap)
        due[key] = instants
    now = 0
    out: dict[int, int] = dict.fromkeys(due, 0)
    for step in [*steps, 10_000]:
        now += step
        for key, tokens in engine.step(now):
            out[key] += tokens
        assert out == {key: sum(at <= now for at in instants) for key, instants in due.items()}
    assert engine.next_ns() is None
