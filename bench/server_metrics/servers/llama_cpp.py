"""llama.cpp's server, started with --metrics. Its prompt tokens count only computed ones, not those from its cache."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

TABLE = ServerTable(
    "llama.cpp",
    "llamacpp:",
    {
        Role.RUNNING: (Samples("llamacpp:requests_processing"),),
        Role.WAITING: (Samples("llamacpp:requests_deferred"),),
        Role.KV_CACHE_USED: (Samples("llamacpp:kv_cache_usage_ratio"),),
        Role.PROMPT_TOKENS: (Samples("llamacpp:prompt_tokens_total"),),
        Role.GENERATION_TOKENS: (Samples("llamacpp:tokens_predicted_total"),),
    },
)
