"""The KV blocks of a request with its reply, for an engine with a prefix cache.

The reply is known before it is given, so that the whole chain is: the next turn of a conversation, which repeats the
reply in its prompt, then finds what this one computed.
"""

from __future__ import annotations

from collections.abc import Sequence

from mockserver.engine.chain import Chain
from promptset.tokens import Tokenizer


class ReplyBlocks:
    """Chains prompts and replies, in blocks of `block_tokens`; where it is 0 there are none."""

    def __init__(self, tokenizer: Tokenizer, block_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._block_tokens = block_tokens
        self._ids: dict[str, int] = {}

    def links(self, prompt: Chain, pieces: list[str]) -> Sequence[int]:
        """The hashes of the full blocks of a prompt and the pieces of its reply, a token each."""
        if self._block_tokens == 0:
            return ()
        return prompt.extended([self._id_of(piece) for piece in pieces], self._block_tokens).links

    def _id_of(self, piece: str) -> int:
        token = self._ids.get(piece)
        if token is None:
            # One token by construction (promptset.text), in any place.
            token = self._ids[piece] = self._tokenizer.encode(piece)[-1]
        return token
