"""The parts of a load, each made from its configuration: tokenizer, source of requests, target, transport."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import trust
from bench.clock import NS_PER_S, Clock
from bench.endpoints import ENDPOINTS, urls
from bench.endpoints.choice import endpoint_of
from bench.errors import UsageError
from bench.proxy import Proxy
from bench.secrets import redactor, secrets_of
from bench.transport import TRANSPORTS
from bench.transport.interface import Destination, Reading, Target, Transport
from promptset.errors import SpecError
from promptset.samples import Sample
from promptset.tokens import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.config.run_config import RunClass
    from bench.endpoints.interface import Endpoint
    from bench.modes.share import WorkerShare
    from bench.sources.interface import Source
    from bench.sources.mixed import ClassSource


def tokenizer_of(config: RunConfig) -> Tokenizer | None:
    """The tokenizer that makes prompts and, if it is the target's own, counts replies. Raises UsageError."""
    if config.check_answers == 1 or not any(
        map(_needs_tokenizer, [run_class.config for run_class in config.classes] or [config])
    ):
        return None
    try:
        key = None if config.api_key is None else config.api_key.get_secret_value()
        tls = trust.context(config) if config.server_counts else None
        return load_tokenizer(config.tokenizer, server=config.url, api_key=key, tls=tls, proxy=config.proxy)
    except SpecError as e:
        raise UsageError([f"--tokenizer: {p}" for p in e.problems]) from e
    except OSError as e:
        raise UsageError(f"--tokenizer: {config.tokenizer} cannot be read ({e.strerror})") from e


def _needs_tokenizer(config: RunConfig) -> bool:
    """Whether the run makes texts, or counts the tokens of the user's texts because a tokenizer is named."""
    if not endpoint_of(config).counts_tokens:
        return False
    if endpoint_of(config).takes_audio:
        return config.tokenizer is not None
    return config.dataset is None or config.recipe is not None or config.tokenizer is not None


def source_of(
    config: RunConfig,
    tokenizer: Tokenizer | None,
    share: WorkerShare | None = None,
    *,
    salt: str | None = None,
    skip: int = 0,
) -> Source[Any]:
    """The requests of a share (None: the whole load), except the first `skip`. Raises UsageError.

    The salt selects the generated texts; None: the same in every run with this seed (--same-prompts).
    """
    worker, step = (0, 1) if share is None else (share.worker, share.workers)
    first = worker + skip * step
    if config.check_answers is not None:
        return _with_probes(config, tokenizer, salt, first=first, step=step)
    return _load_source(config, tokenizer, salt, first=first, step=step)


def _with_probes(
    config: RunConfig, tokenizer: Tokenizer | None, salt: str | None, *, first: int, step: int
) -> Source[Any]:
    """The requests of a run whose answers are checked."""
    from bench.sources.probed import Probed, ProbesAlone, probe_sample

    try:
        probes = config.make_probes()
    except SpecError as e:
        raise UsageError([f"--probes: {problem}" for problem in e.problems]) from e
    takes_messages = endpoint_of(config).takes_messages
    samples = [probe_sample(probe, config.endpoint, takes_messages=takes_messages) for probe in probes]
    place = config.probe_of
    if place is None or config.check_answers == 1:
        return ProbesAlone(samples, first=first, step=step)
    source = _load_source(config, tokenizer, salt, first=first, step=step)
    return Probed(source, samples, place, first=first, step=step, of_sessions=config.mode == "sessions")


def _load_source(
    config: RunConfig, tokenizer: Tokenizer | None, salt: str | None, *, first: int, step: int
) -> Source[Any]:
    places = config.class_places
    if places is None:
        return _source_of(config, tokenizer, salt, first=first, step=step)
    from bench.sources.mixed import Mixed

    classes = [_class_source(run_class, config, tokenizer, salt) for run_class in config.classes]
    return Mixed(classes, places, first=first, step=step)


def _class_source(run_class: RunClass, run: RunConfig, tokenizer: Tokenizer | None, salt: str | None) -> ClassSource:
    """The requests of a class, from the first on."""
    from bench.sources.mixed import ClassSource

    class_tokenizer = tokenizer if _needs_tokenizer(run_class.config) else None
    try:
        source = _source_of(run_class.config, class_tokenizer, salt, run_class=run_class, first=0, step=1)
    except UsageError as e:
        raise UsageError([f"--mix: class {run_class.name}: {problem}" for problem in e.problems]) from e
    drawn = () if run_class.config.models is None else run_class.config.models.names
    named = "model" in run_class.traffic.settings or len(drawn) > 1
    return ClassSource(run_class.name, source, run_class.way, drawn if named else ())


def _source_of(
    config: RunConfig,
    tokenizer: Tokenizer | None,
    salt: str | None,
    *,
    run_class: RunClass | None = None,
    first: int,
    step: int,
) -> Source[Any]:
    try:
        source: Source[Any] = config.data.open(
            tokenizer,
            seed=config.seed,
            salt=salt,
            chat=endpoint_of(config).takes_messages,
            first=first,
            step=step,
        )
    except SpecError as e:
        raise UsageError(e.problems) from e
    except OSError as e:
        raise UsageError(f"--dataset: {config.dataset} cannot be read ({e.strerror})") from e
    return _changed(source, config, tokenizer, salt, run_class, first=first, step=step)


