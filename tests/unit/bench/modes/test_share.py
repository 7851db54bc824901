"""One load, divided among workers: together they send exactly what one worker would, at the same times."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.clock import NS_PER_S, Clock
from bench.config import resolve
from bench.dispatch.stop import Stop
from bench.modes.share import OpenLoopArrivals, RunLength, WorkerShare, deal, divide, draw, part
from bench.records import Outcome
from bench.rng import stream
from bench.scale.plan import workers_of
from bench.schedule import ARRIVALS
from bench.sources.rows import RowsSpec
from bench.workload import Encoded, Supply
from promptset.samples import Sample
from tests.support.virtual_load import START, Load

MS = 1_000_000
LIMITS = st.fixed_dictionaries(
    {
        "requests": st.one_of(st.none(), st.integers(1, 40)),
        "duration_ns": st.one_of(st.none(), st.integers(1, 3_000 * MS)),
        "warmup_requests": st.integers(0, 12),
        "warmup_ns": st.sampled_from([0, 1, 250 * MS, 1_000 * MS]),
    }
).filter(lambda limits: limits["requests"] is not None or limits["duration_ns"] is not None)
WORKERS = st.integers(1, 6)


class SilentClock:
    """A clock on which nothing becomes due, so a Stop is asked only about each arrival."""

    name = "silent"

    def now_ns(self) -> int:
        return START

    def call_at(self, deadline_ns: int, call: Any) -> Any:
        return None

    def close(self) -> None: ...


def arrivals(process: str, rate: float, seed: int) -> Iterator[int]:
    return ARRIVALS[process](rate, 0.5 if process == "gamma" else 1.0, stream(seed, "arrivals"))


def sent_by_one(offsets: Iterator[int], limits: dict[str, Any]) -> list[tuple[int, str]]:
    """The arrivals that the dispatcher's own stop lets through, as (offset, phase)."""
    stop = Stop(cast(Clock, SilentClock()), start_ns=START, **limits)
    sent: list[tuple[int, str]] = []
    for offset in offsets:
        phase = stop.next_phase(START + offset)
        if phase is None:
            break
        sent.append((offset, phase))
        stop.check_count()
        if stop.stopped:
            break
    return sent


def sent_by_all(shares: list[WorkerShare]) -> list[tuple[int, int, str]]:
    """(index, offset, phase) of every arrival in the shares, through a stop with each worker's own limits."""
    sent = []
    for share in shares:
        assert share.offsets_ns is not None
        assert (share.requests or 0) + share.warmup_requests == len(share.offsets_ns)
        limits = {
            "requests": share.requests,
            "duration_ns": share.duration_ns,
            "warmup_requests": share.warmup_requests,
            "warmup_ns": share.warmup_ns,
        }
        for i, (offset, phase) in enumerate(sent_by_one(iter(share.offsets_ns), limits)):
            sent.append((share.worker + i * share.workers, offset, phase))
    return sorted(sent)


@given(
    process=st.sampled_from(sorted(ARRIVALS)),
    rate=st.sampled_from([0.7, 5.0, 33.0]),
    seed=st.integers(0, 50),
    limits=LIMITS,
    workers=WORKERS,
)
def test_all_workers_together_send_exactly_the_arrivals_of_one(
    process: str, rate: float, seed: int, limits: dict[str, Any], workers: int
) -> None:
    alone = sent_by_one(arrivals(process, rate, seed), limits)
    planned = draw(arrivals(process, rate, seed), RunLength(**limits))
    assert list(planned.offsets_ns) == [offset for offset, _ in alone]
    assert planned.warmup == sum(phase == "warmup" for _, phase in alone)
    # The arrivals and phases are the same, and each arrival has the number that a single worker would give it.
    together = sent_by_all(deal(planned, workers, cap=None))
    assert together == [(i, offset, phase) for i, (offset, phase) in enumerate(alone)]


@pytest.mark.parametrize(
    "limits",
    [
        {"requests": 3},
        {"duration_ns": 30 * MS},
        {"requests": 100, "duration_ns": 30 * MS},
        {"requests": 2, "warmup_requests": 3},
        {"duration_ns": 20 * MS, "warmup_ns": 25 * MS},
        {"requests": 4, "warmup_requests": 1, "warmup_ns": 25 * MS},
    ],
    ids=["requests", "duration", "whichever comes first", "warm-up requests", "warm-up time", "both warm-ups"],
)
def test_a_dispatcher_sends_what_was_drawn(limits: dict[str, Any]) -> None:
    offsets = [i * 10 * MS for i in range(200)]
    load = Load(**limits).open(offsets)
    planned = draw(iter(offsets), RunLength(**{"requests": None, "duration_ns": None, **limits}))
    assert [(r.intended_ns - START, r.phase) for r in sorted(load.records, key=lambda r: r.index)] == [
        (offset, "warmup" if i < planned.warmup else "run") for i, offset in enumerate(planned.offsets_ns)
    ]


def test_a_worker_that_got_no_arrival_ends_at_once() -> None:
    # A short duration may draw fewer arrivals than there are workers.
    load = Load(requests=0).open([], then_daily=False)
    assert load.records == []
    assert load.ended_ns <= 0


