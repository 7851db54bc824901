"""The messages between the sender and the process that reads the server's metrics. It imports nothing slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.proxy import Proxy

METRICS, METRICS_OF_TRTLLM = "/metrics", "/prometheus/metrics"
"""Where servers have their metrics. At the first, TensorRT-LLM's own server has none in Prometheus' format."""


@dataclass(frozen=True, slots=True)
class ScrapePage:
    """A page to read. The headers, which may hold a key, go only to the target's own host."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    looked_for: bool = False
    """The user did not name it: if it has no known metrics, it is dropped silently."""
    address: str | None = None
    """The IP to connect to, instead of resolving the name in the URL."""
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
    """The result of the scrape before the load. `problems`: why pages named by the user had no metrics."""

    problems: tuple[str, ...]
    goes_on: bool


@dataclass(frozen=True, slots=True)
class ServerNow:
    """The server's latest levels, under the names of summary.json's `server.levels`."""

    levels: Mapping[str, float]
