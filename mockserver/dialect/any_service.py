"""/any and every path below it: a service other than an LLM. It takes any method and any body, and answers with JSON.

Its latencies are those of text: the head and the first bytes come when a first token would, then a piece of the body
with each token. So a client can measure the time to the first byte and the time to the last byte separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Event, FinishReason, Piece, ReplyFrames, ReplyIdentity, SaidChoice, UsageCounts
from mockserver.dialect.params import RequestParams

PATHS = ("/any", "/any/{rest:path}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PARAMS = RequestParams(stream=True, include_usage=False, prompt="")


class _AnyFrames(ReplyFrames):
    """Pieces of one JSON document. Faults that target events or tokens have no effect."""

    has_role = True
    ignores = frozenset({
        "error_in_stream", "malformed", "empty", "duplicate", "reorder", "no_done", "role_early", "role_with_token",
        "role_absent", "usage_missing", "usage_wrong", "usage_twice", "crlf", "cr", "comments", "keepalive",
    })  # fmt: skip

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        del params
        self._identity = identity

    def opening(self, choice: int, usage: UsageCounts | None) -> list[Event]:
        """The beginning of the document, up to its text."""
        return [Event(b'{"ok":true,"id":%b,"text":"' % orjson.dumps(self._identity.id), "o")]

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        return [Event(orjson.dumps(piece.text)[1:-1], "c")]

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        return [Event(b'"}', "o")]

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        return b""


def _parse(row: dict[str, Any]) -> RequestParams:
    del row
    return _PARAMS


def endpoint_of(method: str) -> Endpoint:
    """The endpoint for a method. HEAD gets only a head, at the time when a body would have ended."""
    return _ANY_HEAD if method == "HEAD" else ANY


ANY = Endpoint(
    path="/any",
    id_prefix="any-",
    parse=_parse,
    frames=_AnyFrames,
    is_chat=False,
    media="application/json",
    head_waits=True,
    reads_body=False,
)
_ANY_HEAD = replace(ANY, parse=lambda row: replace(_parse(row), stream=False))
