"""The ways in which the mock misbehaves on purpose: `FAULTS` has one line each.

A fault refuses a request (`status`), moves its tokens in the plan (`delay`), makes the reply longer (`more`), strikes in
place of the token that would follow `after` tokens (the functions for it are `STRIKES` of shaped/stream.py), or shapes
what is sent (shaped/stream.py and shaped/outgoing.py ask for it by name), or is an affair of connections (gate.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mockserver.faults.latency import Delay, degrade, pause, slow, stall, wait
from mockserver.faults.options import (
    Option,
    Value,
    duration_ns,
    factor,
    positive,
    whole,
)

GROUPS = {
    "refuse": "the request is refused",
    "connection": "before a request is read",
    "latency": "late, in the plan",
    "end": "the reply ends badly",
    "say": "what is said",
    "bytes": "the bytes on the wire",
}
"""The families of faults, for people."""

_AFTER = Option("after", whole, None, "strike after so many tokens")
_RETRY_AFTER = Option("retry_after", whole, 1, "seconds in the Retry-After header")


def _for(default: int | None, doc: str) -> Option:
    return Option("for", duration_ns, default, doc)


MS, S = 1_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to misbehave."""

    name: str
    group: str
    doc: str
    options: tuple[Option, ...] = ()
    conflict: str | None = None
    """Of faults with the same word a request meets the first only."""
    status: int | None = None
    """The request is refused with this HTTP status."""
    delay: Delay | None = None
    """The fault is in the plan's TTFT and gaps."""
    strikes: bool = False
    """It strikes in place of one token."""
    streams_only: bool = True
    """It means nothing for a reply that comes whole."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as one request meets it; `fault["after"]` is an option's value."""

    kind: Kind
    options: Mapping[str, Value] = field(default_factory=dict, hash=False)

    def __getitem__(self, option: str) -> Value:
        return self.options[option]

    @property
    def name(self) -> str:
        return self.kind.name

    def number(self, option: str) -> int:
        """The value of an option that always has one."""
        value = self.options[option]
        assert value is not None
        return int(value)

    def strikes_at(self, tokens: int) -> int:
        """How many of `tokens` are sent before it strikes: fewer than all, so that a planned fault happens."""
        after = self.options["after"]
        return min(tokens // 2 if after is None else int(after), tokens - 1)


def _refusal(status: int, doc: str, *options: Option) -> Kind:
    return Kind(str(status), "refuse", doc, options, "end", status=status, streams_only=False)


def _end(name: str, doc: str, *options: Option, strikes: bool = True, streams_only: bool = False) -> Kind:
    return Kind(name, "end", doc, options, "end", strikes=strikes, streams_only=streams_only)


def _late(name: str, doc: str, delay: Delay, *options: Option) -> Kind:
    return Kind(name, "latency", doc, options, delay=delay, streams_only=False)


def _say(name: str, doc: str, *options: Option, conflict: str | None = None, whole: bool = False) -> Kind:
    return Kind(name, "say", doc, options, conflict, strikes=_AFTER in options, streams_only=not whole)


def _bytes(name: str, doc: str, *options: Option, packets: bool = False, whole: bool = False) -> Kind:
    conflict = "packets" if packets else None
    return Kind(name, "bytes", doc, options, conflict, strikes=_AFTER in options, streams_only=not whole)


_KINDS = (
    _refusal(400, "bad request"),
    _refusal(401, "not authorised"),
    _refusal(404, "no such model"),
    _refusal(429, "too many requests, with Retry-After", _RETRY_AFTER),
    _refusal(500, "internal error"),
    _refusal(502, "bad gateway: a proxy's HTML"),
    _refusal(503, "not available, with Retry-After", _RETRY_AFTER),
    _refusal(504, "gateway timeout: a proxy's HTML"),
    Kind("refuse", "connection", "connections are refused: needs from=, until=", streams_only=False),
    Kind(
        "slow_accept",
        "connection",
        "a new connection is not read for a while",
        (_for(1 * S, "how long"),),
        delay=wait,
        streams_only=False,
    ),
    _late("stall", "nothing is sent for a while", stall, _AFTER, _for(1 * S, "how long")),
    _late("slow", "TTFT and gaps times a factor", slow, Option("factor", factor, 2.0, "how much longer")),
    _late(
        "degrade",
        "slower and slower since the start, up to a factor",
        degrade,
        Option("factor", factor, 2.0, "how much longer in the end"),
        Option("over", duration_ns, 60 * S, "when the factor is reached"),
    ),
    _late(
        "pause",
        "everything stands still, again and again",
        pause,
        Option("period", duration_ns, 10 * S, "from one pause to the next"),
        _for(500 * MS, "how long each"),
    ),
    _end("no_headers", "no byte is sent; for=: then closed", _for(None, "close then"), strikes=False),
    _end("reset", "the connection is reset (TCP RST)", _AFTER),
    _end("truncate", "the connection is closed between two chunks", _AFTER),
    _end("cut_frame", "the connection is closed within a chunk", _AFTER),
    _end("error_in_stream", "an error object inside the 200 stream", _AFTER),
    _end("no_done", "a good end without [DONE]", strikes=False, streams_only=True),
    _say("malformed", "broken JSON in place of one token", _AFTER, whole=True),
    _say("role_early", "the role chunk comes with the head", conflict="role"),
    _say("role_with_token", "the role rides on the first token", conflict="role"),
    _say("role_absent", "no role chunk", conflict="role"),
    _say("empty", "empty deltas", _AFTER, Option("chunks", positive, 1, "how many")),
    _say("duplicate", "one chunk comes twice", _AFTER),
    _say("reorder", "two chunks change places", _AFTER),
    _say("u2028", "a raw U+2028 in the text", _AFTER, whole=True),
    _say("usage_missing", "no usage, though asked for", conflict="usage", whole=True),
    _say(
        "usage_wrong", "usage that counts too many", Option("by", positive, 1, "tokens"), conflict="usage", whole=True
    ),
    _say("usage_twice", "the usage chunk comes twice", conflict="usage"),
    _say("length", "longer than max_tokens", Option("more", positive, 16, "tokens"), whole=True),
    _bytes("crlf", "lines end in CR LF"),
    _bytes("comments", "a comment before each chunk"),
    _bytes("keepalive", "comments while nothing else is sent", Option("period", duration_ns, 100 * MS, "how often")),
    _bytes("gzip", "compressed, though not asked for", whole=True),
    _bytes("split", "each chunk in several writes", Option("pieces", positive, 2, "writes a chunk"), packets=True),
    _bytes("split_utf8", "one chunk cut inside a character", _AFTER, packets=True),
    _bytes(
        "trickle",
        "each chunk in several writes, slowly",
        Option("pieces", positive, 4, "writes a chunk"),
        Option("gap", duration_ns, 2 * MS, "between two of them"),
        packets=True,
    ),
    _bytes("coalesce", "several chunks in one write", Option("chunks", positive, 2, "how many"), packets=True),
)

FAULTS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}
OF_CONNECTIONS = frozenset(kind.name for kind in _KINDS if kind.group == "connection")
"""Faults that hit connections: before there is a request, so that none can ask for them."""

SCALED = frozenset({"slow", "degrade", "pause"})
"""Faults that stretch what a plan holds: without drawn latencies they do nothing."""


def fault(name: str, **options: Value) -> Fault:
    """A fault with the default of every option that is not given."""
    kind = FAULTS[name]
    values = {option.name: option.default for option in kind.options}
    return Fault(kind, values | options)


def names(faults: tuple[Fault, ...]) -> str | None:
    """How the ledger names them: joined by `+`; None where there are none."""
    return "+".join(fault.name for fault in faults) if faults else None
