"""Which endpoint a run loads: an entry of ENDPOINTS, an API defined by a file, another package's endpoint, or any
service."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from bench.endpoints import DEFAULT, ENDPOINTS, urls
from bench.endpoints.custom import CustomEndpoint
from bench.endpoints.definition import is_file, read_definition, shipped
from bench.endpoints.interface import Endpoint
from bench.endpoints.settings import EndpointSettings

GROUP = "trueload.endpoints"
"""The entry point group in which other packages provide endpoints."""


def name_of(settings: EndpointSettings) -> str:
    """The name of the endpoint: from the settings, else from the URL, else the default."""
    return settings.endpoint or urls.endpoint_of(settings.url) or DEFAULT


def endpoint_of(settings: EndpointSettings) -> Endpoint:
    """The endpoint of a run."""
    content = content_of(settings)
    if content is None:
        return named(name_of(settings)).of(settings)
    return CustomEndpoint(content, stream=settings.stream)


def content_of(settings: EndpointSettings) -> Mapping[str, Any] | None:
    """The definition of a run's API, if a file defines it. Raises ValueError if the file cannot be read."""
    if settings.endpoint in ENDPOINTS:
        return None
    if settings.api is not None or settings.endpoint is None:
        return settings.api
    if is_file(settings.endpoint):
        return read_definition(Path(settings.endpoint))
    path = shipped().get(settings.endpoint)
    return None if path is None else read_definition(path)


def named(name: str) -> Endpoint:
    """An entry of ENDPOINTS, or the endpoint of an installed package. Raises ValueError for an unknown name."""
    if name in ENDPOINTS:
        return ENDPOINTS[name]
    if name in installed():
        return loaded(name)
    raise ValueError(f"{name!r} is not one of {', '.join(names())}, and not a file of a custom API (my-api.yaml)")


def key_variable(url: str, endpoint: object) -> str:
    """The environment variable of the API key, for a given endpoint (validated or not) or the one that the URL names."""
    if isinstance(endpoint, str) and endpoint not in ENDPOINTS:
        try:
            if is_file(endpoint) or endpoint in shipped():
                path = Path(endpoint) if is_file(endpoint) else shipped()[endpoint]
                return CustomEndpoint(read_definition(path), stream=True).key_variable
            return named(endpoint).key_variable
        except ValueError:
            pass  # The error is reported elsewhere.
    return urls.key_variable(url, endpoint)


def names() -> list[str]:
    """Every name that `--endpoint` takes."""
    return [*ENDPOINTS, *shipped(), *installed()]


@lru_cache(maxsize=1)
def installed() -> dict[str, EntryPoint]:
    """The endpoints of installed packages (entry points `trueload.endpoints`), by name."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in ENDPOINTS}


@lru_cache(maxsize=16)
def loaded(name: str) -> Endpoint:
    """A package's endpoint of this name. Raises ValueError if it cannot be loaded, or is not an endpoint."""
    point = installed()[name]
    try:
        implementation = point.load()
        endpoint = implementation() if isinstance(implementation, type) else implementation
    except Exception as e:
        raise ValueError(f"the endpoint {name} of the package {_package(point)} cannot be loaded: {e}") from e
    if not isinstance(endpoint, Endpoint):
        raise ValueError(f"{point.value} of the package {_package(point)} is not a bench.endpoints.interface.Endpoint")
    return endpoint


def _package(point: EntryPoint) -> str:
    return "?" if point.dist is None else point.dist.name


def own_endpoint(settings: EndpointSettings) -> Endpoint | None:
    """The endpoint made from the settings of a run. Returns None if the run uses an entry of ENDPOINTS."""
    endpoint = endpoint_of(settings)
    return None if endpoint in ENDPOINTS.values() else endpoint
