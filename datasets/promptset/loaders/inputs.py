"""Rows of inputs, and the content that an endpoint requires of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptset.loaders.rows import ParsedRow
    from promptset.samples import Sample

_WANTED = {
    "texts": "texts to embed: give texts, input or prompt",
    "documents": "documents to rank: give query and documents",
}


def misfit(parsed: ParsedRow, inputs_are: str | None) -> str | None:
    """Why a row cannot be sent to an endpoint of such inputs (None: an endpoint that generates text). Returns None if
    it can."""
    kind = _kind(parsed)
    if inputs_are is None:
        # A full body is not checked, because `input` is also a field of other endpoints.
        native = parsed.sample is not None and parsed.sample.body is None
        return None if kind in ("text", "chat") or not native else f"{kind} are for --endpoint {_ENDPOINTS[kind]}"
    if kind == inputs_are or (kind == "text" and inputs_are == "texts"):
        return None
    return f"the row has no {_WANTED[inputs_are]}"


_ENDPOINTS = {"texts": "embeddings", "documents": "rerank"}


def texts_of(sample: Sample) -> list[str] | None:
    """The texts of inputs whose tokens can be counted, a query first. None if a sample has no inputs, or token ids."""
    if sample.texts is not None:
        return [*([] if sample.query is None else [sample.query]), *sample.texts]
    body = sample.body
    if body is None:
        return None
    if "documents" in body:
        return [body["query"], *(entry if isinstance(entry, str) else entry["text"] for entry in body["documents"])]
    inputs = body.get("input")
    texts = [inputs] if isinstance(inputs, str) else inputs
    return texts if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts) else None


def _kind(parsed: ParsedRow) -> str:
    """The kind of a row: `texts`, `documents`, `text`, or `chat`."""
    sample = parsed.sample
    if sample is None:
        return "text"
    body = {} if sample.body is None else sample.body
    if sample.query is not None or "documents" in body:
        return "documents"
    if sample.texts is not None or "input" in body:
        return "texts"
    return "text" if sample.prompt is not None else "chat"
