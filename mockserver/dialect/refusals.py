"""HTTP errors for requests, in vLLM's format."""

from __future__ import annotations

from http import HTTPStatus
from typing import NoReturn

import orjson


class Refusal(Exception):
    """An HTTP error for a request: status, JSON body, headers."""

    def __init__(
        self, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = (), message: str | None = None
    ) -> None:
        """`message` is the sentence in the body, for dialects that write another body. None: the body is a proxy's
        page, which must not be rewritten."""
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.headers = headers
        self.message = message


LOST_RESPONSE = "previous_response_not_found"
"""OpenAI's code for a response that is not stored."""

_ERROR_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "RequestTimeoutError",
    413: "BadRequestError",
    429: "RateLimitError",
    431: "BadRequestError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
    529: "OverloadedError",
}


def error_body(status: int, message: str, param: str | None = None) -> bytes:
    """The error object: {"error": {message, type, param, code}}."""
    return orjson.dumps({"error": {"message": message, "type": _ERROR_TYPES[status], "param": param, "code": status}})


UNAUTHORIZED = b'{"error":"Unauthorized"}'
"""vLLM's body for a missing or wrong API key."""

FAULT_MESSAGES = {
    400: "The mock refuses this request (planned fault).",
    403: "This key may not use the model (planned fault).",
    404: "The model does not exist (planned fault).",
    413: "The request is too large (planned fault).",
    429: "Too many requests (planned fault). Please retry later.",
    500: "Internal server error (planned fault).",
    503: "The service is not available (planned fault). Please retry later.",
    529: "Overloaded (planned fault).",
}


PLANNED_FAILURE = "The engine failed while it made this reply (planned fault)."
_PROXY_PAGE = b"<html><head><title>%b</title></head><body><h1>%b</h1></body></html>\n"


def fault_refusal(status: int, retry_after_s: float | None) -> Refusal:
    """The refusal for a planned fault. 429 and 503 have Retry-After; 502 and 504 are a proxy's HTML page."""
    if status in (502, 504):
        title = f"{status} {HTTPStatus(status).phrase}".encode()
        return Refusal(status, _PROXY_PAGE % (title, title), (("content-type", "text/html"),))
    headers = () if retry_after_s is None else (("retry-after", str(retry_after_s)),)
    if status == 401:
        return Refusal(status, UNAUTHORIZED, headers, "Unauthorized")
    return refusal_of(status, FAULT_MESSAGES[status], headers=headers)


def refusal_of(
    status: int, message: str, param: str | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> Refusal:
    """A refusal with this message."""
    return Refusal(status, error_body(status, message, param), headers, message)


def lost_response(response_id: str, style: str) -> Refusal:
    """The refusal for a response that is not stored, in the format of `vllm` (0.32) or `openai`."""
    if style == "openai":
        message = f"Previous response with id '{response_id}' not found."
        details: dict[str, object] = {"param": "previous_response_id", "code": LOST_RESPONSE}
        status = 400
    else:
        message = f"Response with id '{response_id}' not found."
        details = {"param": "response_id", "code": 404}
        status = 404
    error = {"message": message, "type": "invalid_request_error", **details}
    return Refusal(status, orjson.dumps({"error": error}), message=message)


def refuse(message: str, param: str | None = None, status: int = 400) -> NoReturn:
    """Raise a Refusal with this message."""
    raise refusal_of(status, message, param)
