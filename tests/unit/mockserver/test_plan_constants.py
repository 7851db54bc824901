"""When a plan draws nothing, so that replies of equal length have equal times."""

from __future__ import annotations

from typing import Any

import pytest

from mockserver.plans.plan import Latencies
from mockserver.plans.replay import RecordedReplies, RecordedReply
from mockserver.plans.speculation import Speculation
from promptset.distributions import parse


def latencies(**fields: Any) -> Latencies:
    given = {
        "ttft": parse("50ms", "time"),
        "tpot": parse("20ms", "time"),
        "itl": None,
        "output_tokens": parse("4", "tokens"),
    }
    return Latencies(**(given | fields))


CONSTANT, DRAWN = parse("3ms", "time"), parse("uniform:1ms..9ms", "time")


@pytest.mark.parametrize(
    ("fields", "constant"),
    [
        ({}, True),
        ({"output_tokens": parse("uniform:1..9", "tokens")}, True),
        ({"itl": CONSTANT}, True),
        # `itl` replaces `tpot`.
        ({"itl": CONSTANT, "tpot": DRAWN}, True),
        ({"itl": DRAWN}, False),
        ({"tpot": DRAWN}, False),
        ({"ttft": DRAWN}, False),
        ({"ttft": DRAWN, "tpot": DRAWN}, False),
        ({"ttft_per_input_token": CONSTANT}, False),
        ({"speculation": Speculation(1, 1.0)}, False),
        ({"recording": RecordedReplies([RecordedReply(1, (), (1,))], {}, "order")}, False),
    ],
)
def test_times_are_constant_where_none_is_drawn(fields: dict[str, Any], constant: bool) -> None:
    assert latencies(**fields).constant is constant
