"""vLLM, and the mock, which has the same metrics. Version 1 of the engine; older names follow the current ones."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

_NO_ANSWER = ("abort", "error")

TABLE = ServerTable(
    "vLLM",
    "vllm:",
    {
        Role.RUNNING: (Samples("vllm:num_requests_running"),),
        Role.WAITING: (Samples("vllm:num_requests_waiting"),),
        Role.KV_CACHE_USED: (Samples("vllm:kv_cache_usage_perc"), Samples("vllm:gpu_cache_usage_perc")),
        Role.PROMPT_TOKENS: (Samples("vllm:prompt_tokens_total"),),
        Role.GENERATION_TOKENS: (Samples("vllm:generation_tokens_total"),),
        Role.PREFIX_QUERIES: (
            Samples("vllm:prefix_cache_queries_total"),
            Samples("vllm:gpu_prefix_cache_queries_total"),
        ),
        Role.PREFIX_HITS: (Samples("vllm:prefix_cache_hits_total"), Samples("vllm:gpu_prefix_cache_hits_total")),
        Role.EXTERNAL_HITS: (Samples("vllm:external_prefix_cache_hits_total"),),
        Role.DRAFT_STEPS: (Samples("vllm:spec_decode_num_drafts_total"),),
        Role.DRAFT_TOKENS: (Samples("vllm:spec_decode_num_draft_tokens_total"),),
        Role.ACCEPTED_TOKENS: (Samples("vllm:spec_decode_num_accepted_tokens_total"),),
        Role.PREEMPTIONS: (Samples("vllm:num_preemptions_total"),),
        Role.FINISHED: (Samples("vllm:request_success_total", without={"finished_reason": _NO_ANSWER}),),
        Role.ABORTED: (Samples("vllm:request_success_total", only={"finished_reason": ("abort",)}),),
        Role.TTFT: (Samples("vllm:time_to_first_token_seconds"),),
        Role.ITL: (Samples("vllm:inter_token_latency_seconds"), Samples("vllm:time_per_output_token_seconds")),
        Role.TPOT: (Samples("vllm:request_time_per_output_token_seconds"),),
        Role.E2EL: (Samples("vllm:e2e_request_latency_seconds"),),
        Role.QUEUE: (Samples("vllm:request_queue_time_seconds"),),
        Role.PREFILL: (Samples("vllm:request_prefill_time_seconds"),),
        Role.DECODE: (Samples("vllm:request_decode_time_seconds"),),
    },
    exact=True,
)
