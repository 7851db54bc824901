"""YAML that a user wrote, with nothing but the documented errors, whatever is in it."""

from __future__ import annotations

from pathlib import Path

import yaml

from promptset.whole_file import read_text


def load_yaml(path: Path) -> object:
    """The content of a file. Raises OSError, yaml.YAMLError, ValueError and RecursionError."""
    return parse_yaml(read_text(path))


def parse_yaml(text: str) -> object:
    """The content of a text. Raises yaml.YAMLError, ValueError and RecursionError."""
    try:
        return yaml.safe_load(text)
    except OverflowError:
        raise ValueError("an escape (\\U) stands for a character that does not exist") from None
