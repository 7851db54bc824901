"""The common result of all file formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tokenizers


@dataclass(frozen=True, slots=True)
class Backend:
    """A tokenizer that counts, and the special tokens of its file by the names that chat templates use (`bos_token`)."""

    tokenizer: tokenizers.Tokenizer
    special_tokens: Mapping[str, str]
