"""Reads the body of a request up to a limit, for the routes that Starlette answers."""

from __future__ import annotations

from starlette.requests import Request

from mockserver.dialect.refusals import Refusal, error_body


async def read_body(request: Request, max_mb: float) -> bytes:
    """Raises Refusal (413) if the body is larger. The connection is then closed."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > max_mb * 1_000_000:
            message = f"The request body is larger than {max_mb:g} MB."
            raise Refusal(413, error_body(413, message), (("connection", "close"),))
    return b"".join(parts)
