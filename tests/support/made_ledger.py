"""Ledger lines that agree with hand-made records: the server wrote each chunk a moment before the client received it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from itertools import pairwise
from typing import Any

import orjson

from bench.accuracy.ledger import Ledger
from bench.records import RequestRecord

LAG_NS = 2_000
"""From the server's write to the client's stamp."""
WAY_IN_NS = 10_000
"""From the client's send to the server's receipt."""


def made_line(record: RequestRecord, **changes: Any) -> dict[str, Any]:
    """A perfect server's line for this record, with changes by field name."""
    assert record.sent_ns is not None
    written = [at - LAG_NS for at in record.chunk_ns]
    tokens = list(record.chunk_tokens) if record.chunk_tokens is not None else [0] * len(written)
    # The instant of each token. Tokens of a chunk share it. (A shortened record may have more tokens than chunks.)
    texts = zip(written, tokens, record.chunk_kind, strict=False)
    token_writes = [at for at, share, kind in texts if kind in "ctf" for _ in range(max(1, share))]
    received_ns = record.sent_ns + WAY_IN_NS
    line: dict[str, Any] = {
        "id": record.id,
        "index": record.index,
        "attempt": 1,
        "received_ns": received_ns,
        "handled_ns": received_ns + 1_000,
        "planned": {
            "ttft_ns": token_writes[0] - received_ns if token_writes else None,
            "gaps_ns": [b - a for a, b in pairwise(token_writes)],
            "output_tokens": sum(tokens) if written else record.output_tokens,
            "fault": None,
        },
        "write_ns": written,
        "chunk_tokens": tokens,
        "chunk_kind": record.chunk_kind,
        "blocked": [],
        "end_ns": record.end_ns - LAG_NS,
        "input_tokens": record.input_tokens,
        "inputs": record.inputs,
        "status": record.status,
        "fault": None,
        "bytes_in": record.bytes_sent,
        "bytes_out": record.bytes_received,
        "engine": {},
    }
    assert changes.keys() <= line.keys()
    return line | changes


def ledger_of(lines: Iterable[Mapping[str, Any]]) -> Ledger:
    """A ledger with these lines."""
    return Ledger(BytesIO(b"".join(orjson.dumps(line) + b"\n" for line in lines)))
