"""The error rates of `quality`, in a short simulation. `scripts/quality-reach` runs a long one
(docs/dev/simulations.md)."""

from __future__ import annotations

import pytest

from tests.support.answers_reach import alarms, found_worse, mixed_up, tried

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize("faults", [(), ("wrong_answer:rate=0.1",), ("batch_dependent:rate=0.3", "garble:rate=0.02")])
def test_faults_that_do_not_depend_on_load_raise_no_alarm(faults: tuple[str, ...]) -> None:
    assert alarms(faults, "60", range(40))[0] <= 2


def test_cross_talk_is_found_and_was_planted_as_often_as_declared() -> None:
    found, planted = mixed_up(0.01, "500", range(10))
    assert found >= 9
    assert 25 <= planted <= 80  # 50 expected


def test_no_cross_talk_is_found_where_none_is() -> None:
    assert mixed_up(0.0, "500", range(3)) == (0, 0)


def test_wrong_answers_that_only_the_load_causes_are_found() -> None:
    assert found_worse("wrong_answer", 0.3, "60", range(10)) >= 9
    assert tried(["wrong_answer:crowd=0.02"], "60", 1).planted > 0
