"""`tokenizer.json`: the form of the `tokenizers` library itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers

from promptset.errors import SpecError

_HEAD = 64


def recognizes(content: bytes) -> bool:
    """Whether it is a JSON object; tekken's, which is one too, says `"config"` first."""
    head = content[:_HEAD].lstrip()
    return head.startswith(b"{") and not head[1:].lstrip().startswith(b'"config"')


def convert(content: bytes, config: Mapping[str, Any], choice: str | None) -> tokenizers.Tokenizer:
    """The tokenizer, as it is. Raises SpecError."""
    del config, choice
    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except Exception as e:  # the library raises nothing more precise
        raise SpecError(f"this is not a tokenizer.json: {e}") from e
