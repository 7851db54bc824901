"""The bytes of replies: events, frames, HTTP framing; each a plain function of bytes, so that a test can corrupt any
part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.support.literal_server import Received, Responder, Send, Step

DONE = "[DONE]"
ROLE: dict[str, Any] = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}


def content(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}}], **more}


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def finish(reason: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason, **more}]}


def usage(output_tokens: int, input_tokens: int = 7) -> dict[str, Any]:
    return {"choices": [], "usage": usage_of(output_tokens, input_tokens)}


def usage_of(output_tokens: int, input_tokens: int = 7) -> dict[str, int]:
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }


def frame(event: dict[str, Any] | str, line_end: bytes = b"\n") -> bytes:
    """One SSE event; a string is sent as it is."""
    data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + data.encode() + line_end * 2


def frames(*events: dict[str, Any] | str, line_end: bytes = b"\n") -> list[bytes]:
    return [frame(event, line_end) for event in events]


GOOD = (ROLE, content("a"), content("b"), content("c"), finish(), usage(3), DONE)
"""A complete stream: one role chunk, three tokens, a finish reason, usage, the end."""
GOOD_KINDS = "rcccouo"


def head(status: str = "200 OK", content_type: str = "text/event-stream", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {content_type}", *more, "", ""]
    return "\r\n".join(lines).encode()


CHUNKED = "transfer-encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of HTTP's chunked framing."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked_stream(bodies: Sequence[bytes]) -> list[Step]:
    """A stream in chunked framing: the head, each piece in a separate write, the last chunk."""
    return [Send(head("200 OK", "text/event-stream", CHUNKED)), *[Send(chunk(b)) for b in bodies], Send(LAST_CHUNK)]


def stream(*events: dict[str, Any] | str) -> list[Step]:
    """A well-behaved server's stream of these events."""
    return chunked_stream(frames(*events))


def whole(status: str, body: bytes | dict[str, Any] | list[Any], *more: str, content_type: str = "") -> list[Step]:
    """A reply in one piece, with its length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = content_type or ("text/plain" if isinstance(body, bytes) else "application/json")
    return [Send(head(status, kind, f"content-length: {len(data)}", *more) + data)]


def error(message: str, kind: str = "server_error", code: int = 500) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def completion(text: str, output_tokens: int) -> dict[str, Any]:
    """A chat completion without streaming."""
    message = {"role": "assistant", "content": text}
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage_of(output_tokens),
    }


def models(*names: str) -> list[Step]:
    return whole("200 OK", {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def api(chat: Responder, *names: str) -> Responder:
    """A server with a list of models and without metrics; `chat` answers every other request."""
    listed = models(*(names if names else ("literal-model",)))

    def script(request: Received) -> Sequence[Step]:
        path = request.path.partition("?")[0]
        if path.endswith("/metrics"):
            return whole("404 Not Found", b"")
        return listed if path == "/v1/models" else chat(request)

    return script
