"""The true metrics of each request by the mock's ledger, and the bounds that the client's stamps put on them.

This code deliberately shares nothing with bench.metrics: it follows the definitions alone (docs/metrics.md), since a
shared mistake would cancel out. The truth is what the mock did, not what it planned.

If mock and client share a clock, the true time to first token runs from the client's own `sent` to the mock's first
token write. Otherwise only durations can be compared: it runs from the mock's `received_ns` to that write, and the
error includes the network, both ways. The times of a request that was sent twice count from the first send: the
ledger's line belongs to the second attempt, which was received later by the time between both sends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.accuracy.audio_truth import audio_values, stamped_audio, written_audio
from bench.accuracy.join import CUT_BY_CLIENT, Pair, expected_outcome, text_tokens
from bench.clock import NS_PER_MS, NS_PER_S
from bench.records import Outcome, RequestRecord

TEXT, IMAGE = frozenset("ctf"), "i"
"""Kinds of chunks that carry generated text, and the kind that carries an image."""
ENDS = ("e2el_ms", "e2el_from_intended_ms")
"""Metrics that end with the last text or audio of a reply."""

Values = dict[str, Sequence[float]]
NOTHING: Values = {}


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """The token chunks of one streamed reply: their times (ns), tokens and kinds, and when the request was sent and
    due, all on one clock."""

    times: Sequence[int]
    tokens: Sequence[int]
    kinds: str
    sent_ns: int
    due_ns: int
    n: int
    """Output tokens: those of the token chunks, and those without text (cut off by a stop string)."""
    known: bool
    """Whether a client can know the tokens of each chunk. If not (a chunk came twice), ITL has one sample per gap and
    the first chunk gets an equal share, as defined in docs/metrics.md."""


def was_served(pair: Pair) -> bool:
    """Whether the ledger shows that a request of the run was served in full, and the client did not cut it short."""
    record = pair.record
    if record.phase != "run" or record.sent_ns is None or record.outcome in CUT_BY_CLIENT:
        return False
    return expected_outcome(pair.line, pair.endpoint) is Outcome.OK


def sent_on_ledger_clock_ns(pair: Pair, *, shared_clock: bool) -> int:
    """When the request was sent, on the ledger's clock. Without a shared clock: when the mock received it."""
    record = pair.record
    assert record.sent_ns is not None
    if shared_clock:
        return record.sent_ns
    received: int = pair.line["received_ns"]
    return received if record.resent_ns is None else received - (record.resent_ns - record.sent_ns)


def written_reply(line: Mapping[str, Any], record: RequestRecord, sent_ns: int) -> TokenTimes | None:
    """The reply as written by the mock; None if it had no token chunk."""
    assert record.sent_ns is not None
    rows = [
        row for row in zip(line["write_ns"], line["chunk_tokens"], line["chunk_kind"], strict=True) if row[2] in TEXT
    ]
    if not rows:
        return None
    times, tokens, kinds = zip(*rows, strict=True)
    due_ns = sent_ns - (record.sent_ns - record.intended_ns)
    n = text_tokens(line)
    return TokenTimes(times, tokens, "".join(kinds), sent_ns, due_ns, n, record.chunk_tokens is not None)


def true_values(pair: Pair, *, shared_clock: bool = True) -> Values:
    """Every true value of a request that was served in full, by metric."""
    values = _values_of_reply(pair, shared_clock=shared_clock)
    audio_ns = pair.line.get("audio_in_ns")
    if (received := pair.line.get("audio_out_bytes")) is not None:
        audio_ns = round(sum(received) * NS_PER_S / pair.line["audio_bytes_per_s"])
    return values | real_time(values, audio_ns)


def real_time(values: Values, audio_ns: int | None) -> Values:
    """The real-time factor: the latency of the reply per second of audio."""
    if not audio_ns or "e2el_ms" not in values:
        return {}
    return {"rtf": [value * NS_PER_MS / audio_ns for value in values["e2el_ms"]]}


def _values_of_reply(pair: Pair, *, shared_clock: bool) -> Values:
    record, line = pair.record, pair.line
    sent_ns = sent_on_ledger_clock_ns(pair, shared_clock=shared_clock)
    if "audio_out_bytes" in line and record.chunk_ns:
        audio = written_audio(line, record, sent_ns)
        text = written_reply(line, record, sent_ns)
        return of_both(
            {} if text is None else {**request_values(text), **gap_values(text.times, text.times, text)},
            {} if audio is None else audio_values(audio),
        )
    if not line["write_ns"] or not record.chunk_ns:
        assert record.sent_ns is not None
        first = first_byte(line.get("first_ns"), sent_ns)
        return whole_reply(line["end_ns"], sent_ns, record.sent_ns - record.intended_ns) | first
    if images := [at for at, kind in zip(line["write_ns"], line["chunk_kind"], strict=True) if kind == IMAGE]:
        assert record.sent_ns is not None
        return image_values(images, sent_ns, record.sent_ns - record.intended_ns)
    reply = written_reply(line, record, sent_ns)
    return {} if reply is None else {**request_values(reply), **gap_values(reply.times, reply.times, reply)}


