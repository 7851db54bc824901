"""The default of every setting, and the least and the greatest number that each one takes."""

from __future__ import annotations

from typing import Any

import pytest

from mockserver.config import MockConfig, load
from mockserver.errors import UsageError

DEFAULTS: dict[str, Any] = {
    "host": "127.0.0.1", "port": 8000, "model": "mock-model", "api_key": [], "cors": [], "admin": "loopback",
    "allowed_host": [], "max_model_len": 131_072, "stored_responses": 10_000, "stored_mb": 256.0, "lost_response": "vllm",
    "max_body_mb": 64.0, "body_timeout_s": 30.0, "max_head_kb": 64.0, "head_timeout_s": 30.0, "keep_alive_s": 75.0,
    "drain_s": 5.0, "workers": 1, "replicas": 1, "replica": [], "cpu_priority": "auto", "seed": 0, "engine": "sampled",
    "preset": None, "profile": None, "ttft": "50ms", "tpot": "20ms", "itl": None, "ttft_per_input_token": None,
    "load_slowdown": 0.0, "sampled_times": None, "replay": None, "replay_draw": "order", "output_tokens": "128",
    "reasoning_tokens": None, "reasoning_field": "reasoning", "finish": "last", "reply_details": [], "tool_share": 1.0,
    "tool_calls": 1, "tokenizer": None, "stream_interval": 1, "num_speculative_tokens": 0, "acceptance_rate": 0.7,
    "step_cost": "qwen2.5-7b-h100", "max_num_seqs": None, "max_num_batched_tokens": None, "kv_blocks": None,
    "prefix_caching": True, "scheduling_policy": "fcfs", "scale": None, "embedding_size": 1024, "image_tokens": 256,
    "audio_tokens": 128, "video_tokens": 1024, "fault": [], "ledger": None,
}  # fmt: skip


def test_a_configuration_without_settings_has_the_defaults() -> None:
    assert MockConfig().model_dump(mode="json") == DEFAULTS


NEEDS: dict[str, dict[str, Any]] = {
    "acceptance_rate": {"num_speculative_tokens": 1},
    "max_num_seqs": {"engine": "batching"},
    "max_num_batched_tokens": {"engine": "batching", "max_num_seqs": 1},
    "kv_blocks": {"engine": "batching", "max_model_len": 2},
}
"""Settings without which these have no effect."""


@pytest.mark.parametrize(
    ("name", "least", "below", "greatest", "above"),
    [
        ("port", 0, -1, 65_535, 65_536),
        ("max_model_len", 2, 1, None, None),
        ("stored_responses", 0, -1, 1_000_000, 1_000_001),
        ("stored_mb", 0.001, 0, 65_536, 65_537),
        ("max_body_mb", 0.001, 0, 1e6, 1e6 + 1),
        ("body_timeout_s", 0.001, 0, 1e9, 1e9 + 1),
        ("max_head_kb", 0.001, 0, 1e6, 1e6 + 1),
        ("head_timeout_s", 0.001, 0, 1e9, 1e9 + 1),
        ("keep_alive_s", 0.001, 0, 1e9, 1e9 + 1),
        ("drain_s", 0, -0.001, 1e9, 1e9 + 1),
        ("workers", 1, 0, 64, 65),
        ("replicas", 1, 0, 64, 65),
        ("load_slowdown", 0, -0.001, None, None),
        ("num_speculative_tokens", 0, -1, 1000, 1001),
        ("acceptance_rate", 0, -0.001, 1, 1.001),
        ("stream_interval", 1, 0, None, None),
        ("max_num_seqs", 1, 0, None, None),
        ("max_num_batched_tokens", 1, 0, None, None),
        ("kv_blocks", 1, 0, 10_000_000, 10_000_001),
        ("embedding_size", 1, 0, 65_536, 65_537),
        ("image_tokens", 0, -1, None, None),
        ("audio_tokens", 0, -1, None, None),
        ("video_tokens", 0, -1, None, None),
        ("tool_share", 0, -0.001, 1, 1.001),
        ("tool_calls", 1, 0, 128, 129),
    ],
)
def test_a_number_may_be_as_small_and_as_great_as_said(
    name: str, least: float, below: float, greatest: float | None, above: float | None
) -> None:
    for value in (least, greatest):
        if value is not None:
            assert getattr(MockConfig(**NEEDS.get(name, {}), **{name: value}), name) == value
    for value in (below, above):
        if value is not None:
            with pytest.raises(UsageError) as refused:
                load(None, {**NEEDS.get(name, {}), name: value})
            assert any(problem.startswith(f"--{name.replace('_', '-')}: ") for problem in refused.value.problems)


def test_drafts_are_reported_only_where_there_are_any() -> None:
    details: dict[str, Any] = {"reply_details": ["speculative_decoding"]}
    with pytest.raises(UsageError) as refused:
        load(None, details)
    assert refused.value.problems == ["--reply-details speculative_decoding: add --num-speculative-tokens"]
    assert load(None, {**details, "num_speculative_tokens": 1}).num_speculative_tokens == 1
