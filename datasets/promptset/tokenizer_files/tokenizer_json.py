"""`tokenizer.json`: the native format of the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers

from promptset.errors import SpecError
from promptset.tokenizer_files.backend import Backend

_HEAD = 64


def recognizes(content: bytes) -> bool:
    """Whether it is a JSON object. tekken files are JSON too, but begin with `"config"`."""
    head = content[:_HEAD].lstrip()
    return head.startswith(b"{") and not head[1:].lstrip().startswith(b'"config"')


def convert(content: bytes, config: Mapping[str, Any]) -> Backend:
    """Loads the tokenizer unchanged. Raises SpecError."""
    del config
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as e:  # The library raises nothing more precise.
        raise SpecError(f"this is not a tokenizer.json: {e}") from e
    if dropout := getattr(tokenizer.model, "dropout", None):
        raise SpecError(
            f"its model has a dropout of {dropout:g}: by chance, one text has now more tokens and now fewer, so nothing "
            'can be counted. Write "dropout": null in a copy of the file, and see that the server does the same'
        )
    try:
        return Backend(tokenizer, _ends(tokenizer))
    except Exception as e:  # The library raises nothing more precise.
        raise SpecError(
            f'its own library cannot encode "a" with it ({e}), so no server can: mend a copy of the file'
        ) from e


def _ends(tokenizer: tokenizers.Tokenizer) -> dict[str, str]:
    """The special tokens that the post-processor adds before and after a text."""
    encoded = tokenizer.encode("a")
    text = [at for at, special in enumerate(encoded.special_tokens_mask) if not special]
    if not text:
        return {}
    before, after = encoded.tokens[: text[0]], encoded.tokens[text[-1] + 1 :]
    return {**({"bos_token": before[0]} if before else {}), **({"eos_token": after[-1]} if after else {})}
