"""a0 and w0: a server that is not slower when idle has no w0. Requests that arrive during steps separate the two."""

from __future__ import annotations

import functools

import pytest

from bench.fit.batching import BatchingFit, fit_batching
from bench.fit.profile import unknown_of
from bench.fit.streams import Stream, streams_of
from bench.rng import Random
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_runs_of_fit import made_runs
from tests.support.step_server import StepServer, closed_loop

pytestmark = pytest.mark.usefixtures("few_resamples")

AWAKE = StepServer(a0=2300)
WAKES = StepServer(a0=2300, w0=9000)


@functools.cache
def runs_of(server: StepServer, *, open_loop: bool) -> tuple[tuple[Stream, ...], ...]:
    runs = [closed_loop(server, users, 8.0, seed=users) for users in (1, 2, 4)]
    if open_loop:
        runs.append(closed_loop(server, 0, 12.0, rate=12.0, seed=9))
    return tuple(tuple(run) for run in runs)


@functools.cache
def fitted(server: StepServer, *, open_loop: bool) -> BatchingFit:
    return fit_batching(runs_of(server, open_loop=open_loop), Random(1))


@pytest.mark.parametrize("server", [AWAKE, WAKES], ids=["awake", "wakes"])
def test_what_an_idle_server_takes_is_a0_and_w0_together(server: StepServer) -> None:
    for open_loop in (False, True):
        found = fitted(server, open_loop=open_loop).front_end
        assert abs(found.a0.value + found.w0.value - server.a0 - server.w0) < 400
        for one, true in ((found.a0, server.a0), (found.w0, server.w0)):
            assert one.low - 400 <= true <= one.high + 400
            assert one.low <= one.value <= one.high


def test_requests_that_come_beside_steps_tell_the_two_apart() -> None:
    found = fitted(WAKES, open_loop=True).front_end
    assert found.how == "both"
    assert abs(found.a0.value - WAKES.a0) < 400
    assert abs(found.w0.value - WAKES.w0) < 800
    assert found.a0.told
    assert found.w0.told


def test_a_server_that_is_as_fast_when_idle_has_no_w0() -> None:
    for open_loop in (False, True):
        found = fitted(AWAKE, open_loop=open_loop).front_end
        assert (found.how, found.w0.value) == ("idle", 0)
        assert abs(found.a0.value - AWAKE.a0) < 400


def test_one_whose_a0_is_longer_than_a_step_has_no_w0() -> None:
    found = fitted(StepServer(a0=11_300), open_loop=True).front_end
    assert (found.how, found.w0.value) == ("idle", 0)
    assert abs(found.a0.value - 11_300) < 400


def test_a_closed_loop_does_not_say_how_much_is_which_and_the_run_that_would_is_named() -> None:
    fit = fitted(WAKES, open_loop=False)
    assert fit.front_end.how == "both"
    # Requests arrive just after a step begins, so any a0 shorter than the next step is possible.
    assert fit.front_end.a0.high < WAKES.b0 + 2 * WAKES.b2 + 500
    assert not fit.front_end.w0.told
    rows = unknown_of(fit, made_runs([list(run) for run in runs_of(WAKES, open_loop=False)]))
    command = next(row.command for row in rows if row.what == "a0, w0")
    assert " --rate " in command
    assert "--concurrency" not in command


def test_a_request_that_was_sent_again_is_work_from_its_second_send_on() -> None:
    record = made_record(chunks_ms=(800, 810), attempts=2, resent_ns=START_NS + 750 * MS)
    (stream,) = streams_of([record], START_NS)
    assert (stream.sent_us, stream.arrivals_us) == (750_000, (800_000, 810_000))
