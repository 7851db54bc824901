"""/v1/rerank and /score: relevance of texts to a query. A score is a number between 0 and 1 that depends only on the
two texts and the seed, so the same request gives the same order. It does not reflect the meaning of the texts.

As with a cross-encoder, the model processes one pair of texts at a time: the query counts again with each document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from mockserver.clock import give_way
from mockserver.dialect.frames import UsageCounts
from mockserver.dialect.pooling import Identity, MakeBody, PoolingEndpoint
from mockserver.dialect.refusals import refuse

MOST_DOCUMENTS = 10_000
_AT_ONCE = 2000
"""Scores to compute before yielding to the streams: a few ms."""
_DOCUMENTS_PER_UNIT = 100
"""Cohere bills a search unit for a query with up to 100 documents."""


def score(seed: int, query: str, document: str) -> float:
    """A number above 0 and below 1."""
    digest = hashlib.blake2b(repr((seed, query, document)).encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2**48


@dataclass(frozen=True, slots=True)
class _Pairs:
    firsts: list[str]
    seconds: list[str]
    entry_name: str

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """Each pair is one input."""
        return list(zip(self.firsts, self.seconds, strict=True))

    async def scores(self, seed: int) -> list[float]:
        """The scores, in the order of the pairs."""
        results = []
        for number, (first, second) in enumerate(self.inputs):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await give_way()
            results.append(score(seed, first, second))
        return results


@dataclass(frozen=True, slots=True)
class ScoreRequest(_Pairs):
    """A body of /score."""

    async def answer(self, seed: int, identity: Identity) -> MakeBody:
        """Scores in the order of the pairs, as in vLLM."""
        reply_id, created, model = identity
        rows = [{"index": i, "object": "score", "score": value} for i, value in enumerate(await self.scores(seed))]
        body = {"id": reply_id, "object": "list", "created": created, "model": model, "data": rows}

        def make(usage: UsageCounts | None) -> bytes:
            counts = {"prompt_tokens_details": None, "completion_tokens": 0}
            return orjson.dumps(body if usage is None else {**body, "usage": {**_tokens(usage), **counts}})

        return make


@dataclass(frozen=True, slots=True)
class RerankRequest(_Pairs):
    """A body of /rerank."""

    top_n: int
    with_documents: bool
    bills: bool
    """Whether the reply has Cohere's `meta`."""
    bare: bool
    """Whether the reply is only the list of results, as in Text Embeddings Inference."""

    async def answer(self, seed: int, identity: Identity) -> MakeBody:
        """The best `top_n` documents, best first."""
        reply_id, _, model = identity
        scores = await self.scores(seed)
        order = sorted(range(len(scores)), key=lambda i: scores[i], reverse=True)[: self.top_n]
        if self.bare:
            texts = [{"text": self.seconds[i]} if self.with_documents else {} for i in order]
            ranks = orjson.dumps(
                [{"index": i, **text, "score": scores[i]} for i, text in zip(order, texts, strict=True)]
            )
            return lambda _: ranks
        results: list[dict[str, Any]] = []
        for i in order:
            document = {"document": {"text": self.seconds[i]}} if self.with_documents else {}
            results.append({"index": i, **document, "relevance_score": scores[i]})
        body: dict[str, Any] = {"id": reply_id, "model": model, "results": results}
        if self.bills:
            units = -(-len(scores) // _DOCUMENTS_PER_UNIT)
            body["meta"] = {"api_version": {"version": "2"}, "billed_units": {"search_units": units}}

        def make(usage: UsageCounts | None) -> bytes:
            return orjson.dumps(body if usage is None else {**body, "usage": _tokens(usage)})

        return make


def _tokens(usage: UsageCounts) -> dict[str, Any]:
    return {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}


def _texts(row: dict[str, Any], name: str) -> list[str]:
    """A text or a list of texts; each may be an object with the text in `text`. Raises Refusal."""
    value = row.get(name)
    entries = value if isinstance(value, list) else [value]
    texts = [entry.get("text") if isinstance(entry, dict) else entry for entry in entries]
    strings = [text for text in texts if isinstance(text, str)]
    if not texts or len(strings) < len(texts):
        must = "must be a text or a list of texts, and not empty; a text may stand in an object as `text`"
        refuse(f"{name} {must}.", name)
    if len(texts) > MOST_DOCUMENTS:
        refuse(f"{name} has {len(texts)} entries; the limit is {MOST_DOCUMENTS}.", name)
    return strings


def parse_rerank(row: dict[str, Any], size: int, *, bills: bool = False) -> RerankRequest:
    """A body of /rerank, /v1/rerank, or with `bills` /v2/rerank. With `texts` instead of `documents` it has the format
    of Text Embeddings Inference. Raises Refusal (400)."""
    query = row.get("query")
    if not isinstance(query, str):
        refuse("query must be a text.", "query")
    bare = "texts" in row and "documents" not in row
    name = "texts" if bare else "documents"
    documents = _texts(row, name)
    top_n = row.get("top_n")
    if top_n is not None and (type(top_n) is not int or top_n < 0):
        refuse("top_n must be a whole number of at least 0; 0 means all documents.", "top_n")
    returned = "return_text" if bare else "return_documents"
    with_documents = row.get(returned, not bare)
    if with_documents is not None and not isinstance(with_documents, bool):
        refuse(f"{returned} must be true or false.", returned)
    return RerankRequest(
        [query] * len(documents),
        documents,
        name,
        top_n if top_n is not None and top_n > 0 else len(documents),
        with_documents is not False,
        bills,
        bare,
    )


_NAMES: Sequence[tuple[str, str]] = (
    ("text_1", "text_2"),
    ("queries", "documents"),
    ("queries", "items"),
    ("data_1", "data_2"),
)
"""vLLM's names for the two sides of a score."""


def parse_score(row: dict[str, Any], size: int) -> ScoreRequest:
    """A body of /score: one text against one or more, or two lists of the same length. Raises Refusal (400)."""
    first, second = next((names for names in _NAMES if names[0] in row and names[1] in row), _NAMES[0])
    firsts, seconds = _texts(row, first), _texts(row, second)
    if len(firsts) == 1:
        firsts = firsts * len(seconds)
    if len(firsts) != len(seconds):
        refuse(f"{first} has {len(firsts)} texts and {second} {len(seconds)}: give one, or as many as there.", first)
    return ScoreRequest(firsts, seconds, second)


RERANK = PoolingEndpoint(paths=("/v1/rerank", "/rerank"), id_prefix="rerank-", parse=parse_rerank)
RERANK_V2 = PoolingEndpoint(paths=("/v2/rerank",), id_prefix="rerank-", parse=partial(parse_rerank, bills=True))
SCORE = PoolingEndpoint(paths=("/score", "/v1/score"), id_prefix="score-", parse=parse_score)
