"""Before the load: descriptors and ports are counted against the plan."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from bench import clock
from bench.errors import UsageError
from bench.machine import preflight
from bench.machine.preflight import (
    check,
    files_kept,
    kernel_time,
    least_files,
    least_memory,
    local_ports_for,
    open_files_for,
    room_for_connections,
)
from tests.support.patience import PATIENCE_S

LIMITED = """
import resource, sys
soft, hard, connections = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from bench.errors import UsageError
from bench.machine.preflight import open_files_for
try:
    open_files_for(connections)
except UsageError as e:
    print(e)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def limited(soft: int, hard: int, connections: int) -> list[str]:
    """The message of a process with these limits, and its soft limit afterwards."""
    command = [sys.executable, "-c", LIMITED, str(soft), str(hard), str(connections)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout.splitlines()


@pytest.mark.processes
def test_a_soft_limit_is_raised_as_far_as_the_plan_needs() -> None:
    assert limited(100, 900, 500) == ["564"]


@pytest.mark.processes
def test_a_limit_that_is_high_enough_is_left_alone() -> None:
    assert limited(800, 900, 500) == ["800"]


@pytest.mark.processes
def test_a_hard_limit_that_is_too_low_is_refused_with_what_to_do() -> None:
    assert limited(100, 200, 500) == [
        "500 requests in flight need 564 open files, and the limit here is 200: "
        "lower the concurrency, or raise the limit (ulimit -Hn 564)",
        "100",
    ]


def test_a_plan_with_more_connections_than_ports_is_refused(tmp_path: Path) -> None:
    ports = tmp_path / "range"
    ports.write_text("40000\t40099\n")
    local_ports_for(100, ports)
    with pytest.raises(UsageError, match="101 requests in flight need as many local ports, and this machine has 100"):
        local_ports_for(101, ports)


@pytest.mark.parametrize("content", [None, "", "words", "1 2 3"])
def test_where_the_system_says_nothing_nothing_is_refused(tmp_path: Path, content: str | None) -> None:
    ports = tmp_path / "range"
    if content is not None:
        ports.write_text(content)
    local_ports_for(10**9, ports)


def test_a_small_plan_passes_and_an_impossible_one_names_every_limit() -> None:
    check(1)
    if Path("/proc/sys/net/ipv4/ip_local_port_range").exists():
        with pytest.raises(UsageError) as raised:
            check(10**9)
        assert any("local ports" in p for p in raised.value.problems)


DOUBT = """
import resource, sys
soft, hard, connections = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from bench.errors import UsageError
from bench.machine.preflight import check, least_files, room_for_connections
try:
    least_files()
    print(check(connections, certain=False))
except UsageError as e:
    print(e)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], room_for_connections())
"""


def doubted(soft: int, hard: int, connections: int) -> list[str]:
    command = [sys.executable, "-c", DOUBT, str(soft), str(hard), str(connections)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout.splitlines()


@pytest.mark.processes
def test_an_estimate_refuses_nothing_and_says_what_may_fail() -> None:
    assert doubted(40, 64, 500) == [
        "the limit of open files here (64) has room for about 32 requests in flight, and this load may have 500: "
        "those beyond it will fail (ulimit -Hn 564)",
        "64 0",
    ]
    assert doubted(100, 900, 500) == ["None", "564 500"]


@pytest.mark.processes
def test_a_limit_under_which_no_run_can_begin_is_refused() -> None:
    assert doubted(30, 40, 5) == ["a run needs at least 48 open files, and the limit here is 40: raise it (ulimit -Hn 1024)",
                                  "30 0"]  # fmt: skip


def test_descriptors_are_kept_from_a_load_and_given_back() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    with files_kept():
        assert descriptors() == before + 12
    assert descriptors() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_too_little_address_space_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    limits = {resource.RLIMIT_AS: (599_000_000, 599_000_000)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    with pytest.raises(UsageError) as refused:
        least_memory()
    assert str(refused.value) == (
        "a run needs at least 600 MB of address space, and the limit here is 599 MB: raise it (ulimit -v unlimited)"
    )
    for enough in (600_000_000, resource.RLIM_INFINITY):
        limits[resource.RLIMIT_AS] = (enough, enough)
        least_memory()


class Limits:
    """The open-file limit of a process, as the system keeps it."""

    RLIMIT_NOFILE, RLIM_INFINITY = "files", -1

    def __init__(self, soft: int, hard: int) -> None:
        self.files = soft, hard

    def getrlimit(self, name: str) -> tuple[int, int]:
        return getattr(self, name)  # type: ignore[no-any-return]

    def setrlimit(self, name: str, limits: tuple[int, int]) -> None:
        setattr(self, name, limits)


@pytest.fixture
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Limits:
    found = Limits(*request.param)
    monkeypatch.setattr("bench.machine.preflight.resource", found)
    return found


@pytest.mark.parametrize(
    ("limits", "connections", "soft"),
    [
        ((100, 564), 500, 564),  # 500 connections, and 64 for everything else.
        ((100, 900), 500, 564),
        ((564, 900), 500, 564),
        ((565, 900), 500, 565),
        ((-1, -1), 500, -1),
        ((100, -1), 500, 564),
        ((100, 563), 500, None),
    ],
    indirect=["limits"],
)
def test_the_soft_limit_grows_with_the_connections_up_to_the_hard_one(
    limits: Limits, connections: int, soft: int | None
) -> None:
    hard = limits.files[1]
    if soft is None:
        with pytest.raises(UsageError, match="500 requests in flight need 564 open files, and the limit here is 563"):
            open_files_for(connections)
    else:
        open_files_for(connections)
        assert limits.files == (soft, hard)


@pytest.mark.parametrize(
    ("limits", "room"), [((164, 164), 100), ((64, 900), 0), ((10, 900), 0), ((-1, -1), 2**31)], indirect=["limits"]
)
def test_connections_have_the_room_that_is_not_spared(limits: Limits, room: int) -> None:
    assert room_for_connections() == room


@pytest.mark.parametrize(
    ("limits", "soft"), [((10, 48), 48), ((20, 900), 48), ((60, 900), 60), ((10, -1), 48)], indirect=["limits"]
)
def test_a_run_begins_with_48_files(limits: Limits, soft: int) -> None:
    least_files()
    assert limits.files[0] == soft


@pytest.mark.parametrize("limits", [(47, 47)], indirect=True)
def test_a_run_does_not_begin_with_47_files(limits: Limits) -> None:
    with pytest.raises(UsageError, match="a run needs at least 48 open files, and the limit here is 47"):
        least_files()


@pytest.mark.parametrize(
    ("limits", "doubt", "soft"),
    [((100, 564), None, 564), ((100, 563), "the limit of open files here (563) has room for about 531", 563),
     ((100, -1), None, 564)],
    indirect=["limits"],
)  # fmt: skip
def test_an_estimate_of_connections_raises_the_limit_as_far_as_it_goes(
    limits: Limits, doubt: str | None, soft: int
) -> None:
    said = check(500, certain=False)
    assert limits.files[0] == soft
    if doubt is None:
        assert said is None
    else:
        assert said is not None
        assert said.startswith(f"{doubt} requests in flight, and this load may have 500: ")
        assert said.endswith(" (ulimit -Hn 564)")


@pytest.mark.parametrize("limits", [(100, 1100)], indirect=True)
def test_a_certain_number_of_connections_raises_the_limit(limits: Limits) -> None:
    assert check(1000) is None
    assert limits.files == (1064, 1100)


def test_fewer_descriptors_are_kept_where_no_more_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, closed, left = list[int](), list[int](), iter(range(900, 905))

    def open_one(path: str, how: int) -> int:
        assert (path, how) == (os.devnull, os.O_RDONLY)
        try:
            opened.append(next(left))
        except StopIteration:
            raise OSError(24, "Too many open files") from None
        return opened[-1]

    monkeypatch.setattr(os, "open", open_one)
    monkeypatch.setattr(os, "close", closed.append)
    with files_kept():
        assert (len(opened), closed) == (5, [])
    assert closed == opened


@pytest.mark.parametrize("limits", [(100, 100)], indirect=True)
def test_every_limit_that_is_too_low_is_named(limits: Limits) -> None:
    with pytest.raises(UsageError) as refused:
        check(10**9)
    assert [problem.partition(" need ")[2][:12] for problem in refused.value.problems][:1] == ["1000000064 o"]
    if Path("/proc/sys/net/ipv4/ip_local_port_range").exists():
        assert len(refused.value.problems) == 2


@pytest.mark.parametrize("limits", [(-1, -1)], indirect=True)
def test_without_a_limit_there_is_room_for_two_thousand_million(limits: Limits) -> None:
    assert check(2**31, certain=False) is None
    said = check(2**31 + 1, certain=False)
    assert said is not None
    assert said.startswith("the limit of open files here (2147483648) has room for about 2147483680 requests in flight")


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")
def test_a_time_that_is_not_the_kernels_is_refused_and_a_refused_timer_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = clock.now_ns
    kernel_time()
    # Like libfaketime: a clock that is behind, ahead, or stopped.
    for faked in (lambda: real() - 86_400 * 10**9, lambda: real() + 86_400 * 10**9, lambda: 5):
        monkeypatch.setattr(clock, "now_ns", faked)
        with pytest.raises(UsageError, match="is not the kernel's"):
            kernel_time()

    def refused(number: int) -> int:
        raise OSError(number, "timerfd_create failed")

    for number, expected in ((errno.EPERM, UsageError), (errno.ENOSYS, UsageError), (errno.EMFILE, OSError)):
        monkeypatch.setattr(preflight, "left_of_a_minute_s", partial(refused, number))
        with pytest.raises(expected, match="timerfd_create"):
            kernel_time()


def test_windows_has_no_such_limits_and_sends_no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr("bench.machine.preflight.resource")
    least_memory()
    open_files_for(10**9)
    assert room_for_connections() == 2**31
    assert check(10**9, certain=False) is None
    with pytest.raises(UsageError, match="on Windows run Trueload inside WSL 2"):
        least_files()
