"""`bench dataset`: makes prompts of exact length, like `python -m promptset`."""

from __future__ import annotations

from collections.abc import Sequence

from promptset.cli import main as promptset_main


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    return promptset_main(list(argv), prog="python -m bench dataset")