def test_a_worker_that_got_only_warm_up_ends_after_it() -> None:
    load = Load(requests=0, warmup_requests=2).open([0, 10 * MS], then_daily=False)
    assert [r.phase for r in load.records] == ["warmup"] * 2
    assert {r.outcome for r in load.records} == {Outcome.OK}


def dispersion(offsets: list[int], rate: float) -> float:
    """Variance over mean of the counts in windows of ten mean gaps: 1 for a Poisson process."""
    width = 10 / rate * NS_PER_S
    counts = np.histogram(offsets, bins=np.arange(0, max(offsets) - width, width))[0]
    return float(np.var(counts, ddof=1) / np.mean(counts))


def test_four_workers_together_are_as_poisson_as_one() -> None:
    rate, seconds, seed = 200.0, 200, 3
    length = RunLength(requests=None, duration_ns=seconds * NS_PER_S)
    planned = draw(arrivals("poisson", rate, seed), length)
    union = [offset for _, offset, _ in sent_by_all(deal(planned, 4, cap=None))]
    # 4,000 windows: the index of dispersion has a standard error of sqrt(2 / 4000) = 0.022.
    assert dispersion(union, rate) == pytest.approx(1.0, abs=0.09)
    # With the same seed in every worker there would be four sends at each instant.
    same_seed = sorted(
        itertools.chain.from_iterable(
            itertools.takewhile(lambda at: at < seconds * NS_PER_S, arrivals("poisson", rate / 4, seed))
            for _ in range(4)
        )
    )
    assert dispersion(same_seed, rate) == pytest.approx(4.0, abs=0.4)


@given(total=st.integers(0, 10_000), workers=st.integers(1, 64))
def test_parts_add_up_and_differ_by_at_most_one(total: int, workers: int) -> None:
    parts = [part(total, k, workers) for k in range(workers)]
    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1


def indices(shares: list[WorkerShare], taken: list[int]) -> list[int]:
    """The request numbers of all workers, when each takes this many."""
    numbers = []
    for share, count in zip(shares, taken, strict=True):
        supply = Supply(
            itertools.repeat(Sample(prompt="x")),
            lambda sample: Encoded(b"{}", True, None),
            "made",
            first=share.worker,
            step=share.workers,
        )
        numbers += [supply.take("run").index for _ in range(count)]
    return sorted(numbers)


@given(users=st.integers(1, 300), workers=WORKERS, requests=st.integers(1, 500), warmup=st.integers(0, 60))
@example(users=2, workers=2, requests=5, warmup=1)
def test_a_closed_loop_is_divided_without_loss_and_numbered_without_gap(
    users: int, workers: int, requests: int, warmup: int
) -> None:
    workers = min(workers, users, requests)
    length = RunLength(requests=requests, duration_ns=7, warmup_requests=warmup, warmup_ns=5)
    shares = divide(users, workers, length)
    assert sum(share.users or 0 for share in shares) == users
    assert sum(share.requests or 0 for share in shares) == requests
    assert sum(share.warmup_requests for share in shares) == warmup
    assert all(share.users and share.requests for share in shares)
    assert {(share.duration_ns, share.warmup_ns) for share in shares} == {(7, 5)}
    taken = [(share.requests or 0) + share.warmup_requests for share in shares]
    assert indices(shares, taken) == list(range(requests + warmup))


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_numbers_never_collide_however_many_each_worker_takes(counts: list[int]) -> None:
    shares = divide(99, len(counts), RunLength(requests=None, duration_ns=1))
    numbers = indices(shares, counts)
    assert len(numbers) == len(set(numbers)) == sum(counts)


@given(n=st.integers(1, 200), workers=WORKERS, cap=st.integers(1, 50))
def test_the_caps_of_all_workers_are_the_cap_where_it_can_be_divided(n: int, workers: int, cap: int) -> None:
    shares = deal(OpenLoopArrivals(array("q", range(n)), 0), min(workers, cap), cap)
    assert sum(share.cap or 0 for share in shares) == cap
    assert all(share.cap for share in shares)


@pytest.mark.parametrize(
    ("flags", "workers"),
    [
        ({"rate": 50.0, "max_concurrency": 1, "duration": 5}, 1),
        ({"rate": 50.0, "max_concurrency": 3, "duration": 5}, 3),
        ({"rate": 50.0, "duration": 5}, 4),
        ({"rate": 50.0, "requests": 2}, 2),
        ({"concurrency": 3, "requests": 100}, 3),
        ({"concurrency": 100, "requests": 2}, 2),
        ({"mode": "throughput", "requests": 100}, 4),
        ({"mode": "throughput", "requests": 100, "max_concurrency": 2}, 2),
    ],
)
def test_there_are_never_more_workers_than_the_load_can_be_divided_by(
    flags: dict[str, Any], workers: int, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n')
    config = resolve({"url": "http://h", "workers": "4", **flags})
    plan = config.load.plan(config.length, RowsSpec(path=path).open(None, seed=0))
    assert workers_of(plan, config.workers, processors=8) == workers
    shares = plan.shares(workers)
    assert len(shares) == workers
    if config.max_concurrency is not None and config.mode == "rate":
        assert sum(share.cap or 0 for share in shares) == config.max_concurrency