def of_both(text: Values, audio: Values) -> Values:
    """The values of a reply with text and audio, from the values of each."""
    ends = {name: [max(text[name][0], audio[name][0])] for name in ENDS if name in text and name in audio}
    return {**text, **audio, **ends}


def whole_reply(end_ns: int, sent_ns: int, late_ns: int) -> Values:
    """The metrics of a reply that was not streamed, which only has an end. `late_ns`: from its due time until it was sent."""
    e2el_ms = (end_ns - sent_ns) / NS_PER_MS
    return {"e2el_ms": [e2el_ms], "e2el_from_intended_ms": [e2el_ms + late_ns / NS_PER_MS]}


def image_values(times_ns: Sequence[int], sent_ns: int, late_ns: int) -> Values:
    """The metrics of a stream of images, which ends with the last image."""
    return {"ttfi_ms": [(times_ns[0] - sent_ns) / NS_PER_MS], **whole_reply(times_ns[-1], sent_ns, late_ns)}


def first_byte(first_ns: int | None, sent_ns: int) -> Values:
    """The time to the first byte of a response of which nothing else is read; empty if it is not known."""
    return {} if first_ns is None else {"ttfb_ms": [(first_ns - sent_ns) / NS_PER_MS]}


def request_values(reply: TokenTimes) -> Values:
    """The metrics that begin with the request."""
    first, last = reply.times[0], reply.times[-1]
    output = next((at for at, kind in zip(reply.times, reply.kinds, strict=True) if kind != "t"), None)
    values: Values = {
        "ttft_ms": [(first - reply.sent_ns) / NS_PER_MS],
        "e2el_ms": [(last - reply.sent_ns) / NS_PER_MS],
        "ttft_from_intended_ms": [(first - reply.due_ns) / NS_PER_MS],
        "e2el_from_intended_ms": [(last - reply.due_ns) / NS_PER_MS],
    }
    if output is not None:
        values["ttfo_ms"] = [(output - reply.sent_ns) / NS_PER_MS]
    return values


def gap_values(before: Sequence[int], at: Sequence[int], reply: TokenTimes) -> Values:
    """The metrics between token chunks. Each gap runs from a time in `before` to the next time in `at`. For exact times
    both are the same sequence; for the limits that stamps allow they are the ends of the bounds."""
    values: Values = {}
    after_first = reply.n - (reply.tokens[0] if reply.known else reply.n / len(reply.tokens))
    if len(at) < 2:
        return values
    gaps = [max(b - a, 0) / NS_PER_MS for a, b in zip(before, at[1:], strict=False)]
    values["chunk_gap_ms"] = gaps
    values["itl_ms"] = _shared_by_tokens(gaps, reply.tokens[1:]) if reply.known else gaps
    if after_first > 0:
        tpot_ms = max(at[-1] - before[0], 0) / NS_PER_MS / after_first
        values["tpot_ms"] = [tpot_ms]
        if tpot_ms > 0:
            values["tps"] = [1000 / tpot_ms]
    return values


def _shared_by_tokens(gaps: Sequence[float], tokens: Sequence[int]) -> list[float]:
    """ITL: the tokens of a chunk share the gap before it. The gap before text without a token of its own (half a
    character) is added to the next token."""
    shared: list[float] = []
    waited = 0.0
    for gap, n in zip(gaps, tokens, strict=True):
        waited += gap
        if n:
            shared += [waited / n] * n
            waited = 0.0
    return shared


