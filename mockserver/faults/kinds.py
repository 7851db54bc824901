"""The planned faults. `FAULTS` has one line for each.

A fault refuses a request (`status`), delays its tokens in the plan (`delay`), lengthens the reply (`more`), replaces
the token after `after` tokens (`STRIKES` in replies/stream.py), changes what is sent (replies/stream.py and
replies/outgoing.py check its name), makes the answer wrong (answers.py), or hits connections
(http/connection_faults.py).
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
    "state": "what the mock remembers",
    "latency": "late tokens, in the plan",
    "end": "the reply ends badly",
    "say": "the content",
    "answer": "the answer is wrong",
    "bytes": "the bytes on the wire",
}
"""The groups of faults, with their titles."""

_AFTER = Option("after", whole, None, "strike after this many tokens")
_GARBLED = Option("tokens", positive, 2, "how many")
_RETRY_AFTER = Option("retry_after", whole, 1, "seconds in the Retry-After header")


def _for(default: int | None, doc: str) -> Option:
    return Option("for", duration_ns, default, doc)


MS, S = 1_000_000, 1_000_000_000
LOST = "lost_response"
"""The fault that only affects a request with a `previous_response_id`."""


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault."""

    name: str
    group: str
    doc: str
    options: tuple[Option, ...] = ()
    conflict: str | None = None
    """Among faults with the same word, only the first hits a request."""
    status: int | None = None
    """The HTTP status with which the request is refused."""
    delay: Delay | None = None
    """Changes the plan's TTFT and gaps."""
    strikes: bool = False
    """Whether the fault replaces one token."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that hits a request. `fault["after"]` is the value of an option."""

    kind: FaultKind
    options: Mapping[str, Value] = field(default_factory=dict, hash=False)

    def __getitem__(self, option: str) -> Value:
        return self.options[option]

    @property
    def name(self) -> str:
        return self.kind.name

    def number(self, option: str) -> int:
        """The value of an option that is never None."""
        value = self.options[option]
        assert value is not None
        return int(value)

    def strikes_at(self, tokens: int) -> int:
        """How many of `tokens` are sent before the fault strikes. Always fewer than all, so a planned fault happens."""
        after = self.options["after"]
        return min(tokens // 2 if after is None else int(after), tokens - 1)


def _refusal(status: int, doc: str, *options: Option) -> FaultKind:
    return FaultKind(str(status), "refuse", doc, options, "end", status=status)


def _end(name: str, doc: str, *options: Option, strikes: bool = True) -> FaultKind:
    return FaultKind(name, "end", doc, options, "end", strikes=strikes)


def _late(name: str, doc: str, delay: Delay, *options: Option) -> FaultKind:
    return FaultKind(name, "latency", doc, options, delay=delay)


def _say(name: str, doc: str, *options: Option, conflict: str | None = None) -> FaultKind:
    return FaultKind(name, "say", doc, options, conflict, strikes=_AFTER in options)


def _answer(name: str, doc: str, *options: Option, conflict: str | None = None) -> FaultKind:
    return FaultKind(name, "answer", doc, options, conflict)


def _bytes(name: str, doc: str, *options: Option, conflict: str | None = None) -> FaultKind:
    return FaultKind(name, "bytes", doc, options, conflict, strikes=_AFTER in options)


_KINDS = (
    _refusal(400, "bad request"),
    _refusal(401, "not authorised"),
    _refusal(403, "not permitted"),
    _refusal(404, "no such model"),
    _refusal(413, "too large"),
    _refusal(429, "too many requests, with Retry-After", _RETRY_AFTER),
    _refusal(500, "internal error"),
    _refusal(502, "bad gateway: a proxy's HTML"),
    _refusal(503, "not available, with Retry-After", _RETRY_AFTER),
    _refusal(504, "gateway timeout: a proxy's HTML"),
    _refusal(529, "overloaded, as Anthropic says it"),
    FaultKind(LOST, "state", "forget the response that the request continues: it is not found"),
    FaultKind("refuse", "connection", "refuse connections; needs until=, or skip= for the end of a server"),
    FaultKind(
        "slow_accept",
        "connection",
        "delay the first read of a connection",
        (_for(1 * S, "how long"),),
        delay=wait,
    ),
    _late("stall", "send nothing for a while", stall, _AFTER, _for(1 * S, "how long")),
    _late("slow", "multiply TTFT and gaps by a factor", slow, Option("factor", factor, 2.0, "how much longer")),
    _late(
        "degrade",
        "get slower over time, up to a factor",
        degrade,
        Option("factor", factor, 2.0, "how much longer in the end"),
        Option("over", duration_ns, 60 * S, "when the factor is reached"),
    ),
    _late(
        "pause",
        "stop everything for a while, again and again",
        pause,
        Option("period", duration_ns, 10 * S, "from one pause to the next"),
        _for(500 * MS, "how long each"),
    ),
    _end("no_headers", "send no byte; with for=, close the connection then", _for(None, "close then"), strikes=False),
    _end("reset", "reset the connection (TCP RST)", _AFTER),
    _end("truncate", "close the connection between two chunks", _AFTER),
    _end("cut_frame", "close the connection inside a chunk", _AFTER),
    _end("error_in_stream", "send an error object inside the 200 stream", _AFTER),
    _end("no_done", "end properly but without [DONE]", strikes=False),
    _say("malformed", "send broken JSON in place of one token", _AFTER),
    _say("role_early", "send the role chunk with the head", conflict="role"),
    _say("role_with_token", "put the role on the first token", conflict="role"),
    _say("role_absent", "send no role chunk", conflict="role"),
    _say("empty", "send empty deltas", _AFTER, Option("chunks", positive, 1, "how many")),
    _say("duplicate", "send one chunk twice", _AFTER),
    _say("reorder", "swap two chunks", _AFTER),
    _say("u2028", "put a raw U+2028 in the text", _AFTER),
    _say("usage_missing", "send no usage, even if requested", conflict="usage"),
    _say("usage_wrong", "count too many output tokens in usage", Option("by", positive, 1, "tokens"), conflict="usage"),
    _say("usage_twice", "send the usage chunk twice", conflict="usage"),
    _say("length", "make the reply longer than max_tokens", Option("more", positive, 16, "tokens")),
    _answer(
        "cross_talk",
        "while others are in flight, say the code word of another probe, or a word of theirs",
        conflict="answer",
    ),
    _answer("stale_prefix", "give the answer to the probe of the same kind before it", conflict="answer"),
    _answer("wrong_answer", "answer a probe wrongly, in the right form", conflict="answer"),
    _answer("batch_dependent", "change one token; use crowd= to make it depend on the load", conflict="answer"),
    _answer("garble", "replace tokens with U+FFFD", _AFTER, _GARBLED),
    _answer("garble_preempted", "the same after a preemption; needs the engine batching", _GARBLED),
    _answer("cut_json", "end JSON or the arguments of a tool call before they are whole", _AFTER),
    _bytes("crlf", "end lines with CR LF", conflict="lines"),
    _bytes("cr", "end lines with CR alone", conflict="lines"),
    _bytes("comments", "send a comment before each chunk"),
    _bytes(
        "keepalive", "send comments while nothing else is sent", Option("period", duration_ns, 100 * MS, "how often")
    ),
    _bytes("gzip", "compress the body unasked"),
    _bytes(
        "split",
        "split each chunk into several writes",
        Option("pieces", positive, 2, "writes a chunk"),
        conflict="packets",
    ),
    _bytes("split_utf8", "cut one chunk inside a character", _AFTER, conflict="packets"),
    _bytes(
        "trickle",
        "split each chunk into several slow writes",
        Option("pieces", positive, 4, "writes a chunk"),
        Option("gap", duration_ns, 2 * MS, "between two of them"),
        conflict="packets",
    ),
    _bytes(
        "coalesce", "send several chunks in one write", Option("chunks", positive, 2, "how many"), conflict="packets"
    ),
)

FAULTS: dict[str, FaultKind] = {kind.name: kind for kind in _KINDS}
BYTE_FAULTS = frozenset(kind.name for kind in _KINDS if kind.group == "bytes")
"""Faults in the bytes on the wire. The content stays the same."""

CONNECTION_FAULTS = frozenset(kind.name for kind in _KINDS if kind.group == "connection")
"""Faults that hit connections before a request exists. No header can request them."""

SCALING_FAULTS = frozenset({"slow", "degrade", "pause"})
"""Faults that scale drawn latencies."""


def fault(name: str, **options: Value) -> Fault:
    """A fault, with defaults for options that are not given."""
    kind = FAULTS[name]
    values = {option.name: option.default for option in kind.options}
    return Fault(kind, values | options)


def names(faults: tuple[Fault, ...]) -> str | None:
    """The names as in the ledger: joined by `+`, or None if there are none."""
    return "+".join(fault.name for fault in faults) if faults else None
