"""How many connections a worker makes before its load."""

from __future__ import annotations

from typing import Any

import pytest

from bench.load.worker import CONNECTIONS_AHEAD, connections_ahead
from bench.modes.share import WorkerShare


@pytest.mark.parametrize(
    ("given", "at_once", "room", "expected"),
    [
        ({"users": 700}, 1, 9_000, 700),
        ({"users": 10}, 4, 9_000, 40),
        ({"users": 200}, 50, 9_000, CONNECTIONS_AHEAD),
        ({"users": 200}, 50, 300, 300),
        ({"users": 700}, 50, 9_000, 700),
        ({"cap": 9}, 1, 9_000, 9),
        ({}, 1, 9_000, CONNECTIONS_AHEAD),
        ({}, 3, 100, 100),
    ],
)
def test_one_for_each_user_and_as_many_more_as_sub_agents_are_likely_to_need(
    given: dict[str, Any], at_once: int, room: int, expected: int
) -> None:
    share = WorkerShare(requests=None, duration_ns=None, warmup_requests=0, warmup_ns=0, **given)
    assert connections_ahead(share, at_once, room, None) == expected


@pytest.mark.parametrize(("given", "requests"), [({}, 40), ({"users": 60}, 40), ({"cap": 41}, 40), ({"cap": 39}, 39)])
def test_no_more_than_there_are_requests(given: dict[str, Any], requests: int) -> None:
    share = WorkerShare(requests=None, duration_ns=None, warmup_requests=0, warmup_ns=0, **given)
    assert connections_ahead(share, 1, 9_000, 40) == requests
