"""Sessions of any HTTP service: the rows of a file with the same `session`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.sources.http import notes_of
from bench.sources.sessions import SessionData, SessionSource
from promptset.errors import SpecError
from promptset.loaders.http_requests import read_http_rows
from promptset.samples import Sample
from promptset.sessions import Session, Turn

if TYPE_CHECKING:
    from promptset.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSessionSpec:
    """Sessions of any HTTP service: the rows of a file with the same `session`, in order. They repeat when they are
    used up."""

    path: Path
    rows: str = "auto"

    plans_sharing: ClassVar[bool] = False
    """Requests have no prompts."""

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> SessionSource:
        """Raises SpecError if the file cannot be used."""
        del tokenizer, seed, salt, chat
        rows = read_http_rows(self.path, self.rows)
        groups: dict[str, list[Sample]] = {}
        for number, sample in enumerate(rows.samples, 1):
            if sample.session is None:
                raise SpecError(
                    f"{self.path}: --mode sessions needs the session of each request, and that of row {number} is missing: "
                    '{"method": "GET", "url": "http://host/path", "session": "a", "think_time_s": 2}'
                )
            groups.setdefault(sample.session, []).append(sample)
        sessions = [
            Session(
                id=name,
                turns=tuple(map(_turn, samples)),
                requests=tuple(samples),
            )
            for name, samples in groups.items()
        ]
        data = SessionData(
            session_at=lambda index: sessions[index % len(sessions)],
            size=len(sessions),
            names_models=True,
            notes=notes_of(rows, self.rows),
            own_body=rows.samples[0],
        )
        return SessionSource(data, first, step)


def _turn(sample: Sample) -> Turn:
    request = sample.http
    assert request is not None
    return Turn(content=f"{request.method} {request.path}", think_time_s=request.think_time_s)
