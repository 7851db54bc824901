"""The parts of a load, each made of its configuration: tokenizer, samples, target, transport, arrivals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.clock import NS_PER_S, Clock
from bench.config import RunConfig
from bench.conversations import Talks
from bench.endpoints import openai
from bench.errors import UsageError
from bench.load.share import Share
from bench.rng import stream
from bench.schedule import ARRIVALS
from bench.secrets import redactor, secrets_of
from bench.transport import TRANSPORTS
from bench.transport.interface import Reading, Target, Transport
from bench.workload import Drawn, Rows, simulated_samples
from promptset import recipes
from promptset.errors import SpecError
from promptset.kinds import Style
from promptset.tokens import Tokenizer, load_tokenizer
from promptset.tools import load_tools


def tokenizer_of(config: RunConfig) -> Tokenizer | None:
    """The tokenizer that makes prompts and, where it is the target's own, counts replies. Raises UsageError."""
    if config.dataset is not None and config.recipe is None and config.tokenizer is None:
        return None
    try:
        key = None if config.api_key is None else config.api_key.get_secret_value()
        return load_tokenizer(config.tokenizer, server=config.url, api_key=key)
    except SpecError as e:
        raise UsageError([f"--tokenizer: {p}" for p in e.problems]) from e
    except OSError as e:
        raise UsageError(f"--tokenizer: {config.tokenizer} cannot be read ({e.strerror})") from e


def samples_of(
    config: RunConfig, tokenizer: Tokenizer | None, share: Share | None = None, *, skip: int = 0
) -> Drawn | Rows | Talks:
    """What the requests of a share (None: of the whole load) are made of, but for the first `skip`. Raises UsageError."""
    first, step = (0, 1) if share is None else (share.worker, share.workers)
    first += skip * step
    try:
        if config.mode == "sessions":
            return _sessions_of(config, tokenizer, first, step)
        recipe = None if config.recipe is None else recipes.load(config.recipe)
        if config.dataset is not None and recipe is None:
            return Rows.of_file(
                Path(config.dataset),
                tokenizer,
                config.output_tokens,
                config.seed,
                chat=config.endpoint == "chat",
                columns=config.columns,
                bad_rows=config.bad_rows,
                by_time=config.mode == "trace",
                first=first,
                step=step,
            )
        assert tokenizer is not None
        output_tokens = config.output_tokens
        if output_tokens is None:
            assert recipe is not None
            output_tokens = recipe.output_tokens
        return simulated_samples(
            tokenizer,
            input_tokens=config.input_tokens if recipe is None else recipe.input_tokens,
            output_tokens=output_tokens,
            chat=config.endpoint == "chat",
            seed=config.seed,
            prefix=config.prefix if recipe is None else recipe.prefix,
            times_s=None if recipe is None else recipe.times_s(config.seed),
            style=Style(config.text, config.repeat),
            tools=None if config.tools is None else load_tools(Path(config.tools)),
            first=first,
            step=step,
        )
    except SpecError as e:
        raise UsageError(e.problems) from e
    except OSError as e:
        raise UsageError(f"--dataset: {config.dataset} cannot be read ({e.strerror})") from e


def _sessions_of(config: RunConfig, tokenizer: Tokenizer | None, first: int, step: int) -> Talks:
    """Those of the file, or simulated ones. Raises SpecError."""
    if config.dataset is not None:
        return Talks.of_file(Path(config.dataset), first=first, step=step)
    assert tokenizer is not None
    assert config.output_tokens is not None
    return Talks.simulated(
        tokenizer,
        turns="4" if config.turns is None else config.turns,
        think_time="0s" if config.think_time is None else config.think_time,
        input_tokens=config.input_tokens,
        output_tokens=config.output_tokens,
        prefix=config.prefix,
        seed=config.seed,
        first=first,
        step=step,
    )


def target_of(config: RunConfig) -> Target:
    """Where requests go."""

    def ns(seconds: float | None) -> int | None:
        return None if seconds is None else round(seconds * NS_PER_S)

    assert config.endpoint is not None
    headers = [(name, value.strip()) for name, _, value in (h.partition(":") for h in config.header)]
    if config.api_key is not None:
        headers.insert(0, ("authorization", f"Bearer {config.api_key.get_secret_value()}"))
    return Target(
        url=openai.endpoint_url(config.url, config.endpoint),
        headers=tuple(headers),
        ca_file=config.ca_file,
        insecure=config.insecure,
        timeout_connect_ns=ns(config.connect_timeout),
        timeout_first_byte_ns=ns(config.first_byte_timeout),
        timeout_idle_ns=ns(config.idle_timeout),
        timeout_total_ns=ns(config.timeout),
    )


def transport_of(config: RunConfig, tokenizer: Tokenizer | None, clock: Clock) -> Transport:
    """The transport that was chosen, not open yet."""
    target = target_of(config)
    api_key = config.api_key.get_secret_value() if config.api_key is not None else None
    count: Callable[[str], int] | None = None
    # Only the target's own tokenizer can check the target's counts: it must be named. And it must be here: to ask a server
    # would delay the load, and its word would confirm itself.
    if tokenizer is not None and not tokenizer.is_remote and (config.tokenizer is not None or config.check_usage):
        count = lambda text: tokenizer.count_plain([text])[0]  # noqa: E731
    reading = Reading(count=count, redact=redactor(secrets_of(config.url, target.headers, api_key, config.extra_body)))
    return TRANSPORTS[config.transport](target, reading, clock)


def arrivals_of(config: RunConfig) -> Iterator[int]:
    """The arrivals of mode rate, without end."""
    assert config.rate is not None
    assert config.arrivals is not None
    return ARRIVALS[config.arrivals](config.rate, config.burstiness, stream(config.seed, "arrivals"))
