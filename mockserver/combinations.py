"""Which settings go together. Impossible combinations are refused, and so are settings that would have no effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mockserver.faults import SCALING_FAULTS
from mockserver.step_cost import BLOCK_TOKENS, StepCost

if TYPE_CHECKING:
    from mockserver.config import MockConfig

NEEDS_DRAWN_LATENCIES = "this fault scales drawn latencies, and --engine batching draws none: use stall"

_ONLY_WITH: dict[str, tuple[str, ...]] = {
    "ttft": ("sampled", "replay"),
    "tpot": ("sampled", "replay"),
    "itl": ("sampled", "replay"),
    "ttft_per_input_token": ("sampled",),
    "load_slowdown": ("sampled", "replay"),
    "sampled_times": ("sampled",),
    "replay": ("replay",),
    "replay_draw": ("replay",),
    "num_speculative_tokens": ("sampled", "batching"),
    "step_cost": ("batching",),
    "max_num_seqs": ("batching",),
    "max_num_batched_tokens": ("batching",),
    "kv_blocks": ("batching",),
    "prefix_caching": ("batching",),
    "scheduling_policy": ("batching",),
}
"""The engines that use a field."""

_LAST_PORT = 65_535
_SAID_BY_TIMES = ("ttft", "tpot", "itl", "ttft_per_input_token", "load_slowdown", "num_speculative_tokens")


def step_cost_of(config: MockConfig) -> StepCost:
    """The step cost of a configuration. Limits in the configuration override those of the step cost."""
    limits = {name: getattr(config, name) for name in ("max_num_seqs", "max_num_batched_tokens", "kv_blocks")}
    return replace(config.step_cost.cost, **{name: limit for name, limit in limits.items() if limit is not None})


def replica_settings(config: MockConfig, number: int) -> dict[str, object]:
    """The settings that --replica gives for one replica: strings by field name, as in a YAML file."""
    settings: dict[str, object] = {}
    for words in config.replica:
        which, _, setting = words.partition(":")
        key, _, value = setting.partition("=")
        if which.strip() == str(number):
            name = key.strip().replace("-", "_")
            settings[name] = [*_listed(settings.get(name)), value] if name in _REPEATED else value
    return settings


_REPEATED = ("fault", "reply_details")


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def replica_problems(config: MockConfig) -> list[str]:
    """Problems with the syntax of --replica."""
    problems = []
    for words in config.replica:
        which, colon, setting = words.partition(":")
        if not colon or not which.strip().isdecimal() or "=" not in setting:
            problems.append(f"--replica {words}: write N:KEY=VALUE, for example 1:ttft=200ms")
        elif int(which) >= config.replicas:
            problems.append(f"--replica {words}: --replicas {config.replicas} has no replica {int(which)} (from 0)")
    return problems


def _number_problems(config: MockConfig) -> list[str]:
    """Problems of numbers that are each in their range."""
    problems = []
    if config.port and config.port + config.replicas - 1 > _LAST_PORT:
        problems.append(f"--port {config.port}: --replicas {config.replicas} needs ports beyond {_LAST_PORT}")
    if (
        config.num_speculative_tokens == 0
        and config.acceptance_rate != type(config).model_fields["acceptance_rate"].default
    ):
        problems.append("--acceptance-rate has no effect without --num-speculative-tokens: remove it, or add that")
    problems += [
        f"--{name.replace('_', '-')} {value}: is beyond 64 bits"
        for name, value in config
        if isinstance(value, int) and not -(2**63) <= value < 2**63
    ]
    return problems


def without_effect(config: MockConfig, names: Sequence[str], beside: str) -> list[str]:
    """One sentence for each of these settings that was given. `beside`: what makes it have no effect."""
    fields = type(config).model_fields
    given = [name for name in names if str(getattr(config, name)) != str(fields[name].default)]
    return [f"--{name.replace('_', '-')} has no effect with {beside}: remove it" for name in given]


def combination_problems(config: MockConfig) -> list[str]:
    """One sentence for each combination that is not allowed."""
    problems = []
    for name, engines in _ONLY_WITH.items():
        field = type(config).model_fields[name]
        if config.engine not in engines and str(getattr(config, name)) != str(field.default):
            problems.append(
                f"--{name.replace('_', '-')} has no effect with --engine {config.engine}: remove it, or "
                f"use --engine {' or '.join(engines)}"
            )
    if config.engine == "replay" and config.replay is None:
        problems.append("--engine replay needs a recording: add --replay FILE")
    if config.scale is not None and config.scale.replicas > 1 and config.engine != "batching":
        problems.append("--scale replicas=: only --engine batching has a capacity that grows")
    together = {
        "--scale": config.scale is not None,
        "--engine batching": config.engine == "batching",
        "--load-slowdown": config.load_slowdown > 0,
        "--sampled-times": config.sampled_times is not None,
    }
    if config.workers > 1 and any(together.values()):
        which = next(name for name, used in together.items() if used)
        problems.append(f"{which} needs all requests in one process: remove --workers")
    problems += _number_problems(config)
    if config.replicas > 1 and config.workers > 1:
        problems.append("--replicas and --workers cannot be combined: each replica is one process")
    problems += replica_problems(config)
    if config.sampled_times is not None:
        problems += without_effect(config, _SAID_BY_TIMES, "--sampled-times")
    if "cached_tokens" in config.reply_details and config.engine != "batching":
        problems.append("--reply-details cached_tokens: only --engine batching has a prefix cache")
    if "speculative_decoding" in config.reply_details and config.num_speculative_tokens == 0:
        problems.append("--reply-details speculative_decoding: add --num-speculative-tokens")
    if config.engine == "batching":
        problems += [
            f"--fault {rule}: {NEEDS_DRAWN_LATENCIES}" for rule in config.fault if rule.fault.name in SCALING_FAULTS
        ]
        holds = step_cost_of(config).kv_blocks * BLOCK_TOKENS
        if holds < config.max_model_len:
            problems.append(
                f"the KV cache holds {holds} tokens, but a request can have {config.max_model_len} (--max-model-len): "
                "raise --kv-blocks, or lower --max-model-len"
            )
    return problems
