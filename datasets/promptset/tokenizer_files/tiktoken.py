"""tiktoken files: a token in base64 and its rank, one a line. Qwen, Kimi, Llama 3 and OpenAI's encodings come so.

The pattern that splits text before tokens are made, and the special tokens, are not in the file but in code beside it.
The encodings in use differ in the number of their tokens, by which they are told; `FILE#NAME` names one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tokenizers

from promptset.errors import SpecError
from promptset.tokenizer_files import byte_level
from promptset.tokenizer_files.backend import Backend

_LINE = re.compile(rb"[A-Za-z0-9+/]+=* \d+\r?\n")
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LOWER, _UPPER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_WORD_START = r"[^\r\n\p{L}\p{N}]?"


@dataclass(frozen=True, slots=True)
class Encoding:
    """What code says of an encoding."""

    tokens: tuple[int, ...]
    """How many tokens its files hold."""
    pattern: str
    special: tuple[str, ...]
    """The first special tokens; their ids follow those of the file."""
    nfc: bool = False
    bos: str | None = None
    """What the tokenizer puts before a text."""


_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

ENCODINGS: dict[str, Encoding] = {
    "gpt2": Encoding(
        (50256, 50280),
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        ("<|endoftext|>",),
    ),
    "cl100k": Encoding(
        (100256,),
        rf"{_CONTRACTIONS}|{_WORD_START}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}",
        ("<|endoftext|>",),
    ),
    "llama3": Encoding(
        (128000,),
        rf"{_CONTRACTIONS}|{_WORD_START}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}",
        # The rows of the release: two reserved, two that fine-tuning uses, then those of the chat.
        ("<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{i}|>" for i in range(4)),
         "<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"),
        bos="<|begin_of_text|>",
    ),
    "o200k": Encoding(
        (199998,),
        rf"{_WORD_START}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_WORD_START}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
        rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_REST}",
        ("<|endoftext|>",),
    ),
    "qwen": Encoding(
        (151643,),
        rf"{_CONTRACTIONS}|{_WORD_START}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}",
        _CHATML,
        nfc=True,
    ),
    "qwen3.5": Encoding(
        (248044,),
        rf"{_CONTRACTIONS}|{_WORD_START}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_REST}",
        _CHATML,
        nfc=True,
    ),
}  # fmt: skip


def recognizes(content: bytes) -> bool:
    """Whether the first line is a token in base64 and a number."""
    return _LINE.match(content) is not None


def convert(content: bytes, config: Mapping[str, Any], choice: str | None) -> Backend:
    """The tokenizer of the file. `added_tokens_decoder` of the configuration, where there is one, gives the special
    tokens. Raises SpecError."""
    ranks = _ranks(content.splitlines())
    encoding = _encoding(len(ranks), choice)
    added = config.get("added_tokens_decoder")
    if isinstance(added, dict):
        special = {str(token["content"]): int(number) for number, token in added.items()}
    else:
        special = {text: len(ranks) + i for i, text in enumerate(encoding.special)}
    tokenizer = byte_level.build(ranks, encoding.pattern, special, nfc=encoding.nfc)
    if encoding.bos in special:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=f"{encoding.bos} $A", special_tokens=[(encoding.bos, special[encoding.bos])]
        )
    # Which of its special tokens ends a text differs from model to model: only the configuration says.
    return Backend(
        tokenizer, {} if encoding.bos is None or encoding.bos not in special else {"bos_token": encoding.bos}
    )


def _ranks(lines: Iterable[bytes]) -> dict[bytes, int]:
    ranks = {}
    for number, line in enumerate(lines, 1):
        if line:
            token, _, rank = line.partition(b" ")
            try:
                ranks[base64.b64decode(token, validate=True)] = int(rank)
            except (binascii.Error, ValueError) as e:
                raise SpecError(f"line {number} is not a token in base64 and its rank: {line[:40]!r}") from e
    return ranks


def _encoding(tokens: int, choice: str | None) -> Encoding:
    if choice is not None:
        if choice not in ENCODINGS:
            raise SpecError(f"#{choice} is no encoding: write one of {', '.join(f'#{name}' for name in ENCODINGS)}")
        return ENCODINGS[choice]
    for encoding in ENCODINGS.values():
        if tokens in encoding.tokens:
            return encoding
    names = ", ".join(f"#{name}" for name in ENCODINGS)
    raise SpecError(
        f"its {tokens} tokens are those of no encoding that is known here: say how text is split by writing one of "
        f"{names} behind the file's name, or give a directory with tokenizer.json"
    )
