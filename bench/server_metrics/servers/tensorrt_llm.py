"""TensorRT-LLM's own server (trtllm-serve)."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable


def _both(name: str) -> tuple[Samples, ...]:
    """Alone it has underscores; behind Dynamo of some versions, a colon."""
    return Samples(f"trtllm_{name}"), Samples(f"trtllm:{name}")


TABLE = ServerTable(
    "TensorRT-LLM",
    "trtllm",
    {
        Role.KV_CACHE_USED: _both("kv_cache_utilization"),
        Role.PREFIX_HIT_RATE: _both("kv_cache_hit_rate"),
        Role.FINISHED: _both("request_success_total"),
        Role.TTFT: _both("time_to_first_token_seconds"),
        Role.TPOT: _both("time_per_output_token_seconds"),
        Role.E2EL: _both("e2e_request_latency_seconds"),
        Role.QUEUE: _both("request_queue_time_seconds"),
    },
)
