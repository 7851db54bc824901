"""A synthetic inference server. It plans every latency in advance and records when each token was sent.

from mockserver import MockServer

with MockServer(ttft="50ms", fault="429:rate=0.1") as server:
    ...  # send requests to server.url
    server.expect(requests=3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mockserver.api import MockServer

__all__ = ["MockServer"]


def __getattr__(name: str) -> object:
    # An import of one module must not load everything that a running server needs.
    if name == "MockServer":
        from mockserver.api import MockServer

        return MockServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
