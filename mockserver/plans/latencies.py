"""The distributions of a configuration that plans are drawn from."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from mockserver.combinations import without_effect
from mockserver.config import MockConfig
from mockserver.errors import UsageError
from mockserver.plans.plan import Latencies
from mockserver.plans.replay import Draw, ReplaySource, read_source
from mockserver.plans.speculation import Speculation
from promptset.distributions import parse

_NOTHING = parse("0ms", "time")
_RECORDED = ("ttft", "itl", "output_tokens")
"""The settings that a recording hides. Beyond the end of a recorded reply with one chunk, `tpot` is used."""


def latencies_of(config: MockConfig) -> Latencies:
    """The distributions, or the recording, of a configuration. Raises UsageError if its file cannot be used, or hides a
    setting.

    `batching` computes its times, so nothing is drawn for it. Delays from a request's headers or a fault come on top.
    """
    latencies = Latencies(
        ttft=config.ttft,
        tpot=config.tpot,
        itl=config.itl,
        output_tokens=config.output_tokens,
        ttft_per_input_token=config.ttft_per_input_token,
        speculation=speculation_of(config),
        reasoning_tokens=config.reasoning_tokens,
        seen=config.sampled_times,
    )
    if config.engine == "batching":
        return replace(latencies, ttft=_NOTHING, tpot=_NOTHING, itl=None, ttft_per_input_token=None)
    if config.replay is not None:
        source = _read_once(config.replay, config.replay_draw)
        if source.recording is not None and (
            problems := without_effect(config, _RECORDED, f"the recording --replay {config.replay}")
        ):
            raise UsageError(problems)
        # A TPOT in the profile overrides --itl.
        itl = None if "tpot" in source.profile else config.itl
        return replace(latencies, **{"recording": source.recording, "itl": itl, **source.profile})
    return latencies


def speculation_of(config: MockConfig) -> Speculation | None:
    """The speculative decoding of a configuration, or None."""
    if config.num_speculative_tokens == 0:
        return None
    return Speculation(config.num_speculative_tokens, config.acceptance_rate)


@lru_cache(maxsize=4)
def _read_once(path: Path, draw: Draw) -> ReplaySource:
    return read_source(path, draw)
