"""An endpoint that generates text: what differs between dialects, as values and functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from mockserver.config import MockConfig
from mockserver.dialect.access import require_key
from mockserver.dialect.frames import FramesOf
from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import Refusal


def _as_it_is(refusal: Refusal) -> Refusal:
    return refusal


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The differences between the endpoints that generate text."""

    path: str
    id_prefix: str
    parse: Callable[[dict[str, Any]], RequestParams]
    """Raises Refusal (400)."""
    frames: FramesOf
    is_chat: bool
    """Whether the prompt is a conversation; its replies can reason and call tools."""
    require_key: Callable[[Request, MockConfig], None] = require_key
    """Raises Refusal (401) if the request lacks a configured API key."""
    parse_behind: Callable[[dict[str, Any], Sequence[dict[str, Any]]], RequestParams] | None = None
    """Parses a body behind the messages of a stored conversation. None: requests of this endpoint continue none."""
    media: str | None = None
    """The content type of a stream. None: server-sent events."""
    head_waits: bool = False
    """Whether the head of a stream comes with its first bytes, not when the engine accepts the request."""
    reads_body: bool = True
    """Whether a request has a body of JSON. Others may hold anything, and the ledger says when the first byte of their
    response was written, in place of its chunks."""
    decode: Callable[[Request, bytes], dict[str, Any]] | None = None
    """Reads a body that is not JSON as fields. Raises Refusal (400)."""
    refused: Callable[[Refusal], Refusal] = _as_it_is
    """A refusal in the words of this dialect."""
