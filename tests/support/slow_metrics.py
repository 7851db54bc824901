"""The metrics of one request, computed in the slow and obvious way: the test oracle for `bench.metrics`.

It uses neither numpy nor `bench.metrics`. request_metrics.py and token_gaps.py there have the definitions; None always
means "did not happen".
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import pairwise
from statistics import median

from bench.records import IMAGE_KIND, NO_FAILURE, TOKEN_KINDS, Outcome, RequestRecord

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

STALL_FACTOR = 5
STALL_FLOOR_NS = 100 * NS_PER_MS


def positions(record: RequestRecord, kinds: Container[str] = TOKEN_KINDS) -> list[int]:
    """Positions of the chunks of these kinds."""
    return [position for position, kind in enumerate(record.chunk_kind) if kind in kinds]


def first_token(record: RequestRecord) -> int | None:
    """Position of the first token chunk."""
    return min(positions(record), default=None)


def last_token(record: RequestRecord) -> int | None:
    """Position of the last token chunk."""
    return max(positions(record), default=None)


def last_answer(record: RequestRecord) -> int | None:
    """Position of the last chunk with text, an image or audio."""
    return max(positions(record, TOKEN_KINDS | {IMAGE_KIND, "a"}), default=None)


def first_image(record: RequestRecord) -> int | None:
    """Position of the first chunk with an image."""
    return min(positions(record, IMAGE_KIND), default=None)


def first_output(record: RequestRecord) -> int | None:
    """Position of the first token chunk that is not reasoning."""
    return min(positions(record, "cf"), default=None)


def token_chunk_ns(record: RequestRecord) -> list[int]:
    """Arrivals of the token chunks, in order."""
    return [record.chunk_ns[position] for position in positions(record)]


def token_chunk_tokens(record: RequestRecord) -> list[int] | None:
    """Tokens of each token chunk, in order; None if unknown."""
    tokens = record.chunk_tokens
    return None if tokens is None else [tokens[position] for position in positions(record)]


def token_chunk_count(record: RequestRecord) -> int:
    """Number of token chunks."""
    return len(positions(record))


def output_tokens(record: RequestRecord) -> int:
    """n: the record's own count, or one token per token chunk."""
    return token_chunk_count(record) if record.output_tokens is None else record.output_tokens


def hidden_tokens(record: RequestRecord) -> int:
    """A stream's output tokens of hidden reasoning, unless its chunks contain them. They came before the first token
    chunk."""
    reasoning = record.reasoning_tokens
    if not reasoning or "t" in record.chunk_kind or record.output_tokens is None or not record.streamed:
        return 0
    visible = record.output_tokens - reasoning
    in_chunks = token_chunk_count(record) if record.chunk_tokens is None else sum(record.chunk_tokens)
    # Some servers do not count reasoning as output.
    return reasoning if visible > 0 and in_chunks <= visible else 0


def _ms_since(start_ns: int | None, end_ns: int) -> float | None:
    return None if start_ns is None else (end_ns - start_ns) / NS_PER_MS


def _first_token_since(record: RequestRecord, start_ns: int | None) -> float | None:
    position = first_token(record)
    if record.outcome is not Outcome.OK or position is None:
        return None
    return _ms_since(start_ns, record.chunk_ns[position])


def _end_since(record: RequestRecord, start_ns: int | None) -> float | None:
    if record.outcome is not Outcome.OK:
        return None
    if not record.streamed:
        return _ms_since(start_ns, record.end_ns)
    position = last_answer(record)
    return None if position is None else _ms_since(start_ns, record.chunk_ns[position])


def ttft_ms(record: RequestRecord) -> float | None:
    """Time to first token, from the moment of sending."""
    return _first_token_since(record, record.sent_ns)


def ttft_from_intended_ms(record: RequestRecord) -> float | None:
    """Time to first token, from when the request was due."""
    return _first_token_since(record, record.intended_ns)


