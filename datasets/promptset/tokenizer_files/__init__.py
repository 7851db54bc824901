"""The file formats of tokenizers that are read here with only the `tokenizers` library.

The content of a file determines its format. Formats that need another library are read by transformers
(`promptset.hub`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptset.errors import SpecError
from promptset.tokenizer_files import tokenizer_json, wordpiece

if TYPE_CHECKING:
    from promptset.tokenizer_files.backend import Backend


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One file format."""

    name: str
    """Its usual file name."""
    recognizes: Callable[[bytes], bool]
    """Whether a file's content has this format."""
    convert: Callable[[bytes, Mapping[str, Any]], Backend]
    """Builds the tokenizer from the file's content and the content of tokenizer_config.json. Raises SpecError."""


FORMATS = (
    FileFormat("tokenizer.json", tokenizer_json.recognizes, tokenizer_json.convert),
    FileFormat("vocab.txt", wordpiece.recognizes, wordpiece.convert),
)


def convert(content: bytes, config: Mapping[str, Any], where: str) -> Backend:
    """Builds the tokenizer from a file's content. `where` names the file in error messages. Raises SpecError."""
    for known in FORMATS:
        if known.recognizes(content):
            try:
                return known.convert(content, config)
            except SpecError as e:
                raise SpecError([f"{where}: {problem}" for problem in e.problems]) from e
    raise SpecError(
        f"{where} is neither a tokenizer.json nor a WordPiece vocabulary: give a model's directory with tokenizer.json; "
        "SentencePiece, tiktoken and tekken files are read from their directory by transformers "
        "(pip install transformers sentencepiece tiktoken protobuf)"
    )
