"""Notes for the report about the requests of a run: sentences from its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.endpoints.choice import endpoint_of
from bench.proxy import Proxy

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.sources.interface import Source


def notes_of(config: RunConfig, source: Source[object]) -> tuple[str, ...]:
    """The notes of a run on this data."""
    return (*source.notes, *_same_prompts(config, source), *_choices(config), *_proxy(config))


def _same_prompts(config: RunConfig, source: Source[object]) -> tuple[str, ...]:
    if not config.same_prompts or source.tokenizer is None:
        return ()
    return (
        f"--same-prompts: every run of seed {config.seed} sends these prompts; "
        "a server that has seen them may answer from its prefix cache",
    )


def _proxy(config: RunConfig) -> tuple[str, ...]:
    proxy = Proxy.of(config.proxy)
    return () if proxy is None else (f"all requests went through the proxy {proxy.name}: latencies include it",)


def _choices(config: RunConfig) -> tuple[str, ...]:
    n = (config.extra_body or {}).get("n")
    if type(n) is not int or n < 2 or not endpoint_of(config).generates:
        return ()
    return (
        f"each request asks for {n} choices: TTFT ends at the first token of any, and TPOT and ITL are of all together",
    )
