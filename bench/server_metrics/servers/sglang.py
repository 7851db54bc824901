"""SGLang, started with --enable-metrics. Its cache_hit_rate covers only the last batch, and is 0 after a decode step,
so the share is computed from its counters."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable


def _all_priorities(name: str) -> tuple[Samples, ...]:
    """With priorities, the sample with an empty priority is the sum of the others."""
    return Samples(name, only={"priority": ("",)}), Samples(name)


TABLE = ServerTable(
    "SGLang",
    "sglang:",
    {
        Role.RUNNING: _all_priorities("sglang:num_running_reqs"),
        Role.WAITING: _all_priorities("sglang:num_queue_reqs"),
        Role.KV_CACHE_USED: (Samples("sglang:token_usage"),),
        Role.PROMPT_TOKENS: (Samples("sglang:prompt_tokens_total"),),
        Role.GENERATION_TOKENS: (Samples("sglang:generation_tokens_total"),),
        Role.PREFIX_QUERIES: (Samples("sglang:prompt_tokens_total"),),
        Role.PREFIX_HITS: (Samples("sglang:cached_tokens_total"),),
        Role.PREEMPTIONS: (Samples("sglang:num_retracted_requests_total"),),
        Role.FINISHED: (Samples("sglang:num_requests_total"),),
        Role.ABORTED: (Samples("sglang:num_aborted_requests_total"),),
        Role.TTFT: (Samples("sglang:time_to_first_token_seconds"),),
        Role.ITL: (Samples("sglang:inter_token_latency_seconds"), Samples("sglang:time_per_output_token_seconds")),
        Role.E2EL: (Samples("sglang:e2e_request_latency_seconds"),),
        Role.QUEUE: (Samples("sglang:queue_time_seconds"),),
    },
)
