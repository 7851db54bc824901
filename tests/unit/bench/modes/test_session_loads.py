"""What a worker of a load of sessions needs: how many sessions begin, where in their course, and when."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig, resolve
from bench.dispatch import session_arrivals
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from bench.load.components import source_of
from bench.modes.interface import Numbering, WorkerLoad
from bench.modes.share import WorkerShare
from bench.rng import stream
from bench.schedule.changing import ChangingArrivals
from bench.workload.turns import Conversations
from promptset.tokens import load_tokenizer
from tests.unit.bench.modes.test_recorded_begins import BEGINS, recorded

S = 1_000_000_000
OPTIONS = BodyOptions(endpoint="chat", model="m", stream=True, ignore_eos=True, extra=None)


def share(worker: int = 0, workers: int = 1, users: int | None = 3) -> WorkerShare:
    return WorkerShare(
        requests=None, duration_ns=9 * S, warmup_requests=0, warmup_ns=0, worker=worker, workers=workers, users=users
    )


def load_of(config: RunConfig, part: WorkerShare) -> WorkerLoad:
    numbering = Numbering("run", first=part.worker, step=part.workers)
    source = source_of(config, load_tokenizer(), part)
    return config.load.worker_load(source, lambda sample: encode(sample, OPTIONS), numbering, part)


def sessions(**flags: Any) -> RunConfig:
    return resolve({"url": "http://h", "mode": "sessions", "duration": "9s", "seed": 5, **flags})


def file_of(folder: Path, number: int) -> dict[str, str]:
    turns = {"turns": [{"content": "a", "answer": "b"}, {"content": "c", "answer": "d"}]}
    (folder / "chats.jsonl").write_text("".join(json.dumps(turns) + "\n" for _ in range(number)))
    return {"dataset": str(folder / "chats.jsonl")}


@pytest.mark.parametrize(
    ("rows", "workers", "begun"),
    [
        (None, 1, 6),  # Two per user; users who begin in the middle of a session draw from them.
        (None, 2, 6),
        (50, 1, 24),  # The sessions of a file need not be made: eight per user.
        (50, 4, 12),  # A worker has a quarter of them.
        (5, 1, 5),
        (5, 2, 3),
        (1, 4, 3),
    ],
)
def test_users_begin_in_the_middle_of_sessions_that_are_drawn_for_each_worker(
    rows: int | None, workers: int, begun: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, float, int]] = []
    ready: list[int] = []

    def begin(conversations: Conversations, users: int, chance: Any, out_of: int) -> None:
        drawn.append((users, chance.random(), out_of))

    monkeypatch.setattr(Conversations, "begin_in_middle", begin)
    monkeypatch.setattr(Conversations, "get_ready", lambda _, users: ready.append(users))
    flags = {} if rows is None else file_of(tmp_path, rows)
    config = sessions(concurrency=3 * workers, sessions_begin="middle", **flags)
    for worker in range(workers):
        load = load_of(config, share(worker, workers))
        assert load.begun == begun
        load.get_ready()
    looked_at = begun if rows is None else min(24, max(rows // workers, 1))
    assert drawn == [(3, stream(5, "sessions begin", worker).random(), looked_at) for worker in range(workers)]
    assert ready == [3] * workers


def test_users_who_begin_at_the_first_turn_need_a_session_each(monkeypatch: pytest.MonkeyPatch) -> None:
    ready: list[int] = []
    monkeypatch.setattr(Conversations, "get_ready", lambda _, users: ready.append(users))
    load = load_of(sessions(concurrency=3), share())
    load.get_ready()
    assert (load.begun, ready) == (3, [3])


class Arrivals:
    """Takes the place of the loop over arrivals, and keeps them."""

    def __init__(self, conversations: object, sending: object, *, offsets: Any) -> None:
        self.offsets = offsets


def test_sessions_arrive_at_a_rate_that_can_be_changed_and_at_recorded_times_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_arrivals, "SessionArrivals", Arrivals)
    ready: list[int] = []
    monkeypatch.setattr(Conversations, "get_ready", lambda _, users: ready.append(users))
    nothing: Any = None

    def arrivals(config: RunConfig, worker: int, workers: int) -> Any:
        load = load_of(config, share(worker, workers, users=None))
        load.get_ready()
        assert load.begun == 0
        found: Any = load.dispatcher(nothing)
        return found.offsets

    at_a_rate = sessions(rate=2.0, arrivals="constant")
    whole, second = arrivals(at_a_rate, 0, 1), arrivals(at_a_rate, 1, 2)
    assert isinstance(whole, ChangingArrivals)
    first_four = [*islice(whole, 4)]
    assert [*islice(second, 2)] == first_four[1::2]
    # After the fourth arrival, four sessions per second instead of two.
    whole.change(first_four[3], 4.0)
    assert next(whole) == first_four[3] + S // 4
    _, config, _ = recorded(tmp_path)
    assert [*islice(arrivals(config, 0, 1), len(BEGINS))] == [second * S for second in BEGINS]
    assert [*islice(arrivals(config, 1, 2), 3)] == [second * S for second in BEGINS[1::2]]
    assert ready == [8] * 4


@pytest.mark.parametrize(
    ("flags", "open_loop"),
    [
        ({}, False),
        ({"rate": 5}, True),
        ({"mode": "throughput", "requests": 5}, False),
        ({"mode": "sessions"}, False),
        ({"mode": "sessions", "rate": 5}, True),
        ({"mode": "trace", "dataset": "rows"}, True),
    ],
)
def test_a_load_is_open_if_a_schedule_says_when_to_send(flags: dict[str, Any], open_loop: bool, tmp_path: Path) -> None:
    if "dataset" in flags:
        (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "at_s": 0}\n')
        flags = {**flags, "dataset": str(tmp_path / "rows.jsonl")}
    assert resolve({"url": "http://h", **flags}).load.open_loop is open_loop


def test_recorded_sessions_are_an_open_loop(tmp_path: Path) -> None:
    assert recorded(tmp_path)[0].open_loop
