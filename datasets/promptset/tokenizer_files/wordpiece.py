"""WordPiece's `vocab.txt`, as used by BERT: one token per line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from promptset.errors import SpecError
from promptset.tokenizer_files.backend import Backend

_UNKNOWN, _BEFORE, _BEHIND = "[UNK]", "[CLS]", "[SEP]"
_NAMES = {
    "unk_token": _UNKNOWN,
    "cls_token": _BEFORE,
    "sep_token": _BEHIND,
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}
_SPECIAL = ("[PAD]", _UNKNOWN, _BEFORE, _BEHIND, "[MASK]")


def recognizes(content: bytes) -> bool:
    """Whether one of the lines begins with the unknown token."""
    return b"\n[UNK]" in content or content.startswith(b"[UNK]")


def convert(content: bytes, config: Mapping[str, Any]) -> Backend:
    """Builds the tokenizer, which adds [CLS] before a text and [SEP] after it.

    Text is lower-cased if `do_lower_case` of the configuration is set; if it is missing, then if no token except the
    special ones has a capital. Raises SpecError.
    """
    try:
        tokens = [line.rstrip("\r") for line in content.decode("utf-8").split("\n")]
    except UnicodeDecodeError as e:
        raise SpecError(f"a vocabulary is text in UTF-8: {e}") from e
    while tokens and not tokens[-1]:
        tokens.pop()
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if missing := [token for token in (_UNKNOWN, _BEFORE, _BEHIND) if token not in vocabulary]:
        raise SpecError(f"the vocabulary lacks {', '.join(missing)}: this is not BERT's kind of WordPiece")
    lowercase = config.get("do_lower_case")
    if lowercase is None:
        lowercase = not any(token != token.lower() for token in tokens if not token.startswith("["))
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=_UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=bool(lowercase))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([token for token in _SPECIAL if token in vocabulary])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BEFORE} $A {_BEHIND}",
        special_tokens=[(_BEFORE, vocabulary[_BEFORE]), (_BEHIND, vocabulary[_BEHIND])],
    )
    return Backend(tokenizer, {name: text for name, text in _NAMES.items() if text in vocabulary})
