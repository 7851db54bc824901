"""Faults: their notation, the requests they hit, and a stall's effect on a plan."""

from __future__ import annotations

import re

import pytest

from mockserver.faults import FAULTS, GROUPS, ArrivalFacts, Rule, choose, fault, names, parse_demand, parse_rule
from mockserver.replies.stream import STRIKES


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("429", Rule("429", fault("429"))),
        (
            "429:rate=0.1,retry_after=2",
            Rule("429:rate=0.1,retry_after=2", fault("429", retry_after=2), rate=0.1),
        ),
        ("500:index=5", Rule("500:index=5", fault("500"), index=5)),
        ("reset:every=10,after=3", Rule("reset:every=10,after=3", fault("reset", after=3), every=10)),
        ("reset:after=0", Rule("reset:after=0", fault("reset", after=0))),
        ("stall:for=1500us", Rule("stall:for=1500us", fault("stall", **{"for": 1_500_000}))),
        (" truncate : ".replace(" ", ""), Rule("truncate:", fault("truncate"))),
        (
            "slow:factor=1.5,from=10s,until=20s,skip=3,rate=1",
            Rule(
                "slow:factor=1.5,from=10s,until=20s,skip=3,rate=1",
                fault("slow", factor=1.5),
                rate=1.0,
                from_ns=10_000_000_000,
                until_ns=20_000_000_000,
                skip=3,
            ),
        ),
        ("500:from=0s", Rule("500:from=0s", fault("500"))),
    ],
)
def test_a_spec_is_read_as_written(spec: str, rule: Rule) -> None:
    assert parse_rule(spec) == rule


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("rest", "did you mean reset?"),
        ("418", "no fault is called '418'"),
        ("429:rate=2", "write a share from 0 to 1"),
        ("429:rate=", "write a share from 0 to 1"),
        ("429:rate=nan", "write a share from 0 to 1"),
        ("429:after=3", "429 takes rate, crowd, index, every, from, until, skip, retry_after, not 'after'"),
        ("reset:after=-1", "write a whole number"),
        ("reset:every=0", "write a whole number from 1 to 1,000,000"),
        ("empty:chunks=1000001", "write a whole number from 1 to 1,000,000"),
        ("reset:soon", "'soon' is not key=value"),
        ("stall:for=2", "like 500ms or 2s"),
        ("stall:for=exp:mean=1s", "like 500ms or 2s"),
        ("429:rate=0.5,index=3", "rate and index cannot be combined"),
        ("500:from=2s,until=1s", "until must be later than from"),
        ("500:until=0s", "write a time above 0"),
        ("slow:factor=nan", "write a factor"),
        ("slow:factor=-1", "write a factor"),
        ("stall:for=0s", "write a time above 0"),
        ("pause:for=2s,period=2s", "for must be shorter than period"),
        ("refuse", "say when it ends"),
        ("refuse:until=2s,rate=0.5", "only from, until and skip can select"),
    ],
)
def test_a_wrong_spec_says_what_to_write(spec: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^'") as caught:
        parse_rule(spec)
    assert says in str(caught.value)


def test_all_problems_of_a_spec_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="share") as caught:
        parse_rule("reset:rate=2,after=x,foo=1")
    for part in ("rate=2", "after=x", "'foo'"):
        assert part in str(caught.value)


