"""The KV blocks of a prompt and its reply, for an engine with a prefix cache.

The reply is known before it is sent, so its blocks are too. The next turn of a conversation repeats the reply in its
prompt and finds these blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from mockserver.engine.chain import Chain
from promptset.tokens import Tokenizer


class ReplyBlocks:
    """Chains prompts and replies in blocks of `block_tokens`. 0 means no blocks."""

    def __init__(self, tokenizer: Tokenizer, block_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._block_tokens = block_tokens
        self._ids: dict[str, int] = {}

    def links(self, prompt: Chain, pieces: list[str]) -> Sequence[int]:
        """The hashes of the full blocks of a prompt and its reply. Each piece is one token."""
        if self._block_tokens == 0:
            return ()
        return prompt.extended([self._id_of(piece) for piece in pieces], self._block_tokens).links

    def _id_of(self, piece: str) -> int:
        token = self._ids.get(piece)
        if token is None:
            # A piece is one token in any position (promptset.text).
            token = self._ids[piece] = self._tokenizer.encode(piece)[-1]
        return token
