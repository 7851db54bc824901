"""Audio clips: WAV files of exact length (`length=5s,rate=16000`), and the length of a user's WAV files.

A generated clip is quiet noise, 16-bit mono PCM. No two are alike, so a server's cache cannot hit. Its length depends
only on the seed and the number, its noise on the salt too.
"""

from __future__ import annotations

import io
import re
import struct
import wave
from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_256
from pathlib import Path

from promptset.clock import NS_PER_S
from promptset.distributions import Distribution
from promptset.distributions import parse as parse_distribution
from promptset.errors import SpecError
from promptset.loaders.containers import open_container
from promptset.rng import stream

LEAST_RATE, MOST_RATE = 4_000, 192_000
MOST_S = 3_600
_KEYS = ("length", "rate")
DEFAULT_RATE = 16_000
DEFAULT = "length=5s"
_SAMPLE_BYTES = 2
_QUIET = bytes((byte % 16 - 8) & 0xFF for byte in range(256))
"""The upper bytes of samples, limited to a sixteenth of full scale."""


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """The length of the clips, and their sample rate."""

    length: Distribution
    rate: int

    def clip(self, seed: int, salt: str | None, number: int) -> tuple[bytes, int]:
        """The WAV file of the request with this number, and its exact length in ns."""
        drawn_ns = self.length.sample(stream(seed, "audio", number))
        samples = max(1, round(drawn_ns * self.rate / NS_PER_S))
        noise = bytearray(shake_256(repr((seed, salt, "audio", number)).encode()).digest(samples * _SAMPLE_BYTES))
        noise[1::2] = noise[1::2].translate(_QUIET)
        return wav_file(bytes(noise), self.rate), round(samples * NS_PER_S / self.rate)


def wav_file(samples: bytes, rate: int) -> bytes:
    """A WAV file of 16-bit mono samples."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(_SAMPLE_BYTES)
        file.setframerate(rate)
        file.writeframes(samples)
    return out.getvalue()


def wav_length_ns(content: bytes) -> int | None:
    """The length in ns of a WAV file of PCM samples, from the samples actually present. Returns None for other formats."""
    source = io.BytesIO(content)
    try:
        with wave.open(source) as file:
            frame, rate, frames = file.getsampwidth() * file.getnchannels(), file.getframerate(), file.getnframes()
            there = (len(content) - source.tell()) // frame  # The file is positioned at its first sample.
    except (wave.Error, EOFError, ZeroDivisionError, struct.error):
        return None
    # The header of a truncated recording states more samples than it has.
    return round(min(frames, there) * NS_PER_S / rate) if rate > 0 else None


def samples_of(content: bytes, rate: int, name: str) -> bytes:
    """The 16-bit mono samples of a WAV file with this rate. Raises SpecError for any other file."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            if (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (rate, _SAMPLE_BYTES, 1):
                return bytes(file.readframes(file.getnframes()))
    except (wave.Error, EOFError, struct.error):
        pass
    raise SpecError(f"the clip {name} must be a WAV file of {rate:,} samples a second, 16-bit and mono")


@lru_cache(maxsize=8)
def names_clips(dataset: str) -> bool:
    """Whether a data set file names audio clips in its rows, or is a clip itself."""
    path = Path(dataset)
    if path.suffix.lower() == ".wav":
        return path.is_file()
    try:
        first = next(iter(open_container(path).entries()), None)
    except SpecError:
        return False  # The error is reported when the file is opened.
    return first is not None and isinstance(first.value, dict) and isinstance(first.value.get("audio"), str)


def parse(text: str, only_rate: int | None = None) -> AudioPlan:
    """Parse an audio spec. `only_rate` is the only accepted sample rate; None accepts any. Raises SpecError with a
    sentence for each problem."""
    # Distributions contain commas too: only our own keys begin a new part.
    pieces = re.split(rf"(?:^|,)\s*({'|'.join(_KEYS)})\s*=", text.strip())
    values = {key: value.strip() for key, value in zip(pieces[1::2], pieces[2::2], strict=True)}
    if pieces[0].strip() or len(pieces) != 2 * len(values) + 1 or not values:
        example = f"{DEFAULT},rate={DEFAULT_RATE}"
        raise SpecError(f"audio {text!r}: write some of {', '.join(_KEYS)} once each, for example {example}")
    problems = []
    rate = values.get("rate", str(DEFAULT_RATE if only_rate is None else only_rate))
    if not rate.isdecimal() or not LEAST_RATE <= int(rate) <= MOST_RATE:
        problems.append(f"audio, rate: {rate!r} is not a number of samples a second from {LEAST_RATE} to {MOST_RATE}")
    elif only_rate is not None and int(rate) != only_rate:
        problems.append(f"audio, rate: this endpoint takes clips of {only_rate} samples a second, and not of {rate}")
    length = None
    try:
        length = parse_distribution(values.get("length", "5s"), "time")
        if length.share_below(MOST_S * NS_PER_S + 1) < 1 - 1e-6 or length.share_below(NS_PER_S // 100) > 1e-6:
            problems.append(
                f"audio, length: {values.get('length')!r} draws lengths outside 10ms to {MOST_S}s: limit it with min and max"
            )
    except SpecError as e:
        problems += [f"audio, length: {problem}" for problem in e.problems]
    if problems or length is None:
        raise SpecError(problems)
    return AudioPlan(length, int(rate))