def _changed(
    source: Source[Any],
    config: RunConfig,
    tokenizer: Tokenizer | None,
    salt: str | None,
    run_class: RunClass | None,
    *,
    first: int,
    step: int,
) -> Source[Any]:
    """The source with the items changed as the settings require; the source itself if they change nothing."""
    several = config.models is not None and (
        len(config.models.names) > 1 or (run_class is not None and "model" in run_class.traffic.settings)
    )
    elsewhere = None if run_class is None or run_class.way == Sample(prompt="") else run_class.way
    plain = not several and elsewhere is None and not (config.prompt_ids and tokenizer is not None)
    media = _media_of(config, salt)
    if plain and config.session_header is None and not media:
        return source
    from bench.sources import changed
    from bench.sources.changed import Changed, going, to_ids, to_models, with_session_header

    changes = []
    if several and config.models is not None:
        changes.append(to_models(config.models, config.seed))
    if elsewhere is not None:
        changes.append(going(elsewhere))
    if config.prompt_ids and tokenizer is not None:
        changes.append(to_ids(tokenizer))
    if config.session_header is not None:
        changes.append(with_session_header(config.session_header, salt, source.size))
    if media:
        changes.append(changed.with_media([*media.values()]))
    return Changed(source, changes, first=first, step=step, note=changed.media_note([*media]) if media else None)


def _media_of(config: RunConfig, salt: str | None) -> dict[str, Callable[[int], list[dict[str, object]]]]:
    """The generators of images, audio and video in simulated chats, by name."""
    if (config.images, config.audio, config.video) == (None, None, None) or not endpoint_of(config).takes_messages:
        return {}
    from bench.sources import changed
    from promptset import audio, images, video

    media = {}
    if config.images is not None:
        media["images"] = changed.image_parts(images.parse(config.images), config.seed, salt)
    if config.audio is not None:
        media["audio"] = changed.audio_parts(audio.parse(config.audio), config.seed, salt)
    if config.video is not None:
        media["video"] = changed.video_parts(video.parse(config.video), config.seed, salt)
    return media


def target_of(config: RunConfig) -> Target:
    """The destination of requests."""

    def ns(seconds: float | None) -> int | None:
        return None if seconds is None else round(seconds * NS_PER_S)

    api_key = None if config.api_key is None else config.api_key.get_secret_value()
    custom_headers = [(name, value.strip()) for name, _, value in (h.partition(":") for h in config.header)]
    names = {name.lower() for name, _ in custom_headers}

    def headers(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        return (
            *((name, value) for name, value in endpoint.headers(api_key) if name.lower() not in names),
            *custom_headers,
        )

    def place(endpoint: Endpoint) -> Destination:
        return Destination(urls.url_of(config.url, endpoint), headers(endpoint), endpoint.method)

    usual = place(endpoint_of(config))
    places = {name: place(endpoint) for name, endpoint in ENDPOINTS.items()}
    return Target(
        url=usual.url,
        address=config.addresses[0].address,
        headers=usual.headers,
        method=usual.method,
        others=places,
        ca_file=config.ca_file,
        insecure=config.insecure,
        client_cert=config.client_cert,
        client_key=config.client_key,
        proxy=Proxy.of(config.proxy),
        websocket=config.websocket or endpoint_of(config).only_socket,
        own_headers=config.session_header is not None,
        timeout_connect_ns=ns(config.connect_timeout),
        timeout_first_byte_ns=ns(config.first_byte_timeout),
        timeout_idle_ns=ns(config.idle_timeout),
        timeout_total_ns=ns(config.timeout),
    ).without_credentials()


def run_secrets(config: RunConfig, headers: Iterable[tuple[str, str]]) -> list[str]:
    """Every secret value of the run; `headers` are those that it sends."""
    api_key = None if config.api_key is None else config.api_key.get_secret_value()
    of_proxy = [] if config.proxy is None else secrets_of(config.proxy, (), None)
    urls_of_run = (address.url for address in config.addresses)
    of_urls = [secret for url in urls_of_run for secret in secrets_of(url, headers, api_key, config.extra_body)]
    return [*of_urls, *of_proxy]


def transport_of(config: RunConfig, tokenizer: Tokenizer | None, clock: Clock, worker: int = 0) -> Transport:
    """The chosen transport, not yet open. With several addresses, the transport of one worker."""
    target = target_of(config)
    count: Callable[[str], int] | None = None
    # Only the target's own tokenizer can check the target's counts, so it must be named. And it must be local: asking a
    # server would delay the load, and its own counts would only confirm themselves.
    if tokenizer is not None and not tokenizer.is_remote and (config.tokenizer is not None or config.check_usage):
        count = lambda text: tokenizer.count_plain([text])[0]  # noqa: E731
    endpoint = endpoint_of(config)
    # The endpoint's own headers are not secrets.
    headers = [header for header in target.headers if header not in endpoint.headers(None)]
    redact = redactor(run_secrets(config, headers))
    reading = Reading(endpoint=endpoint, count=count, redact=redact, proxy=target.proxy, store_texts=config.store_texts)
    if config.replica_header is not None:
        reading = replace(reading, replica_headers=(config.replica_header,))
    make = TRANSPORTS[config.transport]
    if len(config.addresses) == 1:
        return make(target, reading, clock)
    from bench.transport.balance import FIRST_WAIT_NS, LONGEST_WAIT_NS, Balance
    from bench.transport.several import SeveralTargets

    each = [
        make(target_of(config.at_address(address)), replace(reading, target=address.name), clock)
        for address in config.addresses
    ]
    weights = [address.weight for address in config.addresses]
    # --watch-scale measures when an address that refuses connections is ready again, so it is tried every second.
    longest_wait_ns = FIRST_WAIT_NS if config.watch_scale else LONGEST_WAIT_NS
    balance = Balance(config.balancing, weights, first=worker, longest_wait_ns=longest_wait_ns)
    return SeveralTargets(each, balance, clock, keeps_sessions=config.affinity == "session")
