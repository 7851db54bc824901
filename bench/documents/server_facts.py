"""The server's own metrics, for every form of report: sentences, and rows of levels and times."""

from __future__ import annotations

from collections.abc import Sequence

from bench.documents import formatting
from bench.documents.document import Fact
from bench.results.server import Server
from bench.results.summary import RunSummary

_LEVELS = {
    "running": "Requests running",
    "waiting": "Requests waiting",
    "kv_cache_used": "KV cache used",
    "prefix_hit_rate": "Prefix cache hit rate",
}
_SHARES = ("kv_cache_used", "prefix_hit_rate")
_RATES = {
    "prompt_tokens": ("Prompt tokens", "tokens/s"),
    "generation_tokens": ("Output tokens", "tokens/s"),
    "finished": ("Requests finished", "/s"),
}
_TIMES = {
    "ttft_ms": "TTFT",
    "itl_ms": "ITL",
    "tpot_ms": "TPOT",
    "e2el_ms": "E2EL",
    "queue_ms": "Time in the queue",
    "prefill_ms": "Prefill",
    "decode_ms": "Decode",
}


_COUNTED = {
    "requests": "requests",
    "prompt_tokens": "prompt tokens",
    "generation_tokens": "output tokens",
    "cached_tokens": "cached prompt tokens",
    "draft_steps": "steps with drafts",
    "draft_tokens": "draft tokens",
    "accepted_tokens": "accepted draft tokens",
}


_GPU_LEVELS: dict[str, tuple[str, float, str]] = {
    "gpu_utilisation": ("Utilisation", 100.0, "%"),
    "gpu_power_w": ("Power", 1.0, "W"),
    "gpu_memory_bytes": ("Memory used", 1 / 2**30, "GiB"),
    "gpu_clock_mhz": ("Clock", 1.0, "MHz"),
    "gpu_temperature_c": ("Temperature", 1.0, "°C"),
    "gpu_throttled": ("Share of time at a lowered clock", 100.0, "%"),
}
_GPU_NUMBERS = {
    "energy_j": ("Energy", "J"),
    "joules_per_output_token": ("Energy of an output token", "J"),
    "output_tokens_per_s_per_gpu": ("Output of a GPU", "tokens/s"),
    "cost_per_million_output_tokens": ("Cost of a million output tokens", ""),
    "cost_per_million_tokens": ("Cost of a million tokens, in and out", ""),
}


def gpu_rows(summary: RunSummary) -> list[Fact]:
    """What the GPUs did, and the cost of a token; empty if nothing is known."""
    gpu = summary.gpu
    if gpu is None:
        return []
    rows = [Fact("Read by", gpu.source)] if gpu.source is not None else []
    for key, (title, scale, unit) in _GPU_LEVELS.items():
        if (level := gpu.levels.get(key)) is not None:
            mean, most = (formatting.number(scale * value) for value in (level.mean, level.max))
            gap = "" if unit.startswith("%") else " "
            rows.append(Fact(title, f"{mean}{gap}{unit} on average, at most {most}{gap}{unit}"))
    for key, (title, unit) in _GPU_NUMBERS.items():
        if (value := gpu.of(key)) is not None:
            rows.append(Fact(title, f"{formatting.number(value)} {unit}".strip()))
    return rows


def sentences(server: Server) -> tuple[str, ...]:
    """What limited the server, and whether its counts agree with the client's."""
    return (*server.limits, *_agreement(server), *_trouble(server))


def _agreement(server: Server) -> list[str]:
    reconciled = server.reconciliation
    if reconciled is None:
        return []
    counts = reconciled.counts
    same = [line for line in counts if line.agree]
    remarks = [line.sentence for line in counts if not line.agree]
    if same:
        parts = ", ".join(f"{line.client:,} {_COUNTED[line.what]}" for line in same)
        remarks.insert(0, f"server and client counted the same: {parts}")
    if (ttft := reconciled.ttft) is not None:
        remarks.append(ttft.sentence)
    return remarks


def _trouble(server: Server) -> list[str]:
    problems = []
    if server.restarts:
        problems.append("the server's counters began again during the load: it was restarted")
    if server.failed_scrapes:
        asked = server.failed_scrapes + server.scrapes
        problems.append(f"{server.failed_scrapes} of {asked} times the server gave no metrics ({server.error})")
    return problems


def levels(server: Server, *, generates: bool) -> list[Fact]:
    """Levels and rates; without output tokens if the server generates no text."""
    rows = []
    for key, title in _LEVELS.items():
        if (level := server.levels.get(key)) is not None:
            write = formatting.share if key in _SHARES else formatting.number
            rows.append(Fact(title, f"{write(level.mean)} on average, at most {write(level.max)}"))
    for key, (title, unit) in _RATES.items():
        if key == "generation_tokens" and not generates:
            continue
        if (counter := server.counters.get(key)) is not None and counter.per_s is not None:
            rows.append(Fact(title, f"{formatting.number(counter.per_s)} {unit}"))
    counters = server.counters
    queries, hits = counters.get("prefix_queries"), counters.get("prefix_hits")
    if queries is not None and hits is not None and queries.total:
        rows.append(Fact("Prefix cache", f"{formatting.share(hits.total / queries.total)} of the prompt tokens"))
    if (preempted := counters.get("preemptions")) is not None:
        rows.append(Fact("Preemptions", formatting.number(preempted.total)))
    return rows


def times(server: Server) -> list[tuple[str, ...]]:
    """Times by the server's own clock: the mean of each, the histogram bounds of each quantile, and the number of
    values."""
    return [
        (
            title,
            formatting.number(row.mean),
            *map(_bounds, (row.p50, row.p90, row.p99)),
            formatting.number(round(row.n)),
        )
        for key, title in _TIMES.items()
        if (row := server.latency.get(key)) is not None
    ]


def _bounds(bounds: Sequence[float | None] | None) -> str:
    if bounds is None:
        return formatting.NOTHING
    low, high = bounds
    return f"over {formatting.number(low)}" if high is None else f"{formatting.number(low)}–{formatting.number(high)}"


PART_HEADS = ("Page", "Rank", "Finished", "Output tokens", "Running", "Waiting", "KV cache", "TTFT mean", "ITL mean")


def parts(server: Server) -> list[tuple[str, ...]]:
    """A row for each page and rank; empty if there is only one. Times are in ms."""
    return [
        (
            row.url,
            formatting.NOTHING if row.rank is None else row.rank,
            *(formatting.number(value) for value in (row.finished, row.generation_tokens, row.running, row.waiting)),
            formatting.share(row.kv_cache_used),
            *(formatting.number(value) for value in (row.ttft_ms, row.itl_ms)),
        )
        for row in server.parts or ()
    ]
