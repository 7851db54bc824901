"""The server's own count of what its prefix cache served: vLLM's metrics, read before the load and after it.

Both counters are in tokens: those of the prompts that were looked up, and those that were found. They are the server's:
what others send it meanwhile is in them too.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from bench.endpoints import urls
from bench.target import side_requests
from bench.transport.interface import Target

_SAMPLE = re.compile(
    r"^vllm:(?:gpu_)?prefix_cache_(queries|hits)(?:_total)?(?:\{[^}]*\})? +([0-9.eE+]+)(?: +[0-9]+)?$", re.MULTILINE
)
"""A sample in Prometheus' text format. `gpu_` was in the name until vLLM 0.10."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Tokens since the server began, over all its engines."""

    queries: float
    hits: float


def counters_in(text: str) -> Counters | None:
    """The counters in a page of metrics; None where it has none."""
    found = [(name, float(value)) for name, value in _SAMPLE.findall(text)]
    if {name for name, _ in found} != {"queries", "hits"}:
        return None
    queries, hits = (sum(value for name, value in found if name == wanted) for wanted in ("queries", "hits"))
    return Counters(queries, hits)


async def read(url: str, target: Target) -> Counters | None:
    """The counters now; None where the server has none, or does not say."""
    content = await side_requests.get(urls.metrics_url(url), target)
    return None if content is None else counters_in(content.decode(errors="replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCacheUse:
    """Shares of the prompt tokens: `planned` by what prompts share, `measured` by the server's counters over the load."""

    planned_share: float | None = None
    measured_share: float | None = None
    queried_tokens: float | None = None
    hit_tokens: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """As summary.json holds it."""
        return asdict(self)


def use(planned: float | None, before: Counters | None, after: Counters | None) -> PrefixCacheUse | None:
    """The use of the cache between two readings; None if nothing was planned and nothing was hit."""
    queries = hits = None
    if before is not None and after is not None and after.queries >= before.queries and after.hits >= before.hits:
        queries, hits = after.queries - before.queries, after.hits - before.hits
    if planned is None and not hits:
        return None
    return PrefixCacheUse(
        planned_share=planned,
        measured_share=hits / queries if queries and hits is not None else None,
        queried_tokens=queries,
        hit_tokens=hits,
    )
