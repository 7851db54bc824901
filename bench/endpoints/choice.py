"""Which endpoint a run loads: an entry of ENDPOINTS, or one that its settings make."""

from __future__ import annotations

from typing import Protocol

from bench.endpoints import DEFAULT, ENDPOINTS, urls
from bench.endpoints.http import Http, HttpSettings
from bench.endpoints.interface import Endpoint


class Choice(HttpSettings, Protocol):
    """The settings that choose an endpoint."""

    @property
    def url(self) -> str: ...

    @property
    def endpoint(self) -> str | None: ...


def name_of(settings: Choice) -> str:
    """The name of the endpoint: as given, or as the URL names it, or the default."""
    return settings.endpoint or urls.endpoint_of(settings.url) or DEFAULT


def endpoint_of(settings: Choice) -> Endpoint:
    """The endpoint of a run."""
    name = name_of(settings)
    return Http.of(settings) if name == "http" else ENDPOINTS[name]


def own_endpoint(settings: Choice) -> Endpoint | None:
    """The endpoint of a run if its settings make it; None for an entry of ENDPOINTS."""
    endpoint = endpoint_of(settings)
    return None if endpoint in ENDPOINTS.values() else endpoint
