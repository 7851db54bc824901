"""The meanings of samples on a server's page, and how a server's table identifies them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """The meaning of a sample. The value is its name in summary.json."""

    RUNNING = "running"
    WAITING = "waiting"
    KV_CACHE_USED = "kv_cache_used"
    PREFIX_HIT_RATE = "prefix_hit_rate"

    PROMPT_TOKENS = "prompt_tokens"
    GENERATION_TOKENS = "generation_tokens"
    PREFIX_QUERIES = "prefix_queries"
    PREFIX_HITS = "prefix_hits"
    EXTERNAL_HITS = "external_hits"
    DRAFT_STEPS = "draft_steps"
    DRAFT_TOKENS = "draft_tokens"
    ACCEPTED_TOKENS = "accepted_tokens"
    PREEMPTIONS = "preemptions"
    FINISHED = "finished"
    ABORTED = "aborted"

    TTFT = "ttft"
    ITL = "itl"
    TPOT = "tpot"
    E2EL = "e2el"
    QUEUE = "queue"
    PREFILL = "prefill"
    DECODE = "decode"

    GPU_POWER = "gpu_power_w"
    GPU_MEMORY = "gpu_memory_bytes"
    GPU_UTILISATION = "gpu_utilisation"
    GPU_CLOCK = "gpu_clock_mhz"
    GPU_TEMPERATURE = "gpu_temperature_c"
    GPU_THROTTLED = "gpu_throttled"


LEVELS = (Role.RUNNING, Role.WAITING)
"""Gauges that add up over ranks and replicas."""
SHARES = (Role.KV_CACHE_USED, Role.PREFIX_HIT_RATE)
"""Gauges from 0 to 1, averaged over ranks and replicas."""
COUNTERS = (
    Role.PROMPT_TOKENS,
    Role.GENERATION_TOKENS,
    Role.PREFIX_QUERIES,
    Role.PREFIX_HITS,
    Role.EXTERNAL_HITS,
    Role.DRAFT_STEPS,
    Role.DRAFT_TOKENS,
    Role.ACCEPTED_TOKENS,
    Role.PREEMPTIONS,
    Role.FINISHED,
    Role.ABORTED,
)
HISTOGRAMS = (Role.TTFT, Role.ITL, Role.TPOT, Role.E2EL, Role.QUEUE, Role.PREFILL, Role.DECODE)
"""In seconds."""
GPU_SUMS = (Role.GPU_POWER, Role.GPU_MEMORY)
"""Gauges that add up over all GPUs."""
GPU_MEANS = (Role.GPU_UTILISATION, Role.GPU_CLOCK, Role.GPU_TEMPERATURE, Role.GPU_THROTTLED)
"""Gauges that are averaged over all GPUs."""

TITLES: dict[Role, str] = {
    Role.RUNNING: "Requests running",
    Role.WAITING: "Requests waiting",
    Role.KV_CACHE_USED: "KV cache used",
    Role.PREFIX_HIT_RATE: "Prefix cache hit rate",
    Role.PROMPT_TOKENS: "Prompt tokens",
    Role.GENERATION_TOKENS: "Output tokens",
    Role.PREFIX_QUERIES: "Prompt tokens looked up in the prefix cache",
    Role.PREFIX_HITS: "Prompt tokens found there",
    Role.EXTERNAL_HITS: "Prompt tokens found in a cache outside",
    Role.DRAFT_STEPS: "Steps that verified drafts",
    Role.DRAFT_TOKENS: "Draft tokens",
    Role.ACCEPTED_TOKENS: "Accepted draft tokens",
    Role.PREEMPTIONS: "Preemptions",
    Role.FINISHED: "Requests finished",
    Role.ABORTED: "Requests aborted",
    Role.TTFT: "TTFT",
    Role.ITL: "ITL",
    Role.TPOT: "TPOT",
    Role.E2EL: "E2EL",
    Role.QUEUE: "Time in the queue",
    Role.PREFILL: "Prefill time",
    Role.DECODE: "Decode time",
    Role.GPU_POWER: "Power",
    Role.GPU_MEMORY: "Memory used",
    Role.GPU_UTILISATION: "Utilisation",
    Role.GPU_CLOCK: "Clock",
    Role.GPU_TEMPERATURE: "Temperature",
    Role.GPU_THROTTLED: "Time at a lowered clock",
}


@dataclass(frozen=True, slots=True)
class Samples:
    """All samples of this name whose labels have one of the values in `only` and none of those in `without`."""

    name: str
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scale: float = 1.0
    """The factor that converts a value to the unit of its role."""

    def match(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a sample belongs to them."""
        return (
            name == self.name
            and all(labels.get(label) in values for label, values in self.only.items())
            and all(labels.get(label) not in values for label, values in self.without.items())
        )


@dataclass(frozen=True, slots=True)
class ServerTable:
    """The samples of one kind of server. If a role has several names, the first that a page has counts: servers rename
    them.

    A histogram is named without `_bucket`, `_sum` and `_count`. `exact`: the page counts each answered request and its
    tokens exactly once, so that a difference from the client's count means something.
    """

    name: str
    prefix: str
    roles: Mapping[Role, tuple[Samples, ...]]
    exact: bool = False
