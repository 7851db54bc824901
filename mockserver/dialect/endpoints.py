"""The endpoints that generate text. Each is one line here, and a class of frames in its dialect's file."""

from __future__ import annotations

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.openai import CHAT, COMPLETION

ENDPOINTS: dict[str, Endpoint] = {endpoint.path: endpoint for endpoint in (CHAT, COMPLETION)}
"""By path."""
