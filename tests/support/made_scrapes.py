"""Scrapes of a server made by hand: one per second, of a vLLM that fills up during the golden run."""

from __future__ import annotations

from bench.server_metrics.gpus import GPUS
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS

NS_PER_S = 1_000_000_000
_HISTOGRAMS = {
    "time_to_first_token_seconds": 0.055,
    "inter_token_latency_seconds": 0.011,
    "request_time_per_output_token_seconds": 0.011,
    "e2e_request_latency_seconds": 0.2,
    "request_queue_time_seconds": 0.01,
    "request_prefill_time_seconds": 0.04,
    "request_decode_time_seconds": 0.15,
}


def made_page(done: float, running: float, waiting: float, kv: float) -> dict[str, float]:
    """A page after `done` requests, of 100 tokens in and 12 out each."""
    values = {
        "vllm:num_requests_running": running,
        "vllm:num_requests_waiting": waiting,
        "vllm:kv_cache_usage_perc": kv,
        "vllm:prompt_tokens_total": 100 * done,
        "vllm:generation_tokens_total": 12 * done,
        "vllm:prefix_cache_queries_total": 100 * done,
        "vllm:prefix_cache_hits_total": 16 * done,
        "vllm:num_preemptions_total": done // 20,
        'vllm:request_success_total{finished_reason="length"}': done,
        'vllm:request_success_total{finished_reason="abort"}': done // 20,
    }
    for name, mean in _HISTOGRAMS.items():
        values |= {
            f'vllm:{name}_bucket{{le="0.1"}}': done / 2,
            f'vllm:{name}_bucket{{le="1.0"}}': done,
            f'vllm:{name}_bucket{{le="+Inf"}}': done,
            f"vllm:{name}_sum": mean * done,
            f"vllm:{name}_count": done,
        }
    return values


def made_server(start_ns: int, seconds: int) -> ServerSeries:
    """One scrape per second, from one before the start to one after the last second."""
    found = ServerSeries(SERVERS)
    for second in range(-1, seconds + 2):
        share = max(second, 0) / max(seconds, 1)
        at = start_ns + second * NS_PER_S
        page = made_page(round(40 * share), 4 + 4 * share, 3 * share, 0.5 + 0.48 * share)
        found.add(Scrape(t_ns=at, asked_ns=at, page=0, values=page))
    return found


def made_gpu(start_ns: int, seconds: int) -> ServerSeries:
    """One scrape per second of two GPUs. Their power rises by 10 W per second."""
    found = ServerSeries(GPUS)
    for second in range(-1, seconds + 2):
        at = start_ns + second * NS_PER_S
        values = {
            f'{name}{{gpu="{gpu}"}}': value + gpu
            for gpu in (0, 1)
            for name, value in (
                ("nvml_power_watts", 300.0 + 10 * second),
                ("nvml_utilisation_percent", 90.0),
                ("nvml_memory_used_bytes", 2.0**34),
                ("nvml_sm_clock_mhz", 1_700.0),
                ("nvml_temperature_celsius", 60.0 + second),
                ("nvml_throttled", 0.0),
            )
        }
        found.add(Scrape(t_ns=at, asked_ns=at, page=0, values=values))
    return found
