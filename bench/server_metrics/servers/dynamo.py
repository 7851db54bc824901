"""NVIDIA Dynamo's front end. It counts a request as queued until its first token, so it does not show what waits: the
engine's own page does."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

TABLE = ServerTable(
    "Dynamo",
    "dynamo_",
    {
        Role.RUNNING: (Samples("dynamo_frontend_inflight_requests"),),
        Role.PROMPT_TOKENS: (Samples("dynamo_frontend_input_sequence_tokens_sum"),),
        Role.GENERATION_TOKENS: (
            Samples("dynamo_frontend_output_tokens_total"),
            Samples("dynamo_frontend_output_sequence_tokens_sum"),
        ),
        Role.FINISHED: (Samples("dynamo_frontend_requests_total", only={"status": ("success",)}),),
        Role.TTFT: (Samples("dynamo_frontend_time_to_first_token_seconds"),),
        Role.ITL: (Samples("dynamo_frontend_inter_token_latency_seconds"),),
        Role.E2EL: (Samples("dynamo_frontend_request_duration_seconds"),),
    },
)
