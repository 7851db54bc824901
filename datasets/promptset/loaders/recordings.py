"""The formats of recorded sessions. A new one is a file with a `FORMAT`, and a line here."""

from __future__ import annotations

from promptset.loaders import otel, tracelab, weka
from promptset.loaders.recorded import RecordingFormat, Row

RECORDINGS: dict[str, RecordingFormat] = {
    "weka": weka.FORMAT,
    "tracelab": tracelab.FORMAT,
    "otel": otel.FORMAT,
}


def format_of(row: Row) -> RecordingFormat | None:
    """The first format that recognizes a row, or None."""
    return next((form for form in RECORDINGS.values() if form.recognizes(row)), None)
