"""RequestRecord <-> one JSON line of requests.jsonl.

A line leaves out fields that have their default values. The order of its fields does not matter.
"""

from __future__ import annotations

import msgspec

from bench.errors import RecordError
from bench.records.request_record import MOST_TOKENS, RequestRecord

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(RequestRecord)

ORDER_WITHIN_NS = 1_000_000
"""The times of a record are in order, up to this tolerance: a timer may fire early, and stamps come from two clocks."""
KINDS = frozenset("rctfaiuo")
"""The letters for kinds of chunks (request_record.py)."""


def to_line(record: RequestRecord) -> bytes:
    """The record as one line of JSON, including the newline."""
    return _ENCODER.encode(record) + b"\n"


def from_line(line: bytes | str) -> RequestRecord:
    """The record in a line. Raises RecordError, which describes the problem."""
    try:
        return _DECODER.decode(line)
    except msgspec.ValidationError as e:
        raise RecordError(_sentence(str(e))) from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise RecordError(f"not JSON: {e}") from e


def _sentence(problem: str) -> str:
    """msgspec's message with the field first: ``end_ns: expected `int`, got `str` ``."""
    message, at, path = problem.partition(" - at `$")
    message = message[0].lower() + message[1:]
    if "unknown field" in message:
        message += " (written by a newer version?)"
    return f"{path.strip('.`')}: {message}" if at else message


def checked(record: RequestRecord) -> RequestRecord:
    """Returns the record. Raises RecordError if its parts contradict each other: times out of their only possible
    order, or fields of chunks with different numbers of entries."""
    moments = (
        ("intended_ns", record.intended_ns), ("eligible_ns", record.eligible_ns), ("sent_ns", record.sent_ns),
        ("resent_ns", record.resent_ns), ("first_byte_ns", record.first_byte_ns), ("end_ns", record.end_ns),
    )  # fmt: skip
    before, latest = moments[0]
    for name, at in moments:
        if at is None:
            continue
        if at < latest - ORDER_WITHIN_NS:
            raise RecordError(f"{name} ({at}) is before {before} ({latest}): no request can have happened so")
        before, latest = name, at
    chunks = record.chunk_ns
    for name, of in (
        ("chunk_kind", record.chunk_kind), ("chunk_bound_ns", record.chunk_bound_ns), ("chunk_tokens", record.chunk_tokens),
        ("chunk_audio_bytes", record.chunk_audio_bytes),
    ):  # fmt: skip
        if of is not None and len(of) != len(chunks):
            raise RecordError(f"{name} has {len(of)} entries, and chunk_ns has {len(chunks)}")
    if not KINDS.issuperset(record.chunk_kind):
        raise RecordError(f"chunk_kind must hold letters of {''.join(sorted(KINDS))}")
    if record.chunk_tokens is not None and sum(record.chunk_tokens) > MOST_TOKENS:
        raise RecordError(f"chunk_tokens: no reply has more than {MOST_TOKENS:,} tokens")
    since = record.last_sent_ns if record.last_sent_ns is not None else record.intended_ns
    if chunks and not (since - ORDER_WITHIN_NS <= chunks[0] and chunks[-1] <= record.end_ns + ORDER_WITHIN_NS):
        raise RecordError(
            f"chunk_ns ({chunks[0]} to {chunks[-1]}) is not between the send ({since}) and end_ns ({record.end_ns})"
        )
    if tuple(sorted(chunks)) != chunks:
        raise RecordError("chunk_ns does not ascend: no stream can have come so")
    return record
