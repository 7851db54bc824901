"""The flags of a search: their valid values, and the errors about invalid ones."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.load_search.decisions import Settings
from bench.load_search.goals import Goal
from bench.load_search.options import settings_of

GOALS = (Goal("ttft:p99<500ms", 0.01),)


def test_without_a_flag_a_search_looks_for_a_rate_for_a_quarter_of_an_hour() -> None:
    settings, require = settings_of({}, GOALS)
    assert settings == Settings("rate", GOALS, 1.0, 0.1, 100_000.0, 0.1, 900.0)
    assert require is None


def test_every_flag_changes_something() -> None:
    given = {
        "load": "concurrency",
        "start": "8",
        "min": "2",
        "max": "1,000",
        "precision": "5%",
        "budget": "3m",
        "require": "9",
    }
    settings, require = settings_of(given, GOALS)
    assert settings == Settings("concurrency", GOALS, 8.0, 2.0, 1_000.0, 0.05, 180.0)
    assert require == 9.0


def test_a_start_that_was_not_given_follows_the_limits() -> None:
    assert settings_of({"min": "5"}, GOALS)[0].start == 5.0
    assert settings_of({"max": "0.5/s"}, GOALS)[0].start == 0.5


def test_a_search_that_is_resumed_keeps_what_is_not_given_again() -> None:
    kept = Settings("concurrency", GOALS, 4.0, 2.0, 64.0, 0.2, 60.0)
    settings, _ = settings_of({"budget": "1h"}, GOALS, kept)
    assert settings == Settings("concurrency", GOALS, 4.0, 2.0, 64.0, 0.2, 3_600.0)
    with pytest.raises(UsageError, match="the search to resume varies the concurrency"):
        settings_of({"load": "rate"}, GOALS, kept)


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"start": "5", "min": "5", "max": "5"}, "start", 5.0),
        ({"start": " 2,500.5/s "}, "start", 2_500.5),
        ({"start": ".5"}, "start", 0.5),
        ({"min": "100,000"}, "least", 100_000.0),
        ({"load": "sessions", "min": "1"}, "least", 1.0),
        ({"precision": "2%"}, "precision", 0.02),
        ({"precision": "200%"}, "precision", 2.0),
        ({"precision": "0.99"}, "precision", 0.99),
        ({"precision": ".1"}, "precision", 0.1),
        ({"budget": "10s"}, "budget_s", 10.0),
        ({"budget": "720h"}, "budget_s", 30 * 86_400.0),
    ],
)
def test_the_ends_of_what_may_be_given_are_taken(given: dict[str, str], name: str, value: float) -> None:
    assert getattr(settings_of(given, GOALS)[0], name) == pytest.approx(value)


def test_the_highest_load_itself_may_be_required() -> None:
    assert settings_of({"max": "3", "require": "3"}, GOALS)[1] == 3.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"load": "rates"}, "'rates' is not one of rate, concurrency, sessions"),
        ({"start": "abc"}, "'abc' is not a load: give a number of requests/s"),
        ({"start": "0"}, "--start: must be more than 0"),
        ({"start": "-3"}, "'-3' is not a load"),
        ({"start": "1e999"}, "'1e999' is not a load"),
        ({"load": "concurrency", "start": "2.5"}, "2.5 users do not exist: give a whole number"),
        ({"load": "concurrency", "start": "3/s"}, "give a number of users"),
        ({"max": "10000000"}, "10,000,000 is more than the 100,000"),
        ({"min": "5", "max": "3"}, "--min 5 is more than --max 3"),
        ({"start": "9", "max": "3"}, "--start 9 is not between --min 0.1 and --max 3"),
        ({"require": "9", "max": "3"}, "--require 9 is more than --max 3"),
        ({"precision": "10"}, "10 without a unit is 1000%: write 10%"),
        ({"precision": "1"}, "1 without a unit is 100%: write 1%"),
        ({"precision": "1.9%"}, "give between 2% and 200%"),
        ({"precision": "201%"}, "give between 2% and 200%"),
        ({"budget": "9.9s"}, "give between 10 s and 30 days (given: 9.9s)"),
        ({"budget": "721h"}, "give between 10 s and 30 days"),
        ({"max": "100,000.5"}, "is more than the 100,000"),
        ({"start": "0.000001"}, "--start: must be at least"),
        ({"precision": "wide"}, "'wide' is not a width such as 10%"),
        ({"precision": "0.1%"}, "give between 2% and 200%"),
        ({"budget": "3s"}, "give between 10 s and 30 days (given: 3s)"),
        ({"budget": "soon"}, "'soon' is not a time"),
    ],
)
def test_each_wrong_value_gets_a_sentence(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        settings_of(given, GOALS)
    assert said in refused.value.problems[0]
    assert len(refused.value.problems) == 1


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        settings_of({"start": "x", "budget": "y", "precision": "z", "min": "5", "max": "3"}, GOALS)
    assert len(refused.value.problems) == 4
    # A flag that cannot be parsed is not also blamed for a conflict with others.
    with pytest.raises(UsageError) as refused:
        settings_of({"start": "9", "max": "3", "require": "9", "budget": "y"}, GOALS)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["--budget"]
