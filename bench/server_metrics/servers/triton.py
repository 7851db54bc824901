"""Triton with the TensorRT-LLM backend. Its page has its own port (8002): name it with --server-metrics."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

TABLE = ServerTable(
    "Triton",
    "nv_",
    {
        Role.RUNNING: (Samples("nv_trt_llm_request_metrics", only={"request_type": ("scheduled",)}),),
        Role.WAITING: (Samples("nv_trt_llm_request_metrics", only={"request_type": ("waiting",)}),),
        Role.KV_CACHE_USED: (
            Samples("nv_trt_llm_kv_cache_block_metrics", only={"kv_cache_block_type": ("fraction",)}),
        ),
        # An ensemble counts a request in each of its models, so use only the engine's counts, if it has the usual name.
        # A counter gets its `_total` when the page is read.
        Role.FINISHED: (
            Samples("nv_inference_request_success_total", only={"model": ("tensorrt_llm",)}),
            Samples("nv_inference_request_success_total"),
        ),
    },
)
