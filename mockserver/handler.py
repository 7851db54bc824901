"""The front of a process's requests: each kind of request to what serves it."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.pooling import PoolingEndpoint
from mockserver.generation import Generation
from mockserver.intake import Intake
from mockserver.plain.requests import PlainRequests
from mockserver.pooling import Pooling


class RequestHandler:
    """Handles the requests of one process."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._generation = Generation(intake)
        self._pooling = Pooling(intake)
        self.plain = PlainRequests(intake, self._generation)

    async def generate(self, request: Request, endpoint: Endpoint, handled_ns: int) -> Response:
        """Handle a request for text."""
        serve = partial(self._generation.serve, endpoint)
        return await self._intake.handle(request, handled_ns, serve, endpoint.refused)

    async def pool(self, request: Request, endpoint: PoolingEndpoint, handled_ns: int) -> Response:
        """Handle a request for embeddings or scores."""
        return await self._intake.handle(request, handled_ns, partial(self._pooling.serve, endpoint))
