"""What the sender and the process that reads the server's metrics say to each other. It imports nothing that takes long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.proxy import Proxy

METRICS, METRICS_OF_TRTLLM = "/metrics", "/prometheus/metrics"
"""Where servers have their metrics. At the first, TensorRT-LLM's own server has none in Prometheus' format."""


@dataclass(frozen=True, slots=True)
class ScrapePage:
    """A page to read. The headers, which may have a key, go only to the target's own host."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    looked_for: bool = False
    """Nobody named it: where it has no known metrics, it is left without a word."""
    address: str | None = None
    """The IP to connect to, in place of those that the name in the URL has."""
    gpu: bool = False
    """Whether it is about GPUs: their samples have their own file."""


@dataclass(frozen=True, slots=True)
class ScrapeTask:
    """The pages to read, of the server and of GPUs, and the files to write."""

    pages: tuple[ScrapePage, ...]
    path: str
    gpu_path: str
    ca_file: str | None = None
    insecure: bool = False
    client_cert: str | None = None
    client_key: str | None = None
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class FirstScrape:
    """The content of the pages before the load. `problems`: why named pages had none."""

    problems: tuple[str, ...]
    goes_on: bool


@dataclass(frozen=True, slots=True)
class ServerNow:
    """The server a moment ago, by the names of summary.json's `server.levels`."""

    levels: Mapping[str, float]
