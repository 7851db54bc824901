"""The charts of the server's own metrics, on the client's time axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.documents.charts import Chart, Line, Panel, Tone
from bench.documents.details import has_tokens
from bench.documents.time_charts import RunNumbers, over_time


def _series(run: RunNumbers) -> Mapping[str, Sequence[float | None]]:
    return {} if run.page is None else run.page.server


def _percent(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else 100 * value for value in values]


def requests(run: RunNumbers) -> Chart | None:
    """Requests that run and that wait inside the server."""
    series = _series(run)
    kinds: tuple[tuple[str, Tone], ...] = (("running", "main"), ("waiting", "second"))
    lines = [Line(name, series[name], tone=tone) for name, tone in kinds if name in series]
    if not lines:
        return None
    meaning = "Requests that run and that wait inside the server, by its own metrics."
    return over_time(run, "server_requests", "Inside the server: requests", meaning, (Panel("requests", tuple(lines)),))


def gpu(run: RunNumbers) -> Chart | None:
    """The GPUs: power, utilisation and temperature."""
    series = {} if run.page is None else run.page.gpu
    panels = []
    if "gpu_power_w" in series:
        panels.append(Panel("W", (Line("power", series["gpu_power_w"]),)))
    if "gpu_utilisation" in series:
        panels.append(Panel("%", (Line("utilisation", _percent(series["gpu_utilisation"])),)))
    if "gpu_temperature_c" in series:
        panels.append(Panel("°C", (Line("temperature", series["gpu_temperature_c"], tone="second"),)))
    if not panels:
        return None
    meaning = "Power of all GPUs together, their mean utilisation and temperature."
    return over_time(run, "gpu", "The GPU", meaning, tuple(panels))


def named(run: RunNumbers) -> list[Chart]:
    """A chart for each requested metric name."""
    asked = () if run.page is None else run.page.server_named
    return [
        over_time(
            run,
            f"server_{named.name}",
            named.name,
            "How much it rose in each second, by the server's metrics." if named.rising else "By the server's metrics.",
            (Panel("per second" if named.rising else "", (Line(named.name, named.values),), si=True),),
        )
        for named in asked
    ]


def memory(run: RunNumbers) -> Chart | None:
    """How full the KV cache is, and the share of the prompts that comes from it."""
    series = _series(run)
    lines = []
    if "kv_cache_used" in series:
        lines.append(Line("KV cache used", _percent(series["kv_cache_used"])))
    if "prefix_hits_per_s" in series and "prefix_queries_per_s" in series:
        pairs = zip(series["prefix_hits_per_s"], series["prefix_queries_per_s"], strict=True)
        shares = [hits / queries if hits is not None and queries else None for hits, queries in pairs]
        lines.append(Line("prompt tokens from it", _percent(shares), tone="second"))
    elif "prefix_hit_rate" in series:
        lines.append(Line("prompt tokens from it", _percent(series["prefix_hit_rate"]), tone="second"))
    if not lines:
        return None
    meaning = "Share of the KV cache in use, and of the prompt tokens that were found in it, by the server's metrics."
    return over_time(run, "server_memory", "Inside the server: KV cache", meaning, (Panel("%", tuple(lines)),))


def tokens(run: RunNumbers) -> Chart | None:
    """Tokens that the server takes in and generates."""
    series, generates = _series(run), has_tokens(run.summary)
    panels = [
        Panel(unit, (Line(name, series[key], "steps"),), si=True)
        for key, name, unit in (
            ("prompt_tokens_per_s", "prompt tokens", "prompt tokens/s"),
            ("generation_tokens_per_s", "output tokens", "output tokens/s"),
        )
        if key in series and (generates or key == "prompt_tokens_per_s")
    ]
    if not panels:
        return None
    verb = "took in and generated" if generates else "took in"
    meaning = f"Tokens that the server {verb} in each second, by its metrics."
    return over_time(run, "server_tokens", "Inside the server: tokens per second", meaning, tuple(panels))
