"""Requests of tests. `httpx.get` and its like give up after 5 s, which a busy machine may need."""

from __future__ import annotations

import httpx

from tests.support.patience import PATIENCE_S

web = httpx.Client(timeout=PATIENCE_S, limits=httpx.Limits(max_keepalive_connections=0), trust_env=False)
"""`web.get(url)` is `httpx.get(url)` with more time: a connection of its own, and no proxy. It keeps cookies."""
