"""Loads that others may set: their units, a worker's part of them, and the arrivals after a change."""

from __future__ import annotations

from array import array
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.config.settings import Settings
from bench.errors import UsageError
from bench.modes import MODES
from bench.modes.rate import Rate
from bench.modes.session_problems import is_recording
from bench.modes.sessions import Sessions
from bench.modes.share import RunLength, WorkerShare, divide
from bench.modes.trace import Trace
from bench.schedule.changing import RateChange

S = 1_000_000_000
NO_SOURCE: Any = None


def share(**fields: Any) -> WorkerShare:
    return WorkerShare(**{"requests": None, "duration_ns": None, "warmup_requests": 0, "warmup_ns": 0, **fields})


def sessions(**flags: Any) -> Sessions:
    load = resolve({"url": "http://h", "mode": "sessions", **flags}).load
    assert isinstance(load, Sessions)
    return load


@pytest.mark.parametrize(
    ("mode", "settings", "unit"),
    [
        ("concurrency", {}, "users"),
        ("rate", {"rate": 5.0}, "requests/s"),
        ("throughput", {}, None),
        ("trace", {}, None),
        ("sessions", {}, "sessions"),
        ("sessions", {"rate": 5.0}, "sessions/s"),
        ("sessions", {"sessions_begin": "recorded"}, None),
        ("sessions", {"sessions_begin": "middle"}, "sessions"),
    ],
)
def test_the_settings_of_a_run_say_the_unit_of_its_load(mode: str, settings: dict[str, Any], unit: str | None) -> None:
    assert MODES[mode].unit_of(Settings(url="http://h", **settings)) == unit


def test_a_worker_gets_its_part_of_the_sessions_that_are_held_and_the_whole_rate() -> None:
    shares = divide(8, 3, RunLength(requests=None, duration_ns=60 * S))
    held, arriving = sessions(concurrency=8), sessions(rate=3.0)
    assert [held.part_of(11.0, each) for each in shares] == [4, 4, 3]
    assert [arriving.part_of(11.5, each) for each in shares] == [11.5] * 3


def test_sessions_at_a_rate_arrive_as_planned_and_faster_after_a_change() -> None:
    arriving = sessions(rate=2.0, arrivals="constant")
    planned = arriving.planned_sessions()
    assert planned is not None
    first = [*islice(planned, 8)]
    assert [second - one for one, second in pairwise(first)] == [S // 2] * 7
    changed = arriving.planned_sessions([RateChange(first[3], 4.0)])
    assert changed is not None
    assert [*islice(changed, 6)] == [*first[:4], first[3] + S // 4, first[3] + S // 2]
    assert sessions(concurrency=4).planned_sessions() is None


@pytest.mark.parametrize(
    ("length", "workers", "ends_s"),
    [
        # With a ramp, the first user of a worker may come late: all workers end at the same instant, 12 s after the start.
        (RunLength(requests=None, duration_ns=10 * S, warmup_ns=2 * S), 2, 12),
        (RunLength(requests=None, duration_ns=10 * S, warmup_ns=2 * S), 1, None),
        (RunLength(requests=None, duration_ns=10 * S, warmup_requests=3), 2, None),
        (RunLength(requests=None, duration_ns=10 * S, warmup_ns=2 * S, finds_warmup=True), 2, None),
        (RunLength(requests=40, duration_ns=None), 2, None),
    ],
)
def test_workers_whose_users_come_one_by_one_end_at_the_same_instant(
    length: RunLength, workers: int, ends_s: int | None
) -> None:
    coming = resolve({"url": "http://h", "concurrency": 8, "ramp_up": "5s"}).load
    shares = coming.plan(length, NO_SOURCE).shares(workers)
    ends_ns = None if ends_s is None else ends_s * S
    assert [(each.ends_ns, each.duration_ns) for each in shares] == [
        (ends_ns, length.duration_ns if ends_ns is None else None)
    ] * workers
    at_once = resolve({"url": "http://h", "concurrency": 8}).load
    assert [each.ends_ns for each in at_once.plan(length, NO_SOURCE).shares(workers)] == [None] * workers


def test_a_worker_sends_the_arrivals_of_segments_that_it_was_dealt_and_a_single_one_draws_them() -> None:
    stepped = resolve({"url": "http://h", "mode": "rate", "steps": "5,10:2s", "arrivals": "constant"}).load
    assert isinstance(stepped, Rate)
    everything = [*stepped.offsets()]
    assert len(everything) in (29, 30)
    assert [*stepped.arrivals_of(share(ends_ns=4 * S))] == everything
    dealt = array("q", everything[1::2])
    assert [*stepped.arrivals_of(share(ends_ns=4 * S, worker=1, workers=2, offsets_ns=dealt))] == everything[1::2]


def test_a_recording_is_sent_at_the_times_that_were_dealt() -> None:
    recorded = Trace(speed=1.0, cap=None, drop_late=False, warmup="0")
    assert [*recorded.arrivals_of(share(offsets_ns=array("q", [0, 5, 9])))] == [0, 5, 9]
    assert [*recorded.arrivals_of(share())] == []


def test_a_file_that_cannot_be_read_is_no_recording_of_sessions(tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    path.write_text('{"turns": [{"content": "a"}]}')
    settings = Settings(url="http://h", dataset=str(path))
    assert not is_recording(settings)
    path.unlink()
    # It is refused when it is opened, and nothing else is said of it before.
    assert not is_recording(settings)


def test_a_recipe_with_a_mistake_is_refused_for_the_mistake_and_not_for_its_times(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("input_tokens: 40\noutput_tokens: 5\n")
    flags = {"url": "http://h", "mode": "trace", "dataset": str(path)}
    with pytest.raises(UsageError) as refused:
        resolve(flags)
    assert [problem.partition("recipe.yaml")[2] for problem in refused.value.problems] == [
        ": about is missing",
        ": source is missing",
    ]
    path.write_text("about: chats\nsource: a guess\ninput_tokens: 40\noutput_tokens: 5\n")
    with pytest.raises(UsageError) as refused:
        resolve(flags)
    assert list(refused.value.problems) == [
        f"--mode trace needs the times of requests, and the recipe {path} has no gaps: use --rate"
    ]
