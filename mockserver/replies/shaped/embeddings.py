"""The reply of /v1/embeddings: one token without text, due when the engine has processed the input."""

from __future__ import annotations

import orjson

from mockserver.dialect.openai import COMPLETION, RequestParams
from mockserver.plans.plan import Plan
from mockserver.replies.shaped.content import FinishReason, ShapedContent, ShapedFrames, UsageCounts
from mockserver.tokencount import TokenCount


class EmbeddingFrames(ShapedFrames):
    """The JSON of one reply, around vectors that are already encoded."""

    def __init__(self, data: bytes, reply_id: str, created: int, model: str) -> None:
        super().__init__(COMPLETION, reply_id, created, model, "")
        self._data = data
        self._identity = {"id": reply_id, "object": "list", "created": created, "model": model}

    def whole(self, reasoning: str | None, text: str, end: FinishReason, counts: UsageCounts | None) -> bytes:
        usage = b""
        if counts is not None:
            tokens = counts.input_tokens
            row = {
                "prompt_tokens": tokens,
                "total_tokens": tokens,
                "completion_tokens": 0,
                "prompt_tokens_details": None,
            }
            usage = b',"usage":' + orjson.dumps(row)
        return orjson.dumps(self._identity)[:-1] + b',"data":' + self._data + usage + b"}"


def embedding_content(
    plan: Plan, data: bytes, reply_id: str, created: int, model: str, input_count: TokenCount
) -> ShapedContent:
    """The content of a reply with these encoded vectors."""
    params = RequestParams(stream=False, include_usage=False, continuous_usage=False, asked_tokens=1)
    frames = EmbeddingFrames(data, reply_id, created, model)
    return ShapedContent(params, plan, [""], None, False, False, frames, input_count)
