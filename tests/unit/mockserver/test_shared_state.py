"""State shared by workers: nothing is counted twice or lost, and a killed worker blocks no other."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from mockserver.workers import shared_state
from mockserver.workers.response_store import ResponseStore, StoredResponse
from mockserver.workers.shared_state import COUNTERS, MAX_TEXT_BYTES, SharedState

forking = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")


@pytest.fixture
def state() -> Iterator[SharedState]:
    state = SharedState()
    yield state
    state.close()


def in_children(n: int, work: Callable[[], bytes]) -> list[bytes]:
    """The results of n forked processes."""
    reads = []
    for _ in range(n):
        read, write = os.pipe()
        if (pid := os.fork()) == 0:
            os.write(write, work())
            os._exit(0)
        os.close(write)
        reads.append((read, pid))
    told = []
    for read, pid in reads:
        with os.fdopen(read, "rb") as pipe:
            told.append(pipe.read())
        assert os.waitpid(pid, 0)[1] == 0
    return told


def test_a_counter_counts_from_zero_and_counters_do_not_mix(state: SharedState) -> None:
    assert [state.take("replies") for _ in range(3)] == [0, 1, 2]
    assert state.take("arrivals_by_order") == 0


@pytest.mark.processes
@forking
def test_each_number_goes_to_one_process_alone(state: SharedState) -> None:
    told = in_children(4, lambda: b" ".join(b"%d" % state.take("replies") for _ in range(2000)))
    assert sorted(int(number) for text in told for number in text.split()) == list(range(8000))


def test_attempts_are_counted_for_each_id(state: SharedState) -> None:
    assert [state.attempt(name) for name in ("a", "b", "a", "a", "b", "\ud800")] == [1, 1, 2, 3, 2, 1]


@pytest.mark.processes
@forking
def test_attempts_are_counted_over_all_processes(state: SharedState) -> None:
    ids = [f"run-{i}" for i in range(300)]
    told = in_children(3, lambda: bytes(state.attempt(name) for name in ids))
    assert [sorted(of_one) for of_one in zip(*told, strict=True)] == [[1, 2, 3]] * 300


def test_of_too_many_ids_the_latest_are_remembered(state: SharedState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_state, "_SETS", 1)
    for i in range(8):
        state.attempt(f"old-{i}")
    assert state.attempt("old-0") == 2  # old-0 was used again, so old-1 is now the oldest.
    assert state.attempt("new") == 1
    assert state.attempt("old-0") == 3
    assert state.attempt("old-2") == 2
    assert state.attempt("old-1") == 1


def test_a_text_is_published_with_a_version(state: SharedState) -> None:
    assert (state.version, state.text()) == (0, (0, b""))
    assert state.publish(b"ttft: 50ms") == 1
    assert state.publish(b"x") == 2
    assert (state.version, state.text()) == (2, (2, b"x"))
    with pytest.raises(ValueError, match="the limit is 1048576"):
        state.publish(bytes(MAX_TEXT_BYTES + 1))
    assert state.text() == (2, b"x")


def test_a_long_text_leaves_the_one_before_it_and_the_attempts_as_they_are(state: SharedState) -> None:
    state.attempt("a")
    longest = bytes([7]) * MAX_TEXT_BYTES
    assert [state.publish(text) for text in (longest, b"x", longest)] == [1, 2, 3]
    assert state.text() == (3, longest)
    assert [state.attempt("a"), state.taken("replies")] == [2, 0]


def test_what_is_forgotten_begins_anew_and_the_text_stays() -> None:
    state = SharedState(ResponseStore(1, 10))
    for counter in COUNTERS:
        assert [state.take(counter), state.take(counter), state.taken(counter)] == [0, 1, 2]
    state.publish(b"x")
    state.attempt("a")
    state.responses.add("r", StoredResponse(b"1", b"2"))
    state.forget()
    assert [(state.taken(counter), state.take(counter)) for counter in COUNTERS] == [(0, 0)] * len(COUNTERS)
    assert (state.attempt("a"), state.responses.get("r"), state.text()) == (1, None, (1, b"x"))
    state.close()


@pytest.mark.processes
@forking
def test_what_one_process_publishes_the_others_have(state: SharedState) -> None:
    in_children(1, lambda: b"%d" % state.publish(b"from a worker"))
    assert (state.version, state.text()) == (1, (1, b"from a worker"))


@pytest.mark.processes
@forking
def test_a_process_that_is_killed_with_the_lock_holds_nobody_up(state: SharedState) -> None:
    state.publish(b"whole")

    def die() -> bytes:
        with state._lock:
            os.kill(os.getpid(), signal.SIGKILL)
        return b""

    if (pid := os.fork()) == 0:
        die()
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert state.take("replies") == 0
    assert state.text() == (1, b"whole")
