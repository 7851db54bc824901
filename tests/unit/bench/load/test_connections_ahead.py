"""How many connections a worker makes before its load."""

from __future__ import annotations

from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.config import resolve
from bench.load.worker import connections_ahead, due_soon
from bench.modes.share import WorkerShare


@pytest.mark.parametrize(
    ("given", "at_once", "room", "expected"),
    [
        ({"users": 700}, 1, 9_000, 700),
        ({"users": 10}, 4, 9_000, 40),
        ({"users": 200}, 50, 9_000, 512),
        ({"users": 200}, 50, 300, 300),
        ({"users": 700}, 50, 9_000, 700),
    ],
)
def test_one_for_each_user_and_as_many_more_as_sub_agents_are_likely_to_need(
    given: dict[str, Any], at_once: int, room: int, expected: int
) -> None:
    share = WorkerShare(requests=None, duration_ns=None, warmup_requests=0, warmup_ns=0, **given)
    assert connections_ahead(share, at_once, room, None, share.users or 0) == expected


@pytest.mark.parametrize(
    ("arrivals", "cap", "at_once", "room", "expected"),
    [
        (0, None, 1, 9_000, 1),
        (25, None, 1, 9_000, 25),
        (25, 9, 1, 9_000, 9),
        (25, None, 3, 9_000, 75),
        (2_500, None, 1, 9_000, 512),
        (2_500, None, 3, 100, 100),
    ],
)
def test_of_an_open_loop_those_of_its_first_arrivals(
    arrivals: int, cap: int | None, at_once: int, room: int, expected: int
) -> None:
    share = WorkerShare(requests=None, duration_ns=None, cap=cap)
    assert connections_ahead(share, at_once, room, None, arrivals) == expected


@pytest.mark.parametrize(
    ("flags", "arrivals"),
    [({"rate": 2.0}, 1), ({"rate": 80.0}, 10), ({"mode": "rate", "ramp": "32..50:10s"}, 4),
     ({"mode": "sessions", "rate": 17.0}, 3)],
)  # fmt: skip
def test_the_arrivals_of_a_worker_are_its_part_of_those_at_the_start(flags: dict[str, Any], arrivals: int) -> None:
    share = WorkerShare(requests=None, duration_ns=None, workers=2)
    assert due_soon(resolve({"url": "http://h", **flags}).load, share) == arrivals


@pytest.mark.parametrize(
    ("flags", "users"),
    [
        ({"concurrency": 10}, 5),
        ({"concurrency": 10, "ramp_up": "2s"}, 1),  # At 0 and 0.2 s; each worker has one of them.
        ({"concurrency": 10, "ramp_up": "0.2s"}, 5),
        ({"mode": "throughput", "requests": 80, "ramp_up": "1s"}, 10),
        ({"mode": "sessions", "concurrency": 10, "ramp_up": "1s"}, 2),
        ({"steps": "4,40:10s"}, 2),
        ({"ramp": "0..10:10s"}, 0),
    ],
)
def test_of_users_who_come_one_by_one_those_who_are_due_soon(flags: dict[str, Any], users: int) -> None:
    config = resolve({"url": "http://h", **flags})
    share = config.load.plan(config.length, SimpleNamespace(at_once=1)).shares(2)[0]
    assert due_soon(config.load, share) == users


def test_the_arrivals_of_a_recording_are_those_of_its_busiest_moment(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "at_s": 0}\n')
    load = resolve({"url": "http://h", "mode": "trace", "dataset": str(tmp_path / "rows.jsonl")}).load
    dealt = array("q", [round(at * 1e9) for at in (0, 30, 30.2, 30.25, 30.26)])
    assert due_soon(load, WorkerShare(requests=5, duration_ns=None, offsets_ns=dealt)) == 3
    assert due_soon(load, WorkerShare(requests=5, duration_ns=None)) == 0


@pytest.mark.parametrize(("given", "requests"), [({}, 40), ({"users": 60}, 40), ({"cap": 39}, 39)])
def test_no_more_than_there_are_requests(given: dict[str, Any], requests: int) -> None:
    share = WorkerShare(requests=None, duration_ns=None, warmup_requests=0, warmup_ns=0, **given)
    assert connections_ahead(share, 1, 9_000, 40, 60) == requests
