"""Text Generation Inference."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

TABLE = ServerTable(
    "TGI",
    "tgi_",
    {
        Role.RUNNING: (Samples("tgi_batch_current_size"),),
        Role.WAITING: (Samples("tgi_queue_size"),),
        Role.PROMPT_TOKENS: (Samples("tgi_request_input_length_sum"),),
        Role.GENERATION_TOKENS: (Samples("tgi_request_generated_tokens_sum"),),
        Role.FINISHED: (Samples("tgi_request_success_total"), Samples("tgi_request_success")),
        Role.TPOT: (Samples("tgi_request_mean_time_per_token_duration"),),
        Role.E2EL: (Samples("tgi_request_duration"),),
        Role.QUEUE: (Samples("tgi_request_queue_duration"),),
    },
)