def ttfo_ms(record: RequestRecord) -> float | None:
    """Time to the first token chunk that is not reasoning."""
    position = first_output(record)
    if record.outcome is not Outcome.OK or position is None:
        return None
    return _ms_since(record.sent_ns, record.chunk_ns[position])


def ttfb_ms(record: RequestRecord) -> float | None:
    """Time to first byte of a successful response."""
    if record.outcome is not Outcome.OK or record.first_byte_ns is None:
        return None
    return _ms_since(record.sent_ns, record.first_byte_ns)


def ttfi_ms(record: RequestRecord) -> float | None:
    """Time to the first image of a stream."""
    position = first_image(record)
    if record.outcome is not Outcome.OK or position is None:
        return None
    return _ms_since(record.sent_ns, record.chunk_ns[position])


def e2el_ms(record: RequestRecord) -> float | None:
    """End-to-end latency, from the moment of sending."""
    return _end_since(record, record.sent_ns)


def e2el_from_intended_ms(record: RequestRecord) -> float | None:
    """End-to-end latency, from when the request was due."""
    return _end_since(record, record.intended_ns)


def audio_s(record: RequestRecord) -> float | None:
    """The length of the received audio, or of the sent clip if the endpoint does not speak."""
    if record.outcome is not Outcome.OK:
        return None
    if record.audio_bytes_per_s:
        return record.audio_bytes / record.audio_bytes_per_s or None
    return record.audio_sent_ns / NS_PER_S if record.audio_sent_ns else None


def rtf(record: RequestRecord) -> float | None:
    """Real-time factor: E2EL / length of the audio."""
    latency, length_s = e2el_ms(record), audio_s(record)
    return None if latency is None or length_s is None else latency / (length_s * 1000)


def ttfa_ms(record: RequestRecord) -> float | None:
    """Time to first audio."""
    position = min(positions(record, "a"), default=None)
    if record.outcome is not Outcome.OK or position is None:
        return None
    return _ms_since(record.sent_ns, record.chunk_ns[position])


def playback(record: RequestRecord) -> list[float] | None:
    """The pauses of a player in ns: it plays chunk after chunk, and waits when it has nothing left."""
    places = positions(record, "a")
    if record.outcome is not Outcome.OK or not places or not record.audio_bytes_per_s:
        return None
    assert record.chunk_audio_bytes is not None
    plays_until, pauses = float(record.play_after_ns), []
    for place in places:
        came = record.chunk_ns[place] - record.chunk_ns[places[0]]
        if came - plays_until > 1:
            pauses.append(came - plays_until)
            plays_until = float(came)
        plays_until += record.chunk_audio_bytes[place] * NS_PER_S / record.audio_bytes_per_s
    return pauses


def playback_stall_ms(record: RequestRecord) -> float | None:
    """The total waiting time of the player."""
    pauses = playback(record)
    return None if pauses is None else sum(pauses) / NS_PER_MS


def playback_stalls(record: RequestRecord) -> float | None:
    """How often the player waits."""
    pauses = playback(record)
    return None if pauses is None else float(len(pauses))


def wer(record: RequestRecord) -> float | None:
    """Word errors / words of the reference."""
    if record.outcome is not Outcome.OK or record.reference is None or record.answer is None:
        return None
    reference, said = _words(record.reference), _words(record.answer.content)
    return edits(reference, said) / len(reference) if reference else None


def _words(text: str) -> list[str]:
    """Words without case and punctuation; for Latin letters only."""
    return "".join(letter if letter.isalnum() or letter == "'" else " " for letter in text.lower()).split()


