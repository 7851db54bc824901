"""The file formats of tokenizers. Each is converted to a `Backend`, without any library besides `tokenizers`.

The content of a file decides its format, not its name: `tokenizer.model` is SentencePiece for some models and tiktoken for
others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptset.errors import SpecError
from promptset.tokenizer_files import sentencepiece, tekken, tiktoken, tokenizer_json, wordpiece

if TYPE_CHECKING:
    from promptset.tokenizer_files.backend import Backend


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One file format."""

    names: tuple[str, ...]
    """Patterns for the names of its files in a model's directory, the usual one first."""
    recognizes: Callable[[bytes], bool]
    """Whether a file's content has this format."""
    convert: Callable[[bytes, Mapping[str, Any], str | None], Backend]
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
"""In search order: if a directory has several, servers read the first."""


def convert(content: bytes, config: Mapping[str, Any], where: str, choice: str | None = None) -> Backend:
    """The tokenizer in a file. Error messages call it `where`. Raises SpecError."""
    for known in FORMATS.values():
        if known.recognizes(content):
            try:
                return known.convert(content, config, choice)
            except SpecError as e:
                raise SpecError([f"{where}: {problem}" for problem in e.problems]) from e
    raise SpecError(f"{where} is not a tokenizer's file: known are {', '.join(FORMATS)}")
