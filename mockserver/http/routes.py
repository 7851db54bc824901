"""Routes with the behaviour of FastAPI servers: other methods are refused, and every refusal is JSON.

FastAPI itself would take a third of the mock's start-up time, and add nothing that is needed here.
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
    """A path that accepts only this method. Starlette alone would also answer HEAD for every GET."""
    made = Route(path, handler, methods=[method])
    made.methods = {method}
    return made


async def refused_by_router(request: Request, error: Exception) -> Response:
    """Starlette's refusals (no such path, another method) as JSON."""
    assert isinstance(error, HTTPException)
    return Response(orjson.dumps({"detail": error.detail}), error.status_code, error.headers, JSON)


def numbers_of_query(request: Request, **least: int) -> dict[str, int | None]:
    """Whole numbers from the query, by name. The keyword arguments give the minimum of each. None if absent.

    Raises Refusal (422) with every problem.
    """
    numbers: dict[str, int | None] = {}
    wrong: list[dict[str, Any]] = []
    for name, at_least in least.items():
        text = request.query_params.get(name)
        number: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=at_least)])
        try:
            numbers[name] = None if text is None else number.validate_python(text)
        except ValidationError as e:
            wrong += [{**row, "loc": ["query", name]} for row in e.errors(include_url=False)]
    if wrong:
        raise Refusal(422, orjson.dumps({"detail": wrong}))
    return numbers
