"""An HTTP server of a test whose end waits for its threads."""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer


class JoinedServer(ThreadingHTTPServer):
    """For handlers that answer one request per connection."""

    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that waited for its answer may have gone. Its traceback would be in the output of another test."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]
