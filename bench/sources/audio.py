"""Audio clips: generated clips of exact length, or the files named in the rows of a data set."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.clock import NS_PER_S
from bench.sources.file_rows import read_rows
from bench.sources.in_order import SamplesInOrder
from promptset import audio
from promptset.audio import AudioPlan
from promptset.errors import SpecError
from promptset.samples import Audio, Sample
from promptset.whole_file import read_named

if TYPE_CHECKING:
    from promptset.tokens import Tokenizer

MADE_NOTE = "the audio is noise of exact length: servers that look for speech may answer with no text"
_MOST_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSpec:
    """The clips: from a `plan` (bench.audio), or from the rows of a file, sorted by their times if `by_time`. `rate`:
    the only sample rate that the endpoint accepts."""

    path: Path | None = None
    plan: str = audio.DEFAULT
    rate: int | None = None
    by_time: bool = False

    plans_sharing: ClassVar[bool] = False
    """Requests have no prompts."""

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> AudioSource:
        """Raises SpecError if a file cannot be used."""
        del tokenizer, chat
        if self.path is None:
            return AudioSource(plan=audio.parse(self.plan, self.rate), seed=seed, salt=salt, first=first, step=step)
        rows = _rows(self.path)
        if self.by_time and all(row.at_s is not None for row in rows):
            rows.sort(key=lambda row: row.at_s or 0.0)
        return AudioSource(rows=tuple(rows), seed=seed, salt=salt, first=first, step=step)


@dataclass(frozen=True, slots=True)
class _Clip:
    """A row. Its file is read again for each request: all clips together may be larger than memory."""

    path: Path
    length_ns: int | None
    reference: str | None
    at_s: float | None

    def sample(self) -> Sample:
        clip = Audio(_content(self.path), self.path.name, self.length_ns, self.reference)
        return Sample(audio=clip, at_s=self.at_s)


class AudioSource(SamplesInOrder):
    """The clips by number; rows repeat from the start when they are used up."""

    at_once = 1
    ways: tuple[Sample, ...] = ()
    names_models = False
    in_memory = False
    tokenizer = None

    def __init__(
        self,
        *,
        plan: AudioPlan | None = None,
        rows: tuple[_Clip, ...] = (),
        seed: int,
        salt: str | None,
        first: int,
        step: int,
    ) -> None:
        super().__init__(first, step)
        self._plan, self._rows, self._seed, self._salt = plan, rows, seed, salt

    @property
    def size(self) -> int | None:
        return None if self._plan is not None else len(self._rows)

    @property
    def own_body(self) -> Sample:
        """The first clip, which the probe sends."""
        return self.at(0)

    def at(self, number: int) -> Sample:
        if self._plan is None:
            return self._rows[number % len(self._rows)].sample()
        content, length_ns = self._plan.clip(self._seed, self._salt, number)
        return Sample(audio=Audio(content, "clip.wav", length_ns))

    @property
    def notes(self) -> tuple[str, ...]:
        if self._plan is not None:
            return (MADE_NOTE,)
        unknown = sum(row.length_ns is None for row in self._rows)
        return () if not unknown else (
            f"the length of {unknown} of {len(self._rows)} clips is not known, so they have no RTF: a column "
            "length_s says it of files that are no WAV",
        )  # fmt: skip

    def planned_sharing(self, requests: int) -> None:
        """There are no prompts."""

    def untimed(self) -> str | None:
        """Why the times of requests are unknown; None if they are known."""
        if self._plan is not None:
            return "made audio clips have none"
        place = next((place for place, row in enumerate(self._rows, 1) if row.at_s is None), None)
        return None if place is None else f"row {place} has none"

    def times_s(self) -> Iterator[float]:
        """When each row is sent, in seconds from the first."""
        times = [row.at_s for row in self._rows if row.at_s is not None]
        return iter(array("d", [at - times[0] for at in times]))


def _content(path: Path) -> bytes:
    try:
        return read_named(str(path))
    except OSError as e:
        raise SpecError(f"the audio file {path} cannot be read ({e.strerror})") from e


def _rows(path: Path) -> list[_Clip]:
    """The rows of a file, or the single clip if the file itself is one. Raises SpecError."""
    if audio.wav_length_ns(path.read_bytes() if path.suffix.lower() == ".wav" else b"") is not None:
        return [_Clip(path, audio.wav_length_ns(path.read_bytes()), None, None)]
    return read_rows(path, partial(_row, folder=path.parent))


def _row(value: dict[str, Any], folder: Path) -> _Clip:
    name = value.get("audio")
    if not isinstance(name, str) or not name:
        raise SpecError('audio must name a file, for example {"audio": "clip.wav", "text": "what is said"}')
    text = value.get("text")
    if text is not None and not isinstance(text, str):
        raise SpecError("text, the right transcript, must be a text")
    path = folder / name
    length_s = _number(value, "length_s")
    content_ns = audio.wav_length_ns(_content(path))
    length_ns = content_ns if length_s is None else round(length_s * NS_PER_S)
    return _Clip(path, length_ns, text or None, _number(value, "at_s"))


def _number(row: dict[str, Any], name: str) -> float | None:
    """The number in a column, which is text in CSV. Returns None if the row lacks it. Raises SpecError."""
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < _MOST_S:
        raise SpecError(f"{name} must be a number of seconds, not {value!r}")
    return number
