"""Rerank: a query and documents in, their scores out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from bench.endpoints.inputs import InputsEndpoint, ReplyError, check_indices, entries_of, finite
from bench.endpoints.interface import ReadOptions
from bench.workload import InputBatch
from promptset.samples import Sample


class Rerank(InputsEndpoint):
    """`POST /v1/rerank` in Jina's and Cohere's dialects. For `/rerank` and `/v2/rerank`, give the whole path in
    `--url`."""

    path = "/rerank"
    inputs_are = "documents"
    spoken_by = "a server that ranks documents"
    field = "documents"
    """The field of the body that has the documents."""

    def fields(self, sample: Sample) -> dict[str, Any]:
        if sample.query is not None and sample.texts is not None:
            return {"query": sample.query, self.field: list(sample.texts)}
        # The probe: any text will do.
        return {"query": sample.prompt, self.field: [sample.prompt]}

    def batch(self, body: Mapping[str, Any]) -> InputBatch:
        documents, top = body.get(self.field), body.get("top_n", body.get("top_k"))
        inputs = len(documents) if isinstance(documents, list) else 1
        return InputBatch(inputs=inputs, entries=min(top, inputs) if type(top) is int and top > 0 else inputs)

    def check(self, reply: object, options: ReadOptions) -> int | None:
        asked = options.batch
        name, where = _place(reply)
        entries = entries_of(where, name, None if asked is None else asked.entries)
        check_indices(entries, name, None if asked is None else asked.inputs)
        scores: list[Any] = [entry.get("relevance_score", entry.get("score")) for entry in entries]
        for number, score in enumerate(scores):
            if not finite(score):
                raise ReplyError(f"{name}[{number}] has no numeric score: {repr(score)[:40]}")
        for number, (before, after) in enumerate(pairwise(scores), 1):
            if after > before:
                raise ReplyError(
                    f"{name}[{number}] has the score {after:g}, more than {before:g} before it: not in order"
                )
        return None


class TeiRerank(Rerank):
    """`POST /rerank` of Text Embeddings Inference. It ranks every document, reports no usage and lists no models."""

    path, root = "/rerank", ""
    spoken_by = "Text Embeddings Inference"
    field = "texts"
    lists_models = False


def _place(reply: object) -> tuple[str, Any]:
    """The list of results: in `results`, in `data` (Voyage), or the body itself (TEI)."""
    if isinstance(reply, list):
        return "results", {"results": reply}
    if isinstance(reply, dict) and "results" not in reply and isinstance(reply.get("data"), list):
        return "data", reply
    return "results", reply
