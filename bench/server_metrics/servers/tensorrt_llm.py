"""TensorRT-LLM's own server (trtllm-serve). Its page is at /prometheus/metrics."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable


def _both(name: str) -> tuple[Samples, ...]:
    """On its own it uses underscores; behind some versions of Dynamo, a colon."""
    return Samples(f"trtllm_{name}"), Samples(f"trtllm:{name}")


TABLE = ServerTable(
    "TensorRT-LLM",
    "trtllm",
    {
        Role.RUNNING: _both("num_requests_running"),
        Role.WAITING: _both("num_requests_waiting"),
        Role.KV_CACHE_USED: _both("kv_cache_utilization"),
        Role.PREFIX_HIT_RATE: _both("kv_cache_hit_rate"),
        Role.PROMPT_TOKENS: _both("prompt_tokens_total"),
        Role.GENERATION_TOKENS: _both("generation_tokens_total"),
        Role.FINISHED: _both("request_success_total"),
        Role.TTFT: _both("time_to_first_token_seconds"),
        Role.TPOT: _both("time_per_output_token_seconds"),
        Role.E2EL: _both("e2e_request_latency_seconds"),
        Role.QUEUE: _both("request_queue_time_seconds"),
        Role.PREFILL: _both("request_prefill_time_seconds"),
        Role.DECODE: _both("request_decode_time_seconds"),
    },
)