def test_a_header_asks_for_its_own_request_alone() -> None:
    assert parse_demand("reset:after=3") == (fault("reset", after=3),)
    assert parse_demand("none") == ()
    assert parse_demand("stall:for=1ms; crlf ;gzip") == (
        fault("stall", **{"for": 1_000_000}),
        fault("crlf"),
        fault("gzip"),
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("reset:rate=0", "applies only to its own request"),
        ("crlf;500:skip=0,from=1s", "applies only to its own request"),
        ("", "no fault is called ''"),
        ("crlf;", "no fault is called ''"),
        ("reset;truncate", "reset and truncate cannot be combined"),
        ("crlf;crlf", "crlf and crlf cannot be combined"),
        ("split;trickle", "cannot be combined"),
        ("slow_accept", "before a request is read"),
    ],
)
def test_a_header_that_asks_for_what_cannot_be_says_so(spec: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_demand(spec)


def rules(*specs: str) -> tuple[Rule, ...]:
    return tuple(map(parse_rule, specs))


S = 1_000_000_000


@pytest.mark.parametrize(
    ("specs", "arrived", "met"),
    [
        ((), ArrivalFacts(0), None),
        (("500",), ArrivalFacts(), "500"),
        (("500:index=5",), ArrivalFacts(5), "500"),
        (("500:index=5",), ArrivalFacts(4), None),
        (("500:index=0",), ArrivalFacts(), None),
        (("500:every=10",), ArrivalFacts(9), "500"),
        (("500:every=10",), ArrivalFacts(10), None),
        (("500:every=1",), ArrivalFacts(), None),
        (("500:rate=0.5",), ArrivalFacts(0), "500"),
        (("500:rate=0.4",), ArrivalFacts(0), None),
        # Time: `from` is included, `until` is not.
        (("500:from=10s,until=20s",), ArrivalFacts(0, 10 * S - 1), None),
        (("500:from=10s,until=20s",), ArrivalFacts(0, 10 * S), "500"),
        (("500:from=10s,until=20s",), ArrivalFacts(0, 20 * S - 1), "500"),
        (("500:from=10s,until=20s",), ArrivalFacts(0, 20 * S), None),
        (("500:from=10s,every=2",), ArrivalFacts(1, 11 * S), "500"),
        (("500:from=10s,every=2",), ArrivalFacts(2, 11 * S), None),
        (("500:until=1s",), ArrivalFacts(), "500"),
        # After this many requests.
        (("500:skip=3",), ArrivalFacts(0, before=2), None),
        (("500:skip=3",), ArrivalFacts(0, before=3), "500"),
        # Several rules.
        (("429:index=5", "500"), ArrivalFacts(5), "429"),
        (("429:index=5", "500"), ArrivalFacts(6), "500"),
        (("429:rate=0", "500:rate=1"), ArrivalFacts(6), "500"),
        (("stall", "malformed", "crlf"), ArrivalFacts(0), "stall+malformed+crlf"),
        (("stall", "stall:index=0", "crlf"), ArrivalFacts(0), "stall+crlf"),
        (("reset", "truncate", "500"), ArrivalFacts(0), "reset"),
        (("stall", "crlf", "503"), ArrivalFacts(0), "503"),
        (("role_early", "role_absent", "usage_twice", "usage_wrong"), ArrivalFacts(0), "role_early+usage_twice"),
        (("split", "coalesce", "gzip"), ArrivalFacts(0), "split+gzip"),
        (("slow_accept", "crlf", "refuse:until=9s"), ArrivalFacts(0), "crlf"),
    ],
)
def test_every_rule_that_hits_adds_its_fault_where_it_can(
    specs: tuple[str, ...], arrived: ArrivalFacts, met: str | None
) -> None:
    assert names(choose(rules(*specs), arrived, lambda ordinal: 0.4)) == met


def test_rules_for_connections_are_asked_for_connections_alone() -> None:
    both = rules("slow_accept:every=2", "crlf")
    assert names(choose(both, ArrivalFacts(1), lambda ordinal: 0.0, connection=True)) == "slow_accept"
    assert choose(both, ArrivalFacts(2), lambda ordinal: 0.0, connection=True) == ()


def test_each_rule_draws_for_itself() -> None:
    asked: list[int] = []

    def drawn(ordinal: int) -> float:
        asked.append(ordinal)
        return 0.5

    choose(
        rules("429:rate=0", "slow_accept:rate=1", "500:rate=0"),
        ArrivalFacts(0),
        drawn,
    )
    assert asked == [0, 2]


@pytest.mark.parametrize(
    ("after", "tokens", "strikes"),
    [(None, 128, 64), (None, 1, 0), (0, 128, 0), (3, 128, 3), (500, 128, 127), (1, 1, 0)],
)
def test_a_fault_strikes_before_the_last_token(after: int | None, tokens: int, strikes: int) -> None:
    assert fault("reset", after=after).strikes_at(tokens) == strikes


@pytest.mark.parametrize(
    ("spec", "at", "ttft", "gaps"),
    [
        ("stall:for=1ms", 0, 1_000_050, (20, 20, 20)),
        ("stall:for=1ms,after=0", 0, 1_000_050, (20, 20, 20)),
        ("stall:for=1ms,after=1", 0, 50, (1_000_020, 20, 20)),
        ("stall:for=1ms,after=3", 0, 50, (20, 20, 1_000_020)),
        ("stall:for=1ms,after=9", 0, 50, (20, 20, 1_000_020)),
        ("slow_accept:for=1ms", 0, 1_000_050, (20, 20, 20)),
        ("slow:factor=3", 0, 150, (60, 60, 60)),
        ("slow:factor=0", 0, 0, (0, 0, 0)),
        ("degrade:factor=3,over=1s", 0, 50, (20, 20, 20)),
        ("degrade:factor=3,over=1s", S // 2, 100, (40, 40, 40)),
        ("degrade:factor=3,over=1s", S, 150, (60, 60, 60)),
        ("degrade:factor=3,over=1s", 9 * S, 150, (60, 60, 60)),
        ("degrade:factor=3,over=1s", -5, 50, (20, 20, 20)),
        # Pauses of 100 ns from 1000, 2000, ... on.
        ("pause:period=1us,for=0.1us", 0, 50, (20, 20, 20)),
        ("pause:period=1us,for=0.1us", 949, 50, (120, 20, 20)),
        ("pause:period=1us,for=0.1us", 950, 150, (20, 20, 20)),
        ("pause:period=1us,for=0.1us", 1000, 150, (20, 20, 20)),
        ("pause:period=1us,for=0.1us", 1030, 120, (20, 20, 20)),
        ("pause:period=1us,for=0.1us", 1100, 50, (20, 20, 20)),
        ("pause:period=1us,for=0.1us", 1950, 150, (20, 20, 20)),
        ("pause:period=1us,for=0.1us", 5_000_950, 150, (20, 20, 20)),
        ("pause:period=1us,for=0.9us", 0, 50, (20, 20, 20)),
        ("pause:period=1us,for=0.9us", 980, 950, (20, 20, 20)),
        ("pause:period=1us,for=0.1us", 900, 50, (20, 20, 120)),
    ],
)
def test_what_is_late_is_late_in_the_plan(spec: str, at: int, ttft: int, gaps: tuple[int, ...]) -> None:
    late = parse_rule(spec).fault
    assert late.kind.delay is not None
    assert late.kind.delay(late, 50, (20, 20, 20), at) == (ttft, gaps)


def test_a_stall_of_a_single_token_is_before_it() -> None:
    late = parse_rule("stall:for=1ms,after=5").fault
    assert late.kind.delay is not None
    assert late.kind.delay(late, 50, (), 0) == (1_000_050, ())


def test_every_fault_has_a_group_and_what_strikes_has_its_strike() -> None:
    for name, kind in FAULTS.items():
        assert name == kind.name
        assert kind.group in GROUPS
        assert (kind.status is not None) is (kind.group == "refuse"), name
        assert (kind.delay is not None) is (kind.group == "latency" or name == "slow_accept"), name
        assert kind.strikes is (name in STRIKES), name


MS = 1_000_000
DEFAULTS = {
    "429": {"retry_after": 1},
    "503": {"retry_after": 1},
    "slow_accept": {"for": 1 * S},
    "stall": {"after": None, "for": 1 * S},
    "slow": {"factor": 2.0},
    "degrade": {"factor": 2.0, "over": 60 * S},
    "pause": {"period": 10 * S, "for": 500 * MS},
    "no_headers": {"for": None},
    "empty": {"after": None, "chunks": 1},
    "usage_wrong": {"by": 1},
    "length": {"more": 16},
    "garble": {"after": None, "tokens": 2},
    "garble_preempted": {"tokens": 2},
    "keepalive": {"period": 100 * MS},
    "split": {"pieces": 2},
    "trickle": {"pieces": 4, "gap": 2 * MS},
    "coalesce": {"chunks": 2},
    "reset": {"after": None}, "truncate": {"after": None}, "cut_frame": {"after": None}, "cut_json": {"after": None},
    "error_in_stream": {"after": None}, "malformed": {"after": None}, "duplicate": {"after": None},
    "reorder": {"after": None}, "u2028": {"after": None}, "split_utf8": {"after": None},
}  # fmt: skip
"""The options of the faults that have any, with the values that they have if a rule gives none."""


def test_a_fault_without_options_has_the_defaults() -> None:
    assert {name: fault(name).options for name, kind in FAULTS.items() if kind.options} == DEFAULTS


def test_a_refusal_is_named_after_its_status() -> None:
    statuses = [400, 401, 403, 404, 413, 429, 500, 502, 503, 504, 529]
    assert [kind.status for kind in FAULTS.values() if kind.group == "refuse"] == statuses
    assert {name for name, kind in FAULTS.items() if kind.status is not None} == {str(status) for status in statuses}


def test_some_options_have_limits_and_their_ends_are_valid() -> None:
    for spec in ("500:rate=0", "500:rate=1", "slow:factor=0", "slow:factor=1000000", "empty:chunks=1", "500:every=1",
                 "empty:chunks=1000000", "stall:for=0.000001ms", "500:from=0", "500:from=0ms", "500:skip=0",
                 "refuse:skip=1", "refuse:until=1s,from=0.5s,skip=2", "slow_accept:rate=0.5"):  # fmt: skip
        assert parse_rule(spec).spec == spec
    assert parse_rule("stall:for=0.000001ms").fault["for"] == 1
    for spec, says in (
        ("slow:factor=1000001", "write a factor, for example 2 or 1.5"),
        ("500:rate=-0.1", "write a share from 0 to 1, for example 0.1"),
        ("500:until=1s,from=1s", "until must be later than from"),
        ("500:rate=0.1,crowd=0.1", "rate and crowd cannot be combined: choose one of them"),
        ("refuse:every=2", "refuse applies to all connections: only from, until and skip can select"),
        ("refuse:crowd=0.1,until=1s", "crowd counts requests in flight, and refuse hits connections"),
        ("slow_accept:crowd=0.1", "crowd counts requests in flight, and slow_accept hits connections"),
        ("reset:after=\u0663", "write a whole number"),  # A digit, but none of ASCII.
        ("zzz", "no fault is called 'zzz'; the faults are 400, 401, 403, 404,"),
    ):
        with pytest.raises(ValueError, match=re.escape(says)):
            parse_rule(spec)


def test_a_rule_of_the_crowd_draws_with_a_share_for_each_other_request() -> None:
    for in_flight, draw, hit in ((0, 0.0, None), (1, 0.19, "500"), (1, 0.21, None), (3, 0.59, "500"), (9, 0.99, "500")):
        facts = ArrivalFacts(0, in_flight=in_flight)
        assert names(choose(rules("500:crowd=0.2"), facts, lambda ordinal, draw=draw: draw)) == hit  # type: ignore[misc]
