"""Recorded sessions from a file: agentic traces and spans, whose texts are generated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.sources.sessions import SessionData, SessionSource
from promptset.loaders import BadRows
from promptset.sessions.recorded import Pace, RecordedSessions
from promptset.tokens import Tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSpec:
    """A file of recorded sessions, replayed with another salt when they are used up.

    `max_idle_s`: the longest pause; None: the format's. `speed`: a speed-up factor.
    """

    path: Path
    max_idle_s: float | None = None
    speed: float = 1.0
    bad_rows: BadRows = "fail"
    by_start: bool = False
    """In order of their recorded starts."""

    plans_sharing: ClassVar[bool] = False
    """Each request records what it shares with earlier ones; there is no planned share of the run."""

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> SessionSource:
        """Raises SpecError if the file cannot be used."""
        del chat  # Sessions are always chats.
        recorded = RecordedSessions(
            self.path,
            load_tokenizer() if tokenizer is None else tokenizer,
            seed=seed,
            salt=salt,
            pace=Pace(max_idle_s=self.max_idle_s, speed=self.speed, by_start=self.by_start),
            bad_rows=self.bad_rows,
        )
        skipped = recorded.skipped_rows
        note = f"{skipped} rows of the data set are wrong and left out; the first: {''.join(recorded.skipped[:1])}"
        data = SessionData(
            session_at=recorded.session_at,
            size=len(recorded),
            notes=(note,) if skipped else (),
            in_memory=False,
            untimed=recorded.untimed(),
            times_s=recorded.begins_s,
            at_once=recorded.at_once,
            tokenizer=recorded.tokenizer,
        )
        return SessionSource(data, first, step)
