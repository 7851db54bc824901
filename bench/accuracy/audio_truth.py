"""The true metrics of audio: when it arrived, and how long a player would have waited. Shares nothing with bench.metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.clock import NS_PER_MS
from bench.records import RequestRecord

Values = dict[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class AudioTimes:
    """The audio chunks of a reply: their times and bytes, when the request was sent and due, and the parameters of the
    player. Times are in ns on one clock."""

    times: Sequence[int]
    sizes: Sequence[int]
    bytes_per_s: int | None
    sent_ns: int
    due_ns: int
    after_ns: int


def written_audio(line: Mapping[str, Any], record: RequestRecord, sent_ns: int) -> AudioTimes | None:
    """The audio as written by the mock; None if it wrote none."""
    assert record.sent_ns is not None
    rows = [(at, size) for at, size in zip(line["write_ns"], line["audio_out_bytes"], strict=True) if size]
    due_ns = sent_ns - (record.sent_ns - record.intended_ns)
    return _times(rows, line["audio_bytes_per_s"], sent_ns, due_ns, record.play_after_ns)


def stamped_audio(record: RequestRecord, times: Sequence[int]) -> AudioTimes | None:
    """The audio of a record, with a time for each of its chunks; None if it has none."""
    assert record.sent_ns is not None
    rows = [(at, size) for at, size in zip(times, record.chunk_audio_bytes or (), strict=False) if size]
    return _times(rows, record.audio_bytes_per_s, record.sent_ns, record.intended_ns, record.play_after_ns)


def _times(
    rows: Sequence[tuple[int, int]], bytes_per_s: int | None, sent_ns: int, due_ns: int, after_ns: int
) -> AudioTimes | None:
    if not rows:
        return None
    times, sizes = zip(*rows, strict=True)
    return AudioTimes(times, sizes, bytes_per_s, sent_ns, due_ns, after_ns)


def audio_values(audio: AudioTimes, first_ns: int | None = None) -> Values:
    """The metrics of audio. `first_ns`: the arrival of the first chunk for the player, if it is not the chunk's time."""
    last_ns = audio.times[-1]
    values: Values = {
        "ttfa_ms": [(audio.times[0] - audio.sent_ns) / NS_PER_MS],
        "e2el_ms": [(last_ns - audio.sent_ns) / NS_PER_MS],
        "e2el_from_intended_ms": [(last_ns - audio.due_ns) / NS_PER_MS],
    }
    if audio.bytes_per_s:
        length_ns = sum(audio.sizes) * 1e9 / audio.bytes_per_s
        waited_ns, pauses = _played(audio, audio.times[0] if first_ns is None else first_ns)
        values["rtf"] = [(last_ns - audio.sent_ns) / length_ns]
        values["playback_stall_ms"] = [waited_ns / NS_PER_MS]
        values["playback_stalls"] = [pauses]
    return values


def _played(audio: AudioTimes, first_ns: int) -> tuple[float, int]:
    """Play the chunks one after the other. Returns how long, and how often, there was nothing to play."""
    assert audio.bytes_per_s is not None
    empty_at = float(audio.after_ns)
    waited, pauses = 0.0, 0
    for at, size in zip(audio.times, audio.sizes, strict=True):
        came = at - first_ns
        if came - empty_at > 1:
            waited += came - empty_at
            pauses += 1
            empty_at = float(came)
        empty_at += size * 1e9 / audio.bytes_per_s
    return waited, pauses
