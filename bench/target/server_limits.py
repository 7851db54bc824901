"""The engine limits that the server itself states: requested once, before the load.

The list of models names the engine (`owned_by`). llama.cpp states its slots at /props, SGLang its arguments at
/server_info (/get_server_info until 2025), and vLLM its configuration at /server_info in development mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import orjson

from bench.endpoints import urls
from bench.target import side_requests

if TYPE_CHECKING:
    from bench.transport.interface import Target

_PAGES: Mapping[str, Sequence[str]] = {
    "llamacpp": ("/props",),
    "sglang": ("/server_info", "/get_server_info"),
    "vllm": ("/server_info?config_format=json",),
}
_NAMES: Mapping[str, Mapping[str, str]] = {
    "llamacpp": {"total_slots": "max_num_seqs"},
    "sglang": {
        "max_running_requests": "max_num_seqs",
        "chunked_prefill_size": "max_num_batched_tokens",
        "max_total_num_tokens": "kv_tokens",
    },
    "vllm": {"max_num_seqs": "max_num_seqs", "max_num_batched_tokens": "max_num_batched_tokens"},
}
"""For each engine, its names of the limits and ours."""


async def stated_limits(url: str, target: Target, owners: frozenset[str], timeout_s: float | None) -> dict[str, int]:
    """max_num_seqs, max_num_batched_tokens and kv_tokens, as far as the server states them."""
    for owner in sorted(owners & _PAGES.keys()):
        for page in _PAGES[owner]:
            content = await side_requests.get(_beside_api(url, page), target, timeout_s)
            if content is not None:
                return limits_in(content, owner)
    return {}


def limits_in(content: bytes, owner: str) -> dict[str, int]:
    """The limits in a page of this engine. A name may occur at any depth; the first with a positive number counts."""
    try:
        page = orjson.loads(content)
    except ValueError:
        return {}
    limits: dict[str, int] = {}
    for key, value in _pairs(page):
        name = _NAMES[owner].get(key)
        if name is not None and type(value) is int and value > 0:
            limits.setdefault(name, value)
    return limits


def _pairs(value: object) -> Iterator[tuple[str, Any]]:
    """Keys and values of nested objects: an object's own before those nested in it."""
    if isinstance(value, dict):
        yield from value.items()
        for inner in value.values():
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)


def _beside_api(url: str, page: str) -> str:
    """A page of the server next to the API's root, like its metrics."""
    metrics = urlsplit(urls.metrics_url(url))
    path, _, query = page.partition("?")
    return urlunsplit(metrics._replace(path=metrics.path.removesuffix("/metrics") + path, query=query))
