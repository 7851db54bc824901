"""live.jsonl as the console reads it, of a task that has ended, and of one that was cut off."""

from __future__ import annotations

from fuzz.console_tasks import list_with
from fuzz.run_files import files
from fuzz.target import Target


def read(data: bytes) -> None:
    """One input."""
    list_with(live__jsonl=data)
    list_with(live__jsonl=data, summary__json=None, report__html=None)


TARGET = Target(
    read,
    form="json",
    words=(b"second", b"output_tokens", b"succeeded", b"state", b"done", b"planned"),
    more_seeds=lambda: [files()["live.jsonl"]],
)
