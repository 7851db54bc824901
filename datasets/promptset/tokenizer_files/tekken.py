"""Mistral's `tekken.json`: byte-level BPE with its pattern; special tokens have the first ids."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson
import tokenizers

from promptset.errors import SpecError
from promptset.tokenizer_files import byte_level
from promptset.tokenizer_files.backend import Backend

# Files before version 7 do not list their special tokens; these are theirs, by id.
_EARLY_SPECIAL = (
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
    "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
)  # fmt: skip
_BOS = "<s>"
_NAMES = {"bos_token": _BOS, "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_HEAD = 64


def recognizes(content: bytes) -> bool:
    """Whether it is a JSON object that begins with tekken's `config`."""
    head = content[:_HEAD].lstrip()
    return head.startswith(b"{") and head[1:].lstrip().startswith(b'"config"')


def convert(content: bytes, config: Mapping[str, Any], choice: str | None) -> Backend:
    """The tokenizer of the file, which puts a BOS before a text, as servers do. Raises SpecError."""
    del config, choice
    try:
        described = orjson.loads(content)
        settings = described["config"]
        offset = int(settings["default_num_special_tokens"])
        kept = int(settings["default_vocab_size"]) - offset
        ranks = {base64.b64decode(row["token_bytes"]): int(row["rank"]) for row in described["vocab"][:kept]}
        listed = described.get("special_tokens") or [
            {"rank": i, "token_str": text} for i, text in enumerate(_EARLY_SPECIAL)
        ]
        special = {str(row["token_str"]): int(row["rank"]) for row in listed}
        tokenizer = byte_level.build(ranks, str(settings["pattern"]), special, offset=offset)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as e:
        raise SpecError(f"this is not a tekken.json: {type(e).__name__}: {e}") from e
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{_BOS} $A", special_tokens=[(_BOS, special[_BOS])]
    )
    return Backend(tokenizer, {name: text for name, text in _NAMES.items() if text in special})
