"""A synthetic inference server whose every latency is chosen in advance and written down when it happens.

from mockserver import MockServer

with MockServer(ttft="50ms", fault="429:rate=0.1") as server:
    ...  # send requests to server.url
    server.expect(requests=3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mockserver.api import MockServer

__all__ = ["MockServer"]


def __getattr__(name: str) -> Any:
    # Whoever imports one module of the package must not wait for what a running server needs.
    if name == "MockServer":
        from mockserver.api import MockServer

        return MockServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
