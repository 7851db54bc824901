"""The metrics of requests with audio, one function each, over all requests of a table. NaN means "did not happen".

RTF   E2EL / length of the audio
WER   word errors / words of the reference
"""

from __future__ import annotations

import numpy as np

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics.request_metrics import Bounds, e2el_ms, last_open_ms
from bench.metrics.word_errors import word_errors, words_of
from bench.records.record_table import Floats, Ints, RecordTable

MS_PER_S = 1_000
_LEAST_PAUSE_NS = 1.0
"""A shorter pause is the rounding error of a length."""


def audio_s(table: RecordTable) -> Floats:
    """The length of the received audio, or of the sent clip if the endpoint does not speak. NaN if unknown, or if a spoken
    reply has no audio (it calls a tool)."""
    has_sent, sent_ns = table.known("audio_sent_ns")
    has_rate, per_s = table.known("audio_bytes_per_s")
    received = table.ints("audio_bytes")
    with np.errstate(divide="ignore", invalid="ignore"):
        speaks = has_rate & (per_s > 0)
        length_s = np.where(speaks, received / per_s, np.where(has_sent, sent_ns, 0) / NS_PER_S)
    values: Floats = np.where(table.ok & (length_s > 0), length_s, np.nan)
    return values


def ttfa_ms(table: RecordTable) -> Floats:
    """Time to first audio, from the time of sending."""
    if not table.has_audio:
        return np.full(len(table), np.nan)
    has_sent, sent_ns = table.known("sent_ns")
    chunks = table.audio_chunks
    rows = table.ok & has_sent & (chunks.counts > 0)
    return np.where(rows, (chunks.first(chunks.ns) - sent_ns) / NS_PER_MS, np.nan)


def ttfa_bounds(table: RecordTable, values: Floats) -> Bounds:
    """From the first audio chunk's earliest possible arrival to the value itself."""
    chunks = table.audio_chunks
    return values - (chunks.first(chunks.ns) - chunks.first(chunks.earliest)) / NS_PER_MS, values


def _stalls(table: RecordTable, first_ns: Ints, at_ns: Ints) -> tuple[Floats, Floats]:
    """How many milliseconds the player of each reply had nothing to play, and in how many pauses.

    Chunk i arrives at t_i and plays for d_i. A player that starts D after the first chunk and never waits needs chunk i
    at t_0 + D + d_0 + ... + d_(i-1). The largest lateness of any chunk is the total waiting time; each chunk that is
    later than all previous chunks is a pause. `first_ns`: t_0 of each row; `at_ns`: t_i of each audio chunk.
    """
    waited_ms, pauses = np.full(len(table), np.nan), np.full(len(table), np.nan)
    if not table.has_audio:
        return waited_ms, pauses
    chunks, (has_rate, per_s) = table.audio_chunks, table.known("audio_bytes_per_s")
    after_ns, sizes = table.ints("play_after_ns"), table.chunk_audio_bytes[chunks.at]
    for row in np.flatnonzero(table.ok & has_rate & (per_s > 0) & (chunks.counts > 0)).tolist():
        span = slice(int(chunks.starts[row]), int(chunks.starts[row] + chunks.counts[row]))
        played_ns = np.cumsum(sizes[span]) * (NS_PER_S / per_s[row])
        needed_ns = after_ns[row] + np.concatenate(([0.0], played_ns[:-1]))
        latest_ns = np.maximum.accumulate(np.maximum(0.0, at_ns[span] - first_ns[row] - needed_ns))
        waited_ms[row] = latest_ns[-1] / NS_PER_MS
        pauses[row] = np.count_nonzero(np.diff(latest_ns) > _LEAST_PAUSE_NS)
    return waited_ms, pauses


def _stamped(table: RecordTable) -> tuple[Floats, Floats]:
    chunks = table.audio_chunks
    return _stalls(table, chunks.first(chunks.ns), chunks.ns)


def playback_stall_ms(table: RecordTable) -> Floats:
    """The total time that a player waits for audio, if it starts `--play-after` after the first audio."""
    return _stamped(table)[0]


def playback_stall_bounds(table: RecordTable, values: Floats) -> Bounds:
    """Least: all chunks but the first arrive as early as possible. Greatest: only the first does."""
    chunks = table.audio_chunks
    least, _ = _stalls(table, chunks.first(chunks.ns), chunks.earliest)
    greatest, _ = _stalls(table, chunks.first(chunks.earliest), chunks.ns)
    return least, greatest


def playback_stalls(table: RecordTable) -> Floats:
    """The number of pauses in which that player waits."""
    return _stamped(table)[1]


def playback_stalls_bounds(table: RecordTable, values: Floats) -> Bounds:
    """From one pause if there certainly is one, to one before each chunk but the first if there may be any. A time that
    is known may still be divided into pauses in several ways."""
    chunks = table.audio_chunks
    least_ms, greatest_ms = playback_stall_bounds(table, playback_stall_ms(table))
    least, greatest = np.minimum(values, least_ms > 0), np.maximum(values, chunks.counts - 1)
    exact = (chunks.sums(chunks.ns - chunks.earliest) == 0) | (greatest_ms == 0)
    return np.where(exact, values, least), np.where(exact, values, greatest)


def rtf(table: RecordTable) -> Floats:
    """Real-time factor: E2EL / length of the audio. Below 1, the server keeps up with the speaker."""
    length_s = audio_s(table)
    return length_s if np.isnan(length_s).all() else e2el_ms(table) / (length_s * MS_PER_S)


def rtf_bounds(table: RecordTable, values: Floats) -> Bounds:
    """(least E2EL) / length of the audio, to the value itself."""
    return values - last_open_ms(table) / (audio_s(table) * MS_PER_S), values


def wer(table: RecordTable) -> Floats:
    """Word error rate of each transcript with a reference; NaN if the reference has no words."""
    values = np.full(len(table), np.nan)
    rows = table.ok & table.has("reference")
    for row in np.flatnonzero(rows).tolist():
        record = table.records[row]
        reference = words_of(record.reference or "")
        if reference and record.answer is not None:
            values[row] = word_errors(reference, words_of(record.answer.content)) / len(reference)
    return values
