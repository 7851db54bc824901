"""Reads the body of a request up to a limit."""

from __future__ import annotations

import io

from starlette.requests import Request

from mockserver.dialect.refusals import Refusal, refusal_of

MAX_BODY_FLAG = "--max-body-mb"
_MOST_DIGITS = 18


async def read_body(request: Request, max_mb: float, flag: str = "") -> bytes:
    """Raises Refusal (413) if the body is larger, at once if Content-Length says so. The connection is then closed.
    `flag` is the flag that sets the limit."""
    most = int(max_mb * 1_000_000)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > _MOST_DIGITS or int(announced) > most):
        raise _too_large(max_mb, flag)
    body = io.BytesIO()  # One buffer: a list of small parts could take many times the size of the body.
    async for part in request.stream():
        body.write(part)
        if body.tell() > most:
            raise _too_large(max_mb, flag)
    return body.getvalue()


def _too_large(max_mb: float, flag: str) -> Refusal:
    message = f"The request body is larger than {max_mb:g} MB{flag and f' ({flag})'}."
    return refusal_of(413, message, headers=(("connection", "close"),))
