"""Which engine a mock uses, and how engines treat a request of unknown length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mockserver.config import MockConfig
from mockserver.engine import ENGINES
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.sampled import SampledEngine
from mockserver.engine.timeline import TimelineEngine
from tests.support.played_engine import stamps_us, work
from tests.unit.mockserver.test_mock_batching import COST


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, SampledEngine),
        ({"load_slowdown": 1.0}, TimelineEngine),
        ({"load_slowdown": 0.01}, TimelineEngine),
        ({"num_speculative_tokens": 1}, TimelineEngine),
        ({"num_speculative_tokens": 3}, TimelineEngine),
    ],
)
def test_only_where_requests_change_each_other_s_times_are_they_kept_on_a_line(
    settings: dict[str, Any], kind: type
) -> None:
    assert type(ENGINES["sampled"](MockConfig(**settings))) is kind


def test_a_prompt_of_unknown_length_counts_as_one_token() -> None:
    unknown, one = BatchingEngine(COST), BatchingEngine(COST)
    unknown.admit(1, replace(work(0, 1, 3), input_tokens=None))
    one.admit(1, work(0, 1, 3))
    assert stamps_us(unknown) == stamps_us(one)
