"""Faults: how they are written, which requests they hit, what a stall does to a plan."""

from __future__ import annotations

import pytest

from mockserver.faults import FAULTS, Fault, Rule, choose, parse_demand, parse_rule


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("429", Rule("429", Fault(FAULTS["429"]))),
        (
            "429:rate=0.1,retry_after=2",
            Rule("429:rate=0.1,retry_after=2", Fault(FAULTS["429"], retry_after_s=2), rate=0.1),
        ),
        ("500:index=5", Rule("500:index=5", Fault(FAULTS["500"]), index=5)),
        ("reset:every=10,after=3", Rule("reset:every=10,after=3", Fault(FAULTS["reset"], after=3), every=10)),
        ("reset:after=0", Rule("reset:after=0", Fault(FAULTS["reset"], after=0))),
        ("stall:for=1500us", Rule("stall:for=1500us", Fault(FAULTS["stall"], for_ns=1_500_000))),
        (" truncate : ".replace(" ", ""), Rule("truncate:", Fault(FAULTS["truncate"]))),
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
        ("429:after=3", "429 takes rate, index, every, retry_after, not 'after'"),
        ("reset:after=-1", "write a whole number"),
        ("reset:every=0", "from 1 up"),
        ("reset:soon", "'soon' is not key=value"),
        ("stall:for=2", "like 500ms or 2s"),
        ("stall:for=exp:mean=1s", "like 500ms or 2s"),
        ("429:rate=0.5,index=3", "rate and index cannot be combined"),
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
    assert parse_demand("reset:after=3") == Fault(FAULTS["reset"], after=3)
    with pytest.raises(ValueError, match="speaks for its own"):
        parse_demand("reset:rate=0")


def rules(*specs: str) -> tuple[Rule, ...]:
    return tuple(map(parse_rule, specs))


@pytest.mark.parametrize(
    ("specs", "index", "name"),
    [
        ((), 0, None),
        (("500",), None, "500"),
        (("500:index=5",), 5, "500"),
        (("500:index=5",), 4, None),
        (("500:index=0",), None, None),
        (("500:every=10",), 9, "500"),
        (("500:every=10",), 10, None),
        (("500:every=1",), None, None),
        (("500:rate=0.5",), 0, "500"),
        (("500:rate=0.4",), 0, None),
        (("429:index=5", "500"), 5, "429"),
        (("429:index=5", "500"), 6, "500"),
        (("429:rate=0", "500:rate=1"), 6, "500"),
    ],
)
def test_the_first_rule_that_hits_decides(specs: tuple[str, ...], index: int | None, name: str | None) -> None:
    fault = choose(rules(*specs), index, lambda ordinal: 0.4)
    assert (None if fault is None else fault.kind.name) == name


def test_each_rule_draws_for_itself() -> None:
    asked = []
    choose(rules("429:rate=0", "500:rate=0"), 0, lambda ordinal: asked.append(ordinal) or 0.5)
    assert asked == [0, 1]


@pytest.mark.parametrize(
    ("after", "tokens", "strikes"),
    [(None, 128, 64), (None, 1, 0), (0, 128, 0), (3, 128, 3), (500, 128, 127), (1, 1, 0)],
)
def test_a_fault_strikes_before_the_last_token(after: int | None, tokens: int, strikes: int) -> None:
    assert Fault(FAULTS["reset"], after=after).strikes_at(tokens) == strikes


@pytest.mark.parametrize(
    ("spec", "ttft", "gaps"),
    [
        ("stall:for=1ms", 1_000_050, (20, 20, 20)),
        ("stall:for=1ms,after=0", 1_000_050, (20, 20, 20)),
        ("stall:for=1ms,after=1", 50, (1_000_020, 20, 20)),
        ("stall:for=1ms,after=3", 50, (20, 20, 1_000_020)),
        ("stall:for=1ms,after=9", 50, (20, 20, 1_000_020)),
    ],
)
def test_a_stall_is_in_the_plan(spec: str, ttft: int, gaps: tuple[int, ...]) -> None:
    fault = parse_rule(spec).fault
    assert fault.kind.delay is not None
    assert fault.kind.delay(fault, 50, (20, 20, 20)) == (ttft, gaps)


def test_a_stall_of_a_single_token_is_before_it() -> None:
    fault = parse_rule("stall:for=1ms,after=5").fault
    assert fault.kind.delay is not None
    assert fault.kind.delay(fault, 50, ()) == (1_000_050, ())


def test_every_fault_acts_in_exactly_one_way() -> None:
    for name, kind in FAULTS.items():
        assert name == kind.name
        assert [kind.status, kind.delay, kind.strike].count(None) == 2, name
