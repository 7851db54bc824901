"""Tokens cannot be guessed: trivial ones are refused; wrong ones are counted, answered late, and lock their sender out."""

from __future__ import annotations

import pytest

from bench.clock import NS_PER_S
from bench.console.guesses import Guesses
from bench.console.security import token_problem
from bench.rng import secret_token


@pytest.mark.parametrize(
    "token",
    [
        "aaaaaaaaaaaaaaaa",
        "123456789012",
        "abcdefghijklmnop",
        "9876543210987",
        "abababababababab",
        "password1234",
        "passwordpassword",
        "trueload-2026",
        "Admin-Secret-Token",
        "letmein12345",
        "------------",
        "test-test-test-1",
        "acegacegaceg",
    ],
)
def test_trivial_tokens_are_refused(token: str) -> None:
    assert "easy to guess" in str(token_problem(token))


@pytest.mark.parametrize(
    "token",
    ["choose-a-long-one", "a-token-of-the-test", "correct horse", "3f9c1d0b7a2e", "Tr0ub4dor&3-lab", "acegiacegiac"],
)
def test_other_tokens_are_taken(token: str) -> None:
    assert token_problem(token) is None


@pytest.mark.parametrize("token", ["schlüssel-für-die-konsole", "ключ-от-консоли", "choose-a-\x07-long-one"])
def test_a_token_that_no_header_can_hold_is_refused(token: str) -> None:
    assert "may have only ASCII letters" in str(token_problem(token))


def test_a_token_that_the_console_makes_is_taken() -> None:
    assert token_problem(secret_token()) is None


def test_a_short_token_is_refused_with_its_length() -> None:
    assert token_problem("x4-kQ") == "needs at least 12 characters (given: 5)"


def test_a_sender_is_answered_late_and_then_locked_out() -> None:
    # A monotonic clock has counted since the machine's start.
    began = 1_000_000
    said: list[str] = []
    guesses = Guesses(said.append)
    waits = [guesses.wrong("10.0.0.7", (began + second) * NS_PER_S) // NS_PER_S for second in range(10)]
    assert waits == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    assert guesses.locked_ns("10.0.0.7", (began + 9) * NS_PER_S) == 60 * NS_PER_S
    assert guesses.locked_ns("10.0.0.7", (began + 68) * NS_PER_S) == NS_PER_S
    assert guesses.locked_ns("10.0.0.7", (began + 69) * NS_PER_S) == 0
    assert guesses.locked_ns("10.0.0.8", (began + 9) * NS_PER_S) == 0
    assert said == ["10 wrong tokens from 10.0.0.7: locked out for 60 s"]
    # After the lockout, ten more wrong tokens lock the sender out again. Ten quiet minutes reset the count.
    for _ in range(10):
        guesses.wrong("10.0.0.7", (began + 100) * NS_PER_S)
    assert said[1:] == ["20 wrong tokens from 10.0.0.7: locked out for 60 s"]
    assert guesses.wrong("10.0.0.7", (began + 800) * NS_PER_S) == 0


def test_a_network_of_ipv6_is_one_sender() -> None:
    guesses = Guesses(lambda sentence: None)
    for host in range(10):
        guesses.wrong(f"2001:db8::{host}", 0)
    assert guesses.locked_ns("2001:db8::ffff:ffff:ffff:ffff", 0) > 0
    assert guesses.locked_ns("2001:db8:0:1::1", 0) == 0


def test_only_so_many_senders_are_kept() -> None:
    guesses = Guesses(lambda sentence: None)
    for number in range(2_000):
        guesses.wrong(f"10.0.{number // 256}.{number % 256}", 0)
    assert len(guesses._senders) == 1_000


def test_ten_quiet_minutes_are_enough_to_begin_anew_and_no_second_less() -> None:
    guesses, said = Guesses(lambda sentence: None), 600 * NS_PER_S
    assert [guesses.wrong("10.0.0.7", 0) for _ in range(4)] == [0, 0, 0, NS_PER_S]
    assert guesses.wrong("10.0.0.7", said) == NS_PER_S
    assert guesses.wrong("10.0.0.7", 2 * said + 1) == 0


def test_of_too_many_senders_the_one_longest_quiet_is_forgotten() -> None:
    guesses = Guesses(lambda sentence: None)
    for _ in range(4):
        guesses.wrong("first", 0)
        guesses.wrong("second", 0)
    guesses.wrong("first", 1)
    for number in range(999):
        guesses.wrong(f"10.0.{number // 256}.{number % 256}", 1)
    assert guesses.wrong("first", 2) == NS_PER_S
    assert guesses.wrong("second", 2) == 0


def test_who_is_locked_out_is_said_in_the_log_of_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    guesses = Guesses()
    for second in range(10):
        guesses.wrong("10.0.0.7", second * NS_PER_S)
    assert capsys.readouterr().err == "warning: 10 wrong tokens from 10.0.0.7: locked out for 60 s\n"


def test_a_sender_whose_first_wrong_token_has_just_come_is_not_locked_out() -> None:
    guesses = Guesses(lambda sentence: None)
    assert (guesses.locked_ns("10.0.0.7", 0), guesses.wrong("10.0.0.7", 0), guesses.locked_ns("10.0.0.7", 0)) == (
        0,
        0,
        0,
    )
