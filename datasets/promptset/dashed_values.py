"""Values that begin with a dash (`--duration -5s`), which argparse would take for flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def with_values(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """The words, with each value that begins with a dash joined to its flag: `--duration=-5s`."""
    options = {option: action for action in parser._actions for option in action.option_strings}
    words: list[str] = []
    for word in argv:
        before = options.get(words[-1]) if words else None
        if before is not None and before.nargs is None and word[:1] == "-" and word.partition("=")[0] not in options:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words
