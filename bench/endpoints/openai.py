"""The OpenAI-compatible dialect, sans-IO: its URLs, and samples to request bodies.

What comes back is read by `reply.py`, and by `stream_reader.py` where it is a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import orjson

from bench.workload import Encoded
from promptset.samples import Sample

Endpoint = Literal["chat", "completions"]
PATHS: dict[Endpoint, str] = {"chat": "/chat/completions", "completions": "/completions"}
"""The path of each endpoint below the API's root (`/v1`)."""


def endpoint_of(url: str) -> Endpoint | None:
    """The endpoint that the URL names by itself, or None where it stops before."""
    path = urlsplit(url).path.rstrip("/")
    return next((endpoint for endpoint, tail in PATHS.items() if path.endswith(tail)), None)


def endpoint_url(url: str, endpoint: Endpoint) -> str:
    """The full URL of the endpoint. `http://h`, `http://h/`, `http://h/v1` and the whole path all mean the same."""
    return _api_url(url, PATHS[endpoint])


def models_url(url: str) -> str:
    """Where the server lists its models."""
    return _api_url(url, "/models")


def metrics_url(url: str) -> str:
    """Where the server shows its metrics: beside the API's root, not below it."""
    root = urlsplit(_api_url(url, ""))
    return urlunsplit(root._replace(path=root.path.removesuffix("/v1") + "/metrics"))


def _api_url(url: str, tail: str) -> str:
    parts = urlsplit(url)
    root = parts.path.rstrip("/")
    named = endpoint_of(url)
    if named is not None:
        root = root.removesuffix(PATHS[named])
    elif not root.endswith("/v1"):
        root += "/v1"
    return urlunsplit(parts._replace(path=root + tail))


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyOptions:
    """What every body of a run has in common. `model` None leaves the model of a full request body as it is."""

    endpoint: Endpoint
    model: str | None
    stream: bool = True
    ask_usage: bool = True
    ignore_eos: bool = False
    extra: Mapping[str, Any] | None = None


def encode(sample: Sample, options: BodyOptions) -> Encoded:
    """The JSON body for a sample. A sample that is a full request body keeps its own fields; `extra` wins over all."""
    body: dict[str, Any]
    if sample.body is not None:
        body = dict(sample.body)
    elif options.endpoint == "chat":
        messages = sample.messages
        body = {"messages": messages if messages is not None else [{"role": "user", "content": sample.prompt}]}
        if sample.tools is not None:
            body["tools"] = sample.tools
    else:
        body = {"prompt": sample.prompt}
    if options.model is not None:
        body["model"] = options.model
    if sample.output_tokens is not None:
        body["max_tokens"] = sample.output_tokens
    if options.ignore_eos:
        body["ignore_eos"] = True
    body["stream"] = options.stream
    body.pop("stream_options", None)
    if options.stream and options.ask_usage:
        body["stream_options"] = {"include_usage": True}
    if options.extra:
        body.update(options.extra)
    asked = body.get("max_completion_tokens", body.get("max_tokens"))
    return Encoded(
        body=orjson.dumps(body),
        stream=bool(body["stream"]),
        output_tokens_asked=asked if isinstance(asked, int) else None,
    )
