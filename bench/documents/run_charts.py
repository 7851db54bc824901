"""The charts of a run, in the order of its report.

A new chart is a function from the numbers of a run to a Chart, and a line in CHARTS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.documents import (
    distribution_charts,
    jobs,
    replica_charts,
    request_charts,
    server_charts,
    server_requests,
    time_charts,
)
from bench.documents.charts import Chart
from bench.documents.details import has_tokens
from bench.documents.time_charts import RunNumbers

CHARTS: dict[str, Callable[[RunNumbers], Chart | None]] = {
    "requests_per_s": time_charts.requests_per_s,
    "responses_per_s": time_charts.responses_per_s,
    "in_flight": time_charts.in_flight,
    "ttft": time_charts.ttft,
    "tpot": time_charts.tpot,
    "itl": time_charts.itl,
    "tps": time_charts.tps,
    "errors": time_charts.errors,
    "traffic": time_charts.traffic,
    "server_requests": server_charts.requests,
    "server_memory": server_charts.memory,
    "server_tokens": server_charts.tokens,
    "gpu": server_charts.gpu,
    "ttft_heat_map": distribution_charts.ttft_heat_map,
    "ttft_distribution": partial(distribution_charts.distribution, name="ttft"),
    "tpot_distribution": partial(distribution_charts.distribution, name="tpot"),
    "itl_distribution": partial(distribution_charts.distribution, name="itl", of="the tokens"),
    "response_time_intervals": distribution_charts.response_time_intervals,
    "response_time_quantiles": distribution_charts.response_time_quantiles,
    "status_codes": distribution_charts.status_codes,
    "ttft_by_prompt": request_charts.ttft_by_prompt,
    "e2el_by_output": request_charts.e2el_by_output,
    "tokens_asked": request_charts.tokens_asked,
    "timeline": request_charts.timeline,
}
"""A chart is left out if the run lacks its data."""

OF_JOBS: dict[str, Callable[[RunNumbers], Chart | None]] = {
    "ttft_by_context": jobs.ttft_by_context,
    "ttft_by_turn": jobs.ttft_by_turn,
}
"""In addition, for a run of sessions."""

OF_DRAFTS: dict[str, Callable[[RunNumbers], Chart | None]] = {
    "draft_acceptance": server_requests.acceptance,
    "tokens_a_step": server_requests.tokens_a_step,
}
"""In addition, for a run whose replies report draft tokens."""

OF_REPLICAS: dict[str, Callable[[RunNumbers], Chart | None]] = {
    "replica_latency": replica_charts.latency,
    "replica_requests": replica_charts.requests,
}
"""In addition, for a run over several replicas."""

OF_INPUTS: dict[str, Callable[[RunNumbers], Chart | None]] = {
    "requests_per_s": time_charts.requests_per_s,
    "responses_per_s": time_charts.responses_per_s,
    "inputs_per_s": time_charts.inputs_per_s,
    **{name: CHARTS[name] for name in ("in_flight", "errors", "traffic", "server_requests", "server_memory",
                                       "server_tokens", "gpu", "response_time_intervals", "response_time_quantiles",
                                       "status_codes")},
    "e2el_by_inputs": request_charts.e2el_by_inputs,
    "e2el_by_input_tokens": request_charts.e2el_by_input_tokens,
    "timeline": request_charts.timeline,
}  # fmt: skip
"""The charts of a run whose replies are not generated text."""


def build(run: RunNumbers) -> tuple[Chart, ...]:
    """All charts of a run."""
    charts = {**({**CHARTS, **OF_DRAFTS, **OF_JOBS} if has_tokens(run.summary) else OF_INPUTS), **OF_REPLICAS}
    client_charts = tuple(chart for make in charts.values() if (chart := make(run)) is not None)
    return (*client_charts, *server_charts.named(run))
