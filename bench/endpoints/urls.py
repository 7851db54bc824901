"""The URLs of a server, from whichever the user gave: its root, its /v1, or the whole path of an endpoint."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from bench.endpoints import DEFAULT, ENDPOINTS
from bench.endpoints.interface import Endpoint

_WITHOUT_V1 = re.compile(r"/v\d+((alpha|beta|preview)\d*)?(/|$)|/openai/deployments/[^/]+$")
"""Roots of an API: paths with a version (/v1, /api/v3, /v1beta/openai), and Azure's deployments."""


def endpoint_of(url: str) -> str | None:
    """The name of the endpoint whose path ends the URL. Returns None if there is none, or the URL is invalid."""
    try:
        path = urlsplit(url).path.rstrip("/")
    except ValueError:
        return None
    named = [name for name, endpoint in ENDPOINTS.items() if endpoint.path and path.endswith(_path_of(endpoint))]
    # `/chat/completions` ends with `/completions` too.
    return max(named, key=lambda name: len(ENDPOINTS[name].path), default=None)


def _path_of(endpoint: Endpoint) -> str:
    return endpoint.path.partition("?")[0]


def key_variable(url: str, endpoint: object = None) -> str:
    """The environment variable of the API key, for a given endpoint or the one that the URL names."""
    name = endpoint if isinstance(endpoint, str) and endpoint in ENDPOINTS else endpoint_of(url)
    return ENDPOINTS[DEFAULT if name is None else name].key_variable


def endpoint_url(url: str, endpoint: str) -> str:
    """The full URL of an entry of ENDPOINTS, as `url_of`."""
    return url_of(url, ENDPOINTS[endpoint])


def url_of(url: str, endpoint: Endpoint) -> str:
    """The full URL of the endpoint. `http://h`, `http://h/`, `http://h/v1` and the whole path all mean the same. A root
    with another version (`/api/v3`, `/v1beta/openai`) is used as it is. An endpoint without a root has its whole path
    below the server's root, and for one without a path the URL is used unchanged."""
    if endpoint.root:
        return _api_url(url, endpoint.path)
    parts = urlsplit(url)
    path, _, query = endpoint.path.partition("?")
    root = parts.path if not path else parts.path.rstrip("/").removesuffix(path)
    return urlunsplit(parts._replace(path=root + path, query="&".join(filter(None, (query, parts.query)))))


def models_url(url: str) -> str:
    """Where the server lists its models."""
    return _api_url(url, "/models")


def metrics_url(url: str, path: str = "/metrics") -> str:
    """The URL of the server's metrics: next to the API's root, not below it."""
    root = urlsplit(_api_url(url, ""))
    return urlunsplit(root._replace(path=root.path.removesuffix("/v1") + path))


def _api_url(url: str, tail: str) -> str:
    parts = urlsplit(url)
    root = parts.path.rstrip("/")
    named = endpoint_of(url)
    if named is not None:
        root = root.removesuffix(_path_of(ENDPOINTS[named]))
    elif _WITHOUT_V1.search(root) is None:
        root += "/v1"
    path, _, query = tail.partition("?")
    extra = "" if f"{query.partition('=')[0]}=" in parts.query else query  # The URL's own query takes precedence.
    return urlunsplit(parts._replace(path=root + path, query="&".join(filter(None, (extra, parts.query)))))
