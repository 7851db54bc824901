"""OpenAI's WebSocket mode of the Responses API: client messages to requests, and replies to messages.

Rules:
- A client sends `{"type": "response.create", ...}` with the fields of a body of `/v1/responses`; `stream` and `background`
  are ignored. Each event of the reply is a text message: the JSON that SSE has after `data:`.
- A refusal is `{"type": "error", "status": STATUS, "error": {code, message, type, param}}`, and the connection stays open.
- A message has no headers. The handshake's headers apply to all its messages, except `x-request-id` and `traceparent`,
  which identify one request. These keys and `x-mock-...` in a message's `metadata` serve as its headers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import orjson

from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import LOST_RESPONSE, Refusal, refuse
from mockserver.dialect.responses import RESPONSES, ResponsesFrames
from mockserver.dialect.responses_request import parse_responses
from mockserver.dialect.socket_talk import Ask, Header, headers_of
from mockserver.faults import BYTE_FAULTS

Row = dict[str, Any]


def parse_message(row: Row, earlier: Sequence[Row] = ()) -> RequestParams:
    """A client message. Raises Refusal (400)."""
    kind = row.get("type")
    if kind != "response.create":
        refuse(f"Unknown message type: {kind}. This server takes response.create.", "type")
    if row.get("generate") is False:
        refuse("generate=false is not supported by this server: it warms nothing up.", "generate")
    return parse_responses({**row, "stream": True, "background": None}, earlier)


def as_message(refusal: Refusal) -> Refusal:
    """A refusal as a message."""
    try:
        error = orjson.loads(refusal.body)["error"]
    except ValueError:
        error = HTTPStatus(refusal.status).phrase  # A proxy's page.
    if isinstance(error, str):
        error = {"message": error, "type": error, "param": None}
    error = {"code": None, **error}
    if error["param"] in ("response_id", "previous_response_id"):
        error["code"] = LOST_RESPONSE
    elif not isinstance(error["code"], str):
        error["code"] = error["type"]
    row: Row = {"type": "error", "status": refusal.status, "error": error}
    headers = {name: value for name, value in refusal.headers if name != "content-type"}
    if headers:
        row["headers"] = headers
    return Refusal(refusal.status, orjson.dumps(row), refusal.headers, refusal.message)


class SocketFrames(ResponsesFrames):
    """The messages of one reply."""

    # A message cannot be split, joined or commented, and a body has no content coding.
    ignores = ResponsesFrames.ignores | BYTE_FAULTS

    def _frame(self, event_type: bytes, data: bytes) -> bytes:
        return data


SOCKET_RESPONSES = replace(
    RESPONSES, parse=parse_message, parse_behind=parse_message, frames=SocketFrames, refused=as_message
)


class ResponsesTalk:
    """A connection on which every message asks for a response."""

    endpoint = SOCKET_RESPONSES

    def __init__(self, handshake: Sequence[Header], query: Mapping[str, str]) -> None:
        del query
        self._handshake = handshake

    def greeting(self) -> Sequence[bytes]:
        return ()

    def take(self, message: bytes) -> Ask:
        """The request of a message. Errors in it are reported when it is parsed."""
        try:
            row = orjson.loads(message)
        except ValueError:
            row = None
        row = row if isinstance(row, dict) else {}
        previous = row.get("previous_response_id")
        headers = headers_of(row.get("metadata"), self._handshake)
        return Ask(message, headers, previous if isinstance(previous, str) else None)

    def on_sent(self, message: bytes) -> None:
        """Keeps nothing."""
