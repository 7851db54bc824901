"""Routes as servers made with FastAPI have them: another method is refused, and every refusal is JSON.

FastAPI itself would take a third of the time in which a mock starts, and do nothing for it that is not here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockserver.dialect.refusals import Refusal

JSON = "application/json"
Handler = Callable[[Request], Awaitable[Response]]


def route(method: str, path: str, handler: Handler) -> Route:
    """A path that answers this method and no other; Starlette alone would answer HEAD wherever GET is answered."""
    made = Route(path, handler, methods=[method])
    made.methods = {method}
    return made


async def refused_by_router(request: Request, error: Exception) -> Response:
    """What Starlette refuses (no such path, another method), as JSON."""
    assert isinstance(error, HTTPException)
    return Response(orjson.dumps({"detail": error.detail}), error.status_code, error.headers, JSON)


def numbers_of_query(request: Request, **least: int) -> dict[str, int | None]:
    """Whole numbers of the query, by the names that are given here with the least of each; None where one is absent.

    Raises Refusal (422), which lists all that are wrong.
    """
    found: dict[str, int | None] = {}
    wrong: list[dict[str, Any]] = []
    for name, at_least in least.items():
        text = request.query_params.get(name)
        number: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=at_least)])
        try:
            found[name] = None if text is None else number.validate_python(text)
        except ValidationError as e:
            wrong += [{**row, "loc": ["query", name]} for row in e.errors(include_url=False)]
    if wrong:
        raise Refusal(422, orjson.dumps({"detail": wrong}))
    return found
