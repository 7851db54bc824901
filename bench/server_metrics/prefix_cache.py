"""How much of a run the server's prefix cache served, by its own counters, next to what the prompts share on purpose.

The counters are in tokens: prompt tokens looked up, and those found. They are the server's, so they include requests
from other clients.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from bench.metrics.cache_plan import CachePlan
from bench.server_metrics.roles import Role

if TYPE_CHECKING:
    from bench.server_metrics.role_series import ServerSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCacheUse:
    """Shares of the prompt tokens: `planned` by what prompts share, `measured` by the server's counters over the load.

    A manifest holds the plan; manifests of older versions also hold the measurement.
    """

    planned_share: float | None = None
    measured_share: float | None = None
    queried_tokens: float | None = None
    hit_tokens: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCache(PrefixCacheUse):
    """The same, together with the share that replies report (`said`) and, if each request has a plan, the count against
    it.

    `off_share`: counted minus planned, for the same requests, `counted_by` replies or metrics. Up to `rounding_share`
    of it may be rounding to blocks.
    """

    said_share: float | None = None
    counted_by: str | None = None
    off_share: float | None = None
    rounding_share: float | None = None

    @property
    def off_beyond_rounding(self) -> float | None:
        """The deviation from the plan beyond what rounding explains; None without a count."""
        if self.off_share is None or self.rounding_share is None:
            return None
        return max(0.0, abs(self.off_share) - self.rounding_share)


def use(
    stored: PrefixCacheUse | None, series: ServerSeries, plan: CachePlan | None = None, said_share: float | None = None
) -> ComparedCache | None:
    """The use of the cache over a whole run, by the server's counters between the first scrape and the last. Returns
    None if nothing was planned and nothing was hit. After a restart of the server the counters are not used.

    `said_share`: what replies report over all successful requests, if no request has a plan.
    """
    cache = ComparedCache(**asdict(PrefixCacheUse() if stored is None else stored), said_share=said_share)
    first, last = series.first_ns, series.last_ns
    if first is not None and last is not None and not series.restarts:
        queries, hits = (series.rise(role, first, last) for role in (Role.PREFIX_QUERIES, Role.PREFIX_HITS))
        if queries is not None and hits is not None:
            share = hits / queries if queries else None
            cache = replace(cache, measured_share=share, queried_tokens=queries, hit_tokens=hits)
    comparison = None if plan is None else plan.against(cache.measured_share)
    if comparison is not None:
        cache = replace(cache, **{name: value for name, value in comparison.items() if value is not None})
    reported = cache.said_share is not None and cache.said_share > 0
    return None if cache.planned_share is None and not cache.hit_tokens and not reported else cache
