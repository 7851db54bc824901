"""Which address the next request goes to."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.clock import NS_PER_S
from bench.transport.balance import FIRST_WAIT_NS, LONGEST_WAIT_NS, LOST_IN_A_ROW, Balance

S = NS_PER_S


def chosen(balance: Balance, n: int, now_ns: int = 0) -> list[int]:
    """The addresses of this many requests, each of which is answered before the next."""
    found = []
    for _ in range(n):
        which = balance.choose(now_ns)
        balance.ended(which)
        balance.answered(which)
        found.append(which)
    return found


def lose(balance: Balance, which: int, now_ns: int, times: int = LOST_IN_A_ROW) -> None:
    for _ in range(times):
        balance.lost(which, now_ns)


def test_round_robin_goes_around_from_the_first_that_is_given() -> None:
    assert chosen(Balance("round_robin", [1, 1, 1]), 7) == [0, 1, 2, 0, 1, 2, 0]
    assert chosen(Balance("round_robin", [1, 1, 1], first=5), 4) == [2, 0, 1, 2]


@pytest.mark.parametrize("weights", [(3, 1), (1, 2, 5), (0.5, 0.25), (1e6, 1)])
def test_weights_are_kept_to_and_evenly_spread(weights: tuple[float, ...]) -> None:
    n, whole = 400, sum(weights)
    found = chosen(Balance("weighted", weights), n)
    for end in range(1, n + 1):
        so_far = Counter(found[:end])
        assert all(abs(so_far[i] - end * weight / whole) <= 1.5 for i, weight in enumerate(weights))


def test_the_least_loaded_is_next_and_equal_ones_take_turns() -> None:
    balance = Balance("least_in_flight", [1, 1, 2])
    assert [balance.choose(0) for _ in range(4)] == [0, 1, 2, 2]  # Each address has one request per weight.
    balance.ended(1)
    assert balance.choose(0) == 1
    assert balance.in_flight == [1, 1, 2]


def test_an_address_is_out_after_some_lost_requests_in_a_row_and_tried_again() -> None:
    balance = Balance("round_robin", [1, 1, 1])
    lose(balance, 1, 0, LOST_IN_A_ROW - 1)
    balance.answered(1)
    lose(balance, 1, 0, LOST_IN_A_ROW - 1)
    assert not balance.is_out(1)  # An answer came between.
    balance.lost(1, 0)
    assert balance.is_out(1)
    assert 1 not in chosen(balance, 10, FIRST_WAIT_NS - 1)
    assert balance.choose(FIRST_WAIT_NS) == 1
    assert balance.choose(FIRST_WAIT_NS) != 1  # One request tries it.
    balance.answered(1)
    assert not balance.is_out(1)
    assert Counter(chosen(balance, 30, FIRST_WAIT_NS)) == {0: 10, 1: 10, 2: 10}


def test_an_address_that_is_awaited_is_tried_as_often_as_at_first() -> None:
    balance = Balance("round_robin", [1, 1], longest_wait_ns=FIRST_WAIT_NS)
    lose(balance, 1, 0)
    for trial in range(1, 6):
        assert 1 not in chosen(balance, 4, trial * FIRST_WAIT_NS - 1)
        assert balance.choose(trial * FIRST_WAIT_NS) == 1
        balance.lost(1, trial * FIRST_WAIT_NS)


def test_each_trial_in_vain_doubles_the_wait_up_to_the_longest() -> None:
    balance, now, waits = Balance("round_robin", [1, 1]), 0, []
    lose(balance, 0, now)
    for _ in range(8):
        begin = now
        while balance.choose(now) != 0:
            now += S // 10
        waits.append((now - begin) / S)
        balance.lost(0, now)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert LONGEST_WAIT_NS == 30 * S


def test_requests_that_were_sent_before_do_not_lengthen_the_wait() -> None:
    balance = Balance("round_robin", [1, 1])
    lose(balance, 0, 0, 50)
    assert balance.choose(FIRST_WAIT_NS) == 0


def test_where_all_are_out_all_are_used_and_the_first_answer_brings_one_back() -> None:
    balance = Balance("least_in_flight", [1, 1, 1])
    for which in range(3):
        lose(balance, which, which)
    assert {balance.choose(5) for _ in range(3)} == {0, 1, 2}
    balance.answered(2)
    assert chosen(balance, 3, 6) == [2, 2, 2]


def test_a_returning_address_does_not_catch_up_on_what_it_missed() -> None:
    balance = Balance("round_robin", [1, 1])
    lose(balance, 0, 0)
    chosen(balance, 100, 1)
    balance.answered(0)
    assert Counter(chosen(balance, 10, 1)) == {0: 5, 1: 5}
