"""What a server states about its limits."""

from __future__ import annotations

import pytest

from bench.target.server_limits import limits_in

LLAMA = b'{"default_generation_settings": {"n_ctx": 4096}, "total_slots": 8, "model_path": "m.gguf"}'
SGLANG = b"""{"max_running_requests": null, "chunked_prefill_size": 8192, "internal_states": [{"max_running_requests": 48,
"max_total_num_tokens": 120000}]}"""
VLLM = b'{"vllm_config": {"scheduler_config": {"max_num_seqs": 256, "max_num_batched_tokens": 2048}}}'


@pytest.mark.parametrize(
    ("owner", "page", "limits"),
    [
        ("llamacpp", LLAMA, {"max_num_seqs": 8}),
        ("sglang", SGLANG, {"max_num_seqs": 48, "max_num_batched_tokens": 8192, "kv_tokens": 120_000}),
        ("sglang", b'{"chunked_prefill_size": -1}', {}),
        ("vllm", b'{"max_num_seqs": 1, "max_num_batched_tokens": 0}', {"max_num_seqs": 1}),
        # Of several, the outermost counts.
        ("vllm", b'{"a": [{"max_num_seqs": 3}], "max_num_seqs": 2, "b": {"max_num_batched_tokens": 4}}',
         {"max_num_seqs": 2, "max_num_batched_tokens": 4}),
        ("vllm", VLLM, {"max_num_seqs": 256, "max_num_batched_tokens": 2048}),
        ("vllm", b'{"max_num_seqs": true, "max_num_batched_tokens": "many"}', {}),
        ("vllm", b"<html>", {}),
    ],
)  # fmt: skip
def test_limits_are_read_by_the_names_of_each_engine(owner: str, page: bytes, limits: dict[str, int]) -> None:
    assert limits_in(page, owner) == limits