def stamped_values(
    record: RequestRecord, tokens: Sequence[int], n: int, *, of_any: bool = False
) -> tuple[Values, Values, Values]:
    """A record's values by its stamps, and the least and greatest values that the stamps allow.

    The real-time factor uses the client's length of the clip.

    `tokens`: tokens per token chunk, `n`: tokens of the reply, both from the ledger. If every stamp is exact, all three
    results are the same object. `of_any`: only the times of the response are read.
    """
    sides = _stamped_of_reply(record, tokens, n, of_any=of_any)
    if record.chunk_audio_bytes is not None:
        audio = _stamped_of_audio(record)
        exact = sides[0] is sides[1] and audio[0] is audio[1]
        stamped, *ends = (of_both(of_text, of_audio) for of_text, of_audio in zip(sides, audio, strict=True))
        sides = (stamped, stamped, stamped) if exact else (stamped, ends[0], ends[1])
    audio_ns = record.audio_sent_ns
    if record.audio_bytes_per_s:
        audio_ns = round(record.audio_bytes * NS_PER_S / record.audio_bytes_per_s)
    if audio_ns is None:
        return sides
    stamped, least, greatest = (side | real_time(side, audio_ns) for side in sides)
    return (stamped, stamped, stamped) if sides[0] is sides[1] else (stamped, least, greatest)


def _stamped_of_audio(record: RequestRecord) -> tuple[Values, Values, Values]:
    audio = stamped_audio(record, record.chunk_ns)
    if audio is None:
        return NOTHING, NOTHING, NOTHING
    stamped = audio_values(audio)
    if record.chunk_bound_ns is None:
        return stamped, stamped, stamped
    earliest = [
        at if bound is None else bound for at, bound in zip(record.chunk_ns, record.chunk_bound_ns, strict=True)
    ]
    soon = stamped_audio(record, earliest)
    assert soon is not None
    # If the first chunk came early, the player needs the others early.
    least = audio_values(soon, first_ns=audio.times[0])
    greatest = stamped | {"playback_stall_ms": audio_values(audio, first_ns=soon.times[0]).get("playback_stall_ms", ())}
    chunks = len(audio.times) - 1
    if "playback_stalls" in stamped and least["playback_stall_ms"] != greatest["playback_stall_ms"]:
        least["playback_stalls"] = [min(stamped["playback_stalls"][0], float(least["playback_stall_ms"][0] > 0))]
        greatest["playback_stalls"] = [max(stamped["playback_stalls"][0], chunks)]
    return stamped, least, {name: values for name, values in greatest.items() if values}


def _stamped_of_reply(
    record: RequestRecord, tokens: Sequence[int], n: int, *, of_any: bool
) -> tuple[Values, Values, Values]:
    assert record.sent_ns is not None
    if not record.chunk_ns:
        values = whole_reply(record.end_ns, record.sent_ns, record.sent_ns - record.intended_ns)
        values |= first_byte(record.first_byte_ns if of_any else None, record.sent_ns)
        return values, values, values
    if IMAGE in record.chunk_kind:
        return _stamped_images(record, record.sent_ns)
    places = [i for i, kind in enumerate(record.chunk_kind) if kind in TEXT]
    latest = [record.chunk_ns[i] for i in places]
    if not places or len(places) != len(tokens):
        return NOTHING, NOTHING, NOTHING
    kinds = "".join(record.chunk_kind[i] for i in places)
    known = record.chunk_tokens is not None
    reply = TokenTimes(latest, tokens, kinds, record.sent_ns, record.intended_ns, n, known)
    stamped = {**request_values(reply), **gap_values(latest, latest, reply)}
    if record.chunk_bound_ns is None:
        return stamped, stamped, stamped
    bounds = [record.chunk_bound_ns[i] for i in places]
    earliest = [at if bound is None else bound for at, bound in zip(latest, bounds, strict=True)]
    soon = TokenTimes(earliest, tokens, kinds, record.sent_ns, record.intended_ns, n, known)
    least = {**request_values(soon), **gap_values(latest, earliest, reply)}
    greatest = stamped | gap_values(earliest, latest, reply)
    if "tps" in greatest:  # A greater time per token is a lower speed.
        greatest["tps"], least["tps"] = least.get("tps", [math.inf]), greatest["tps"]
        stamped.setdefault("tps", least["tps"])  # All came in one read: the stamps only give a lower limit.
    return stamped, least, greatest


def _stamped_images(record: RequestRecord, sent_ns: int) -> tuple[Values, Values, Values]:
    """The same for a stream of images."""
    places = [i for i, kind in enumerate(record.chunk_kind) if kind == IMAGE]
    latest, late_ns = [record.chunk_ns[i] for i in places], sent_ns - record.intended_ns
    stamped = image_values(latest, sent_ns, late_ns)
    if record.chunk_bound_ns is None:
        return stamped, stamped, stamped
    bounds = [record.chunk_bound_ns[i] for i in places]
    earliest = [at if bound is None else bound for at, bound in zip(latest, bounds, strict=True)]
    return stamped, image_values(earliest, sent_ns, late_ns), stamped
