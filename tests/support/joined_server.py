"""An HTTP server of a test whose end waits for its threads."""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer
from typing import Any


class JoinedServer(ThreadingHTTPServer):
    """For handlers that answer one request per connection."""

    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that waited for its answer may have gone. Its traceback would be in the output of another test."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
