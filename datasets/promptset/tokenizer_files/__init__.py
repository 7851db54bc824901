"""The files in which tokenizers come, each turned into the one form that counts: a `tokenizers.Tokenizer`.

A format is told by what a file holds, not by its name: `tokenizer.model` is SentencePiece with one maker and tiktoken
with another. None of them needs a library besides `tokenizers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tokenizers

from promptset.errors import SpecError
from promptset.tokenizer_files import sentencepiece, tekken, tiktoken, tokenizer_json, wordpiece


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How tokenizers of one kind are stored."""

    names: tuple[str, ...]
    """Patterns of the names that its files have in a model's directory, the usual one first."""
    recognizes: Callable[[bytes], bool]
    """Whether a file's content is of this format."""
    convert: Callable[[bytes, Mapping[str, Any], str | None], tokenizers.Tokenizer]
    """The tokenizer of a file's content, of the content of tokenizer_config.json and of what was written behind `#`.
    Raises SpecError."""


FORMATS: dict[str, FileFormat] = {
    "tokenizer.json": FileFormat(("tokenizer.json",), tokenizer_json.recognizes, tokenizer_json.convert),
    "tekken": FileFormat(("tekken.json", "tekken*.json"), tekken.recognizes, tekken.convert),
    "tiktoken": FileFormat(("*.tiktoken", "tokenizer.model"), tiktoken.recognizes, tiktoken.convert),
    "SentencePiece": FileFormat(
        ("tokenizer.model", "spiece.model", "*.model", "*.model.v*"), sentencepiece.recognizes, sentencepiece.convert
    ),
    "WordPiece": FileFormat(("vocab.txt",), wordpiece.recognizes, wordpiece.convert),
}
"""In the order in which a directory is searched: where it holds several, the first is what servers read."""


def convert(content: bytes, config: Mapping[str, Any], where: str, choice: str | None = None) -> tokenizers.Tokenizer:
    """The tokenizer that a file holds; `where` names it in errors. Raises SpecError."""
    for known in FORMATS.values():
        if known.recognizes(content):
            try:
                return known.convert(content, config, choice)
            except SpecError as e:
                raise SpecError([f"{where}: {problem}" for problem in e.problems]) from e
    raise SpecError(f"{where} is not a tokenizer's file: known are {', '.join(FORMATS)}")
