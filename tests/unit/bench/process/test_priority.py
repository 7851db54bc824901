"""A report's statement about the priority of a run's workers, and its advice."""

from __future__ import annotations

import errno
import os
import sys
from types import SimpleNamespace
from typing import NoReturn

import pytest

from bench.errors import UsageError
from bench.process import priority
from bench.process.priority import (
    LinuxScheduler,
    NoScheduler,
    PriorityUse,
    described,
    ensure_allowed,
    give_way,
    give_way_a_little,
    reason,
    remedy,
)

HAD = PriorityUse(asked="auto", had="realtime")
GIVEN_BACK = PriorityUse(asked="auto", had="realtime", given_back_ns=3_250_000_000)
REFUSED = PriorityUse(asked="auto", had="normal", refused="this process may not take it")
NORMAL = PriorityUse(asked="normal", had="normal")


@pytest.mark.parametrize(
    ("uses", "words"),
    [
        ([], None),
        ([HAD], "real-time"),
        ([NORMAL], "normal"),
        ([REFUSED], "normal: real-time was not to be had (this process may not take it)"),
        ([GIVEN_BACK], "real-time, given back after 3.2 s: it needed most of a processor"),
        ([HAD, GIVEN_BACK], "real-time, given back by 1 of 2 workers after 3.2 s: it needed most of a processor"),
    ],
)
def test_it_says_which_priority_the_workers_had(uses: list[PriorityUse], words: str | None) -> None:
    assert described(uses) == words


@pytest.mark.parametrize(
    ("uses", "names"),
    [([HAD], None), ([GIVEN_BACK], None), ([REFUSED], "CAP_SYS_NICE"), ([NORMAL], "--cpu-priority normal"), ([], None)],
)
def test_it_names_a_remedy_where_there_is_one(uses: list[PriorityUse], names: str | None) -> None:
    found = remedy(uses)
    assert (found is None) if names is None else (found is not None and names in found)


class Forbidding(NoScheduler):
    def realtime(self) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")


def test_what_was_asked_for_and_is_not_allowed_is_refused_before_the_load() -> None:
    with pytest.raises(UsageError) as refused:
        ensure_allowed("realtime", Forbidding())
    assert "this process may not take it. Allow it with CAP_SYS_NICE as an ambient capability" in str(refused.value)
    ensure_allowed("auto", Forbidding())


def test_what_is_not_realtime_is_not_asked_of_the_system() -> None:
    ensure_allowed("normal", Forbidding())


@pytest.mark.parametrize(
    ("error", "words"),
    [(OSError(errno.EPERM, "x"), "this process may not take it"), (OSError(errno.EINVAL, "no such thing"), "no such thing"),
     (OSError("said"), "said")],
)  # fmt: skip
def test_the_reason_is_that_of_the_system(error: OSError, words: str) -> None:
    assert reason(error) == words


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The system calls."""
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "nice", lambda by: asked.append(("nice", by)))
    monkeypatch.setattr(
        os, "sched_setscheduler",
        lambda thread, policy, param: asked.append((thread, policy, param.sched_priority)),
    )  # fmt: skip
    return asked


def test_what_runs_beside_a_load_is_of_the_idle_kind_or_nicer(
    calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_way()
    assert calls == [(0, os.SCHED_IDLE, 0)]

    def refuse(*_: object) -> NoReturn:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    give_way()
    monkeypatch.setattr(sys, "platform", "darwin")
    give_way()
    give_way_a_little()
    assert calls[1:] == [("nice", 10)] * 3
    monkeypatch.setattr(sys, "platform", "win32")
    give_way()
    assert len(calls) == 4


def test_realtime_is_the_lowest_of_its_kind_for_this_thread_and_those_that_receive(
    calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    receivers = [SimpleNamespace(thread_id=31, cpu_ns=lambda: 5), SimpleNamespace(thread_id=32, cpu_ns=lambda: 7)]
    monkeypatch.setattr(priority, "receivers", receivers)
    monkeypatch.setattr(priority, "thread_cpu_ns", lambda: 100)
    of_linux = LinuxScheduler()
    assert of_linux.thread_cpu_ns() == 112
    of_linux.realtime()
    of_linux.normal()
    round_robin, other = os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
    assert calls == [(n, round_robin, 1) for n in (0, 31, 32)] + [(n, other, 0) for n in (0, 31, 32)]


def test_a_priority_that_may_be_taken_is_given_back_until_the_load() -> None:
    asked: list[str] = []
    allowing = SimpleNamespace(realtime=lambda: asked.append("realtime"), normal=lambda: asked.append("normal"))
    ensure_allowed("realtime", allowing)
    assert asked == ["realtime", "normal"]
