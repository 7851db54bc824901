"""An endpoint that generates text: the differences between dialects, as values and functions."""

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
    """Whether the prompt is a conversation. If so, replies can reason and call tools."""
    require_key: Callable[[Request, MockConfig], None] = require_key
    """Raises Refusal (401) if the request lacks a configured API key."""
    parse_behind: Callable[[dict[str, Any], Sequence[dict[str, Any]]], RequestParams] | None = None
    """Parses a body that continues the messages of a stored conversation. None: this endpoint has no stored
    conversations."""
    media: str | None = None
    """The content type of a stream. None: server-sent events."""
    head_waits: bool = False
    """Whether a stream's head is sent with its first bytes rather than when the engine accepts the request."""
    reads_body: bool = True
    """Whether a request has a JSON body. Otherwise its body may be anything, and the ledger records the first byte of
    the response instead of chunks."""
    decode: Callable[[Request, bytes], dict[str, Any]] | None = None
    """Parses a body that is not JSON into fields. Raises Refusal (400)."""
    refused: Callable[[Refusal], Refusal] = _as_it_is
    """Rewrites a refusal in the format of this dialect."""
