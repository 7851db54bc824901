"""What the server's prefix cache served of a run, by its own counters, beside what the prompts share on purpose.

The counters are in tokens: those of the prompts that were looked up, and those that were found. They are the server's: what
others send it meanwhile is in them too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from bench.server_metrics.roles import Role

if TYPE_CHECKING:
    from bench.server_metrics.role_series import ServerSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCacheUse:
    """Shares of the prompt tokens: `planned` by what prompts share, `measured` by the server's counters over the load.

    A manifest holds the plan; those of older versions also what was measured.
    """

    planned_share: float | None = None
    measured_share: float | None = None
    queried_tokens: float | None = None
    hit_tokens: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """As summary.json holds it."""
        return asdict(self)


def use(stored: PrefixCacheUse | None, series: ServerSeries) -> PrefixCacheUse | None:
    """The use of the cache over a whole run, between the first scrape and the last; None if nothing was planned and nothing
    was hit. A server that began to count anew has not said it."""
    cache = PrefixCacheUse() if stored is None else stored
    first, last = series.first_ns, series.last_ns
    if first is not None and last is not None and not series.restarts:
        queries, hits = (series.rise(role, first, last) for role in (Role.PREFIX_QUERIES, Role.PREFIX_HITS))
        if queries is not None and hits is not None:
            share = hits / queries if queries else None
            cache = replace(cache, measured_share=share, queried_tokens=queries, hit_tokens=hits)
    return None if cache.planned_share is None and not cache.hit_tokens else cache
