"""What a report says of the priority that a run's workers had, and what it advises."""

from __future__ import annotations

import errno

import pytest

from bench.errors import UsageError
from bench.process.priority import NoScheduler, PriorityUse, described, ensure_allowed, remedy

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