def edits(a: Sequence[str], b: Sequence[str]) -> int:
    """The Levenshtein distance by its table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (x != y)))
    return row[-1]


def tpot_ms(record: RequestRecord) -> float | None:
    """Time per output token after the first chunk; None if there is only one token chunk.

    If the tokens of chunks are unknown, the first chunk counts as its even share, n / chunks.
    """
    if record.outcome is not Outcome.OK:
        return None
    first, last = first_token(record), last_token(record)
    if first is None or last is None or first == last:
        return None
    tokens = tokens_after_first_chunk(record)
    if tokens <= 0:
        return None
    return (record.chunk_ns[last] - record.chunk_ns[first]) / tokens / NS_PER_MS


def tokens_after_first_chunk(record: RequestRecord) -> float:
    """n - k1, for a response with a token chunk."""
    first, n = first_token(record), output_tokens(record) - hidden_tokens(record)
    assert first is not None
    k1 = n / token_chunk_count(record) if record.chunk_tokens is None else record.chunk_tokens[first]
    return n - k1


def tps(record: RequestRecord) -> float | None:
    """Output tokens per second as this request's user saw them: 1 / TPOT.

    If all chunks came in one read, their stamps give only a lower bound of the speed: the least that they allow.
    """
    tpot = tpot_ms(record)
    if tpot is None or tpot > 0:
        return None if tpot is None else 1000 / tpot
    longest_ms = open_ms(record, first_token(record)) / tokens_after_first_chunk(record)
    return 1000 / longest_ms if longest_ms > 0 else None


def chunk_gaps_ns(record: RequestRecord) -> list[int]:
    """Gaps between neighbouring token chunks, one sample per gap."""
    if record.outcome is not Outcome.OK:
        return []
    return [later - earlier for earlier, later in pairwise(token_chunk_ns(record))]


def itl_ns(record: RequestRecord) -> list[float]:
    """Inter-token latencies: each gap shared evenly by the tokens of the chunk that ended it, one sample per token.

    A chunk with text but without a token of its own (half a character, say) passes its time on to the next token. If
    the tokens of chunks are unknown there is one sample per gap; the summary counts such requests.
    """
    gaps = chunk_gaps_ns(record)
    tokens = token_chunk_tokens(record)
    if tokens is None or not gaps:
        return list(map(float, gaps))
    samples: list[float] = []
    waited = 0
    for gap, count in zip(gaps, tokens[1:], strict=True):
        waited += gap
        if count:
            samples += [waited / count] * count
            waited = 0
    return samples


def stalls_ns(gaps: list[int]) -> list[int]:
    """The gaps of a request that are over 5 times its median gap and over 100 ms."""
    if not gaps:
        return []
    limit = max(STALL_FACTOR * median(gaps), STALL_FLOOR_NS)
    return [gap for gap in gaps if gap > limit]


def send_lateness_ms(record: RequestRecord) -> float | None:
    """sent - eligible - connect: the client's own delay, without the wait at a cap and for a connection."""
    if record.sent_ns is None or record.eligible_ns is None:
        return None
    connect_ns = 0 if record.connect_ns is None else record.connect_ns
    return (record.sent_ns - record.eligible_ns - connect_ns) / NS_PER_MS


def time_until_failure_ms(record: RequestRecord) -> float | None:
    """For a failed request: from sending (from being due, if it was never sent) until its end."""
    if record.outcome in NO_FAILURE:
        return None
    began = record.sent_ns
    if began is None:
        began = record.eligible_ns
    if began is None:
        began = record.intended_ns
    return (record.end_ns - began) / NS_PER_MS


def open_ms(record: RequestRecord, position: int | None) -> float:
    """How much earlier than its stamp a chunk can have arrived; 0 if the stamp is exact."""
    if record.chunk_bound_ns is None or position is None:
        return 0.0
    earliest = record.chunk_bound_ns[position]
    return 0.0 if earliest is None else max(0, record.chunk_ns[position] - earliest) / NS_PER_MS


def stamp_bound_widths_ns(record: RequestRecord) -> list[int]:
    """Widths of the bounds of token chunks whose stamp is a bound."""
    if record.chunk_bound_ns is None:
        return []
    rows = zip(record.chunk_ns, record.chunk_bound_ns, record.chunk_kind, strict=True)
    return [latest - earliest for latest, earliest, kind in rows if earliest is not None and kind in TOKEN_KINDS]
