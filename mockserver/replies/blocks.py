"""The KV blocks of a prompt and its reply, for an engine with a prefix cache.

The reply is known before it is sent, so its blocks are too. The next turn of a conversation repeats the reply in its
prompt and hits these blocks, as far as it repeats the tokens. Documents and tool calls are generated as text, and a
template writes calls in its own format. The tokens of such a reply are those that the next turn will have in their
place, as with a model that generates its template's format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mockserver.dialect.params import RequestParams
from mockserver.documents.script import Scripted
from mockserver.engine.chain import Chain
from promptset.errors import SpecError
from promptset.media import without_media
from promptset.tokens import Tokenizer


class ReplyBlocks:
    """Chains prompts and replies in blocks of `block_tokens`. 0 means no blocks."""

    def __init__(self, tokenizer: Tokenizer, block_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._block_tokens = block_tokens
        self._ids: dict[str, int] = {}

    def links(self, prompt: Chain, pieces: Sequence[str], ids: Sequence[int] = ()) -> Sequence[int]:
        """The hashes of the full blocks of a prompt and its reply: pieces of one token each, followed by ids."""
        if self._block_tokens == 0:
            return ()
        return prompt.extended([*map(self._id_of, pieces), *ids], self._block_tokens).links

    def ids_of(self, params: RequestParams, scripted: Scripted) -> list[int]:
        """The tokens of documents and calls, as the next turn repeats them. Empty if its template does not repeat the
        text before them."""
        if self._block_tokens == 0:
            return []
        calls = [block for block in scripted.blocks if block.kind == "tool"]
        text = "".join(
            "".join(scripted.texts[block.start : block.stop]) for block in scripted.blocks if block.kind == "text"
        )
        if calls and params.messages is not None:
            messages = without_media(params.messages)
            before = self._tokenizer.render_chat(messages, params.tools)
            message: dict[str, Any] = {"role": "assistant", "content": text, "tool_calls": []}
            for block in calls:
                assert block.call is not None
                arguments = "".join(scripted.texts[block.start : block.stop])
                function = {"name": block.call.name, "arguments": arguments}
                message["tool_calls"].append({"id": block.call.id, "type": "function", "function": function})
            try:
                after = self._tokenizer.render_chat([*messages, message], params.tools, add_generation_prompt=False)
            except SpecError:  # The template does not support calls, so the next turn does not contain them.
                return []
            if not after.startswith(before):
                return []
            text = after.removeprefix(before)
        return self._tokenizer.encode(text) if text else []

    def _id_of(self, piece: str) -> int:
        token = self._ids.get(piece)
        if token is None:
            # A piece is one token in any position (promptset.text).
            token = self._ids[piece] = self._tokenizer.encode(piece)[-1]
        return token
