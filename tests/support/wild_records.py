"""Random records, as any server may produce them: every kind of chunk, outcome and count, in any combination."""

from __future__ import annotations

import random
from typing import Any

from bench.records import Outcome, RequestRecord, StoredAnswer
from tests.support.changed import replace
from tests.support.made_records import MS, START_NS, made_record

HEADS, TAILS = ("", "", "r", "ro", "or"), ("", "o", "uo", "ouo", "u")
TEXTS = ("c", "c", "c", "t", "f", "tc", "ccctf", "rctfuo", "i", "a", "oaa")
GAPS_MS = (0.0, 0.0, 0.4, 10.0, 10.0, 10.3, 150.0, 700.0)
SESSIONS = 5


def wild_records(chance: random.Random, count: int) -> list[RequestRecord]:
    return [wild_record(chance, index) for index in range(count)]


def wild_record(chance: random.Random, index: int) -> RequestRecord:
    """A record whose instants are in order; nothing else in it needs to be consistent."""
    streamed = chance.random() < 0.85
    kinds, text = "", chance.choice(TEXTS)
    if streamed:
        kinds = "".join(chance.choice(text) for _ in range(chance.choice([1, 1, 2, 3, 4, 9, 40])))
        kinds = chance.choice(HEADS) + kinds + chance.choice(TAILS)
    at_ms, chunks_ms = chance.uniform(1, 80), []
    for _ in kinds:
        chunks_ms.append(at_ms)
        at_ms += chance.choice(GAPS_MS) * chance.uniform(0.9, 1.1)
    n = len(kinds)
    tokens: Any = chance.choice([(), (), None, [chance.choice([0, 1, 1, 1, 2, 5]) for _ in kinds]])
    sent_ms = chance.choice([index * 7.0, chance.uniform(0, 900)])
    sent_ns = round(START_NS + sent_ms * MS)
    fields = _numbers(chance, index, n) | (_of_session(index) if chance.random() < 0.3 else {})
    record = made_record(
        index, sent_ms=sent_ms, chunks_ms=chunks_ms, kinds=kinds, tokens=tokens,
        intended_ns=sent_ns - chance.choice([0, 20_000]), eligible_ns=sent_ns - chance.choice([0, 10_000]),
        end_ns=sent_ns + round(at_ms * MS), **fields,
    )  # fmt: skip
    if "a" in kinds:
        sizes = tuple(chance.choice([1, 960, 4_800]) if kind == "a" else 0 for kind in kinds)
        rate, after = chance.choice([None, 0, 48_000, 48_000]), chance.choice([0, 30 * MS])
        record = replace(
            record, chunk_audio_bytes=sizes, audio_bytes=sum(sizes), audio_bytes_per_s=rate, play_after_ns=after
        )
    if chance.random() < 0.4:
        width, often = chance.choice([0, 50_000, 3_000_000, 20_000_000]), chance.choice([0.1, 0.5, 1.0])
        bounds = tuple(ns - chance.randint(0, width) if chance.random() < often else None for ns in record.chunk_ns)
        record = replace(record, chunk_bound_ns=bounds)
    if not streamed:
        record = replace(record, inputs=chance.choice([None, 1, 4]), dimensions=chance.choice([None, 8]))
        if chance.random() < 0.3:
            record = replace(record, sent_ns=None, eligible_ns=chance.choice([None, record.eligible_ns]))
        elif record.attempts > 1:
            record = replace(record, resent_ns=sent_ns + chance.choice([1, 11 * MS]), end_ns=record.end_ns + 11 * MS)
    return record


def _numbers(chance: random.Random, index: int, n: int) -> dict[str, Any]:
    failed = chance.random() < 0.2
    return {
        "phase": chance.choice(["run"] * 9 + ["warmup"]),
        "outcome": chance.choice(list(Outcome)) if failed else Outcome.OK,
        "error": chance.choice([None, "x", "y"]) if failed else None,
        "status": chance.choice([200, 200, 201, None]),
        "connect_ns": chance.choice([None, 0, 0, 300_000]),
        "attempts": chance.choice([1, 1, 1, 2]),
        "coalesced": chance.choice([0, 0, 3]),
        "worker": chance.choice([0, 0, 1]),
        "clock": chance.choice(["kernel", "user", "mixed"]),
        "bytes_sent": 50,
        "bytes_received": chance.choice([0, 7, 1000]),
        "model": chance.choice([None, None, "m", "n"]),
        "traffic_class": chance.choice([None, None, "a", "b"]),
        "input_tokens": chance.choice([None, 0, 100, 104]),
        "input_tokens_asked": chance.choice([None, 0, 100]),
        "cached_tokens": chance.choice([None, None, 0, 4, 64]),
        "cached_tokens_planned": chance.choice([None, None, 0, 50]),
        "output_tokens": chance.choice([None, 1, 5, n, n, n, n + 1, n + 3]),
        "output_tokens_from": chance.choice(["usage", "usage", "usage", "tokenizer", "limit", "chunks", None]),
        "output_tokens_asked": chance.choice([None, n, n + 2, max(0, n - 1)]),
        "output_tokens_counted": chance.choice([None, None, n, n + 1]),
        "output_tokens_doubt": chance.choice([None] * 9 + [f"why {index}"]),
        "usage_contradiction": chance.choice([None, None, None, f"said {index}"]),
        "reasoning_tokens": chance.choice([None, None, 0, 1, 3]),
        "tool_calls": chance.choice([None, 0, 0, 2]),
        "audio_sent_ns": chance.choice([None, None, 0, 40 * MS, 2_500 * MS]),
        "reference": chance.choice([None, None, "", "It's a b, A-B!", "a b c d"]),
        "answer": chance.choice([None, StoredAnswer(content="a"), StoredAnswer(content="its b a c")]),
        "server_queue_ms": chance.choice([None, None, 1.5]),
        "server_prefill_ms": chance.choice([None, None, 20.25]),
        "server_decode_ms": chance.choice([None, 3.0]),
        "draft_steps": chance.choice([None, None, 3]),
        "draft_tokens": chance.choice([None, 5]),
        "accepted_tokens": chance.choice([None, 2]),
        "acceptance": chance.choice([None, (2, 0), (1, 1, 0)]),
    }


def _of_session(index: int) -> dict[str, Any]:
    number, turn = index % SESSIONS, index // SESSIONS
    return {
        "session": f"s{number}",
        "session_number": number,
        "session_turns": 300,
        "turn": turn,
        "job": turn // 2,
        "job_step": turn % 2,
        "job_steps": 2,
        "pause_ns": 10 * MS,
        "pause": "tool" if turn % 2 else "human",
        "worker": number % 2,
    }
