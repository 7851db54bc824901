"""Before the load: waits until a server can be measured (--wait-for-server), then probes it.

While waiting it sends a short request each second until one is answered. A starting server gives no answer, drops the
connection, or answers with a status in `_STARTING`. Any other answer ends the wait, even a refusal: the probe comes
next and has an error message for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.clock import NS_PER_S, Clock, process_clock, sleep_until
from bench.endpoints.choice import endpoint_of, own_endpoint
from bench.endpoints.interface import BodyOptions
from bench.errors import TargetError
from bench.load.components import target_of, transport_of
from bench.observer import Observer
from bench.process.event_loop import loop_factory
from bench.proxy import is_of_proxy
from bench.records import Outcome, RequestRecord
from bench.secrets import public_url
from bench.sources.interface import Source
from bench.target.models import ModelList, choose_model, list_models
from bench.target.probe import (
    AskedServer,
    ProbeResult,
    ask,
    diagnose,
    is_of_tls,
    probe,
    samples_to_ask,
    what_came,
)
from bench.target.server_limits import stated_limits
from bench.transport.interface import Target, Transport
from bench.transport.several import SeveralTargets
from promptset.samples import Sample

if TYPE_CHECKING:
    from bench.config import RunConfig

_EVERY_NS = NS_PER_S
_LEAST_S = 1.0
"""The least timeout of the last request, however little time is left."""
_STARTING = (429, 502, 503, 504, 529)
_BROKEN = (
    Outcome.TIMEOUT_CONNECT,
    Outcome.TIMEOUT_FIRST_BYTE,
    Outcome.TIMEOUT_IDLE,
    Outcome.TIMEOUT_TOTAL,
    Outcome.INTERRUPTED,
    Outcome.RESET,
)


def wait_until_ready(config: RunConfig, observer: Observer) -> None:
    """Call `wait_for_server` with the configured patience, for callers without an event loop."""

    async def wait() -> None:
        clock = process_clock()
        try:
            await wait_for_server(config, config.wait_for_server, clock, observer)
        finally:
            clock.close()

    if config.wait_for_server is not None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(wait())


async def wait_for_server(config: RunConfig, patience_s: float | None, clock: Clock, observer: Observer) -> None:
    """Return when the server answers; at once if `patience_s` is None. Raises TargetError when the time is up."""
    if patience_s is None:
        return
    began_ns = clock.now_ns()
    until_ns = began_ns + round(patience_s * NS_PER_S)
    reason = "no answer yet"
    number = 0
    waited_for = [config.at_address(place) for place in config.addresses]
    with observer.waiting(lambda: f"waiting up to {patience_s:g} s for the server: {reason}"):
        while True:
            asked_ns = clock.now_ns()
            left_s = max(_LEAST_S, (until_ns - asked_ns) / NS_PER_S)
            timeout_s = min(config.probe_timeout, left_s)
            answers = await asyncio.gather(*(_answer(place, clock, number, timeout_s) for place in waited_for))
            number += 1
            starting = [
                (place, answer)
                for place, answer in zip(waited_for, answers, strict=True)
                if is_starting(answer[0], answer[1])
            ]
            if not starting:
                break
            if clock.now_ns() >= until_ns:
                late = f"the server was not ready within {patience_s:g} s (--wait-for-server): "
                raise TargetError("\n".join(late + _what_is_wrong(place, answer) for place, answer in starting))
            reason = _reason(starting[0][1][0])
            if len(config.addresses) > 1:
                reason = f"{len(starting)} of {len(config.addresses)} addresses: {reason}"
            waited_for = [place for place, _ in starting]
            await sleep_until(clock, min(until_ns, asked_ns + _EVERY_NS))
    if number > 1:
        observer.say(f"the server is ready after {(clock.now_ns() - began_ns) / NS_PER_S:.0f} s")


def _what_is_wrong(config: RunConfig, answer: tuple[RequestRecord, Sequence[str] | None, BodyOptions]) -> str:
    record, listed, options = answer
    return str(diagnose(record, _shown(config), options, listed, authorized=True))


def _shown(config: RunConfig) -> str:
    """The URL (and address) that requests go to, in a run with one address."""
    url, address = public_url(target_of(config).url), config.addresses[0].address
    return url if address is None else f"{url} ({address})"


def is_starting(record: RequestRecord, listed: Sequence[str] | None) -> bool:
    """Whether this reply comes from a server that is still starting. `listed`: the models that it lists, if any."""
    if record.outcome is Outcome.CONNECT_ERROR:
        return not is_of_tls(record) and not is_of_proxy(record.error)
    if record.outcome is Outcome.HTTP_ERROR:
        # A proxy has no route to a server that is not up yet. If it lists models, it is up: the path is wrong.
        return record.status in _STARTING or (record.status == 404 and listed is None)
    return record.outcome in _BROKEN


def _reason(record: RequestRecord) -> str:
    """Why the server is not ready, in a few words."""
    if record.outcome is Outcome.HTTP_ERROR:
        return f"status {record.status}" + (f", {record.error}" if record.error else "")
    return what_came(record) if record.outcome is Outcome.INTERRUPTED else record.error or what_came(record)


async def _answer(
    config: RunConfig, clock: Clock, number: int, timeout_s: float
) -> tuple[RequestRecord, Sequence[str] | None, BodyOptions]:
    """The server's reply to a request for a few tokens, the models that it lists, and the options of the request.

    Uses a new connection, so that a host name that has moved to a new address is looked up again.
    """
    models = await _listed_models(config, target_of(config), timeout_s)
    listed = None if models is None else models.ids
    named = None if config.models is None else config.models.names[0]
    options = BodyOptions(
        endpoint=config.endpoint,
        own=own_endpoint(config),
        model=choose_model(named, listed, all_named=True),
        stream=config.stream,
        websocket=config.websocket,
    )
    transport = transport_of(config, None, clock)
    await transport.open()
    try:
        hello = samples_to_ask(endpoint_of(config), (), None)[0]
        return await ask(transport, clock, hello, options, f"probe-ready-{number}", timeout_s), listed, options
    finally:
        await transport.close()


async def _listed_models(config: RunConfig, target: Target, timeout_s: float | None) -> ModelList | None:
    """The models that the server lists; None if it lists none, or its API cannot list them."""
    return await list_models(config.url, target, timeout_s) if endpoint_of(config).lists_models else None


async def probe_servers(
    config: RunConfig, transport: Transport, clock: Clock, run_id: str, source: Source[object]
) -> ProbeResult:
    """Probe every address of a run before its load. Returns the result of the first that is ready.

    Raises TargetError, with a sentence for each address that cannot be measured.
    """
    if not isinstance(transport, SeveralTargets):
        return await probe_server(config, transport, clock, run_id, source)
    places = [config.at_address(address) for address in config.addresses]
    probes = (
        probe_server(place, target_transport, clock, run_id if number == 0 else f"{run_id}-{number}", source)
        for number, (place, target_transport) in enumerate(zip(places, transport.transports, strict=True))
    )
    results = await asyncio.gather(*probes, return_exceptions=True)
    wrong = [result for result in results if isinstance(result, BaseException)]
    if defect := next((error for error in wrong if not isinstance(error, TargetError)), None):
        raise defect
    if wrong:
        raise TargetError("\n".join(map(str, wrong)))
    probed = [result for result in results if isinstance(result, ProbeResult)]
    # One that is still starting (--watch-scale) cannot report its models or the options that it accepts.
    ready = [(address, r) for address, r in zip(config.addresses, probed, strict=True) if r.is_ready]
    if len({result.options.model for _, result in ready}) > 1:
        served = "; ".join(f"{address.name}: {result.options.model}" for address, result in ready)
        raise TargetError(f"the addresses list different models first ({served}): name one with --model")
    notes = dict.fromkeys(note for result in probed for note in result.notes)
    return replace(ready[0][1] if ready else probed[0], notes=tuple(notes))


async def probe_server(
    config: RunConfig, transport: Transport, clock: Clock, run_id: str, source: Source[object]
) -> ProbeResult:
    """Send the probe of a run before its load. Raises TargetError."""
    target = target_of(config)
    models = await _listed_models(config, target, config.probe_timeout)
    listed = None if models is None else models.ids
    options = BodyOptions(
        endpoint=config.endpoint,
        own=own_endpoint(config),
        model=choose_model(
            None if config.models is None else config.models.names[0], listed, all_named=source.names_models
        ),
        keep_models=config.model is None,
        stream=config.stream,
        ignore_eos=config.ignore_eos,
        tool_choice=config.tool_choice,
        extra=config.extra_body,
        websocket=config.websocket,
    )
    authorized = any(name.lower() in ("authorization", "x-api-key") for name, _ in target.headers)
    probed = await probe(
        transport,
        clock,
        options,
        run_id=run_id,
        samples=samples_to_ask(
            endpoint_of(config),
            source.ways if config.classes else _apart(source, config),
            source.own_body,
            models=_drawn(config),
            all_named=source.names_models or bool(config.classes),
        ),
        server=AskedServer(
            _shown(config),
            listed,
            authorized,
            may_start=lambda record: config.watch_scale and is_starting(record, listed),
        ),
        classes=_classes_of_ways(config, source),
        timeout_s=config.probe_timeout,
    )
    if models is None:
        return probed
    return replace(probed, limits=await stated_limits(config.url, target, models.owners, config.probe_timeout))


def _classes_of_ways(config: RunConfig, source: Source[object]) -> Sequence[str]:
    """The class of each of the source's ways; empty without classes."""
    if not config.classes:
        return ()
    from bench.sources.mixed import Mixed

    return source.classes_of_ways if isinstance(source, Mixed) else ()


def _apart(source: Source[object], config: RunConfig) -> list[Sample]:
    """Samples with another model or endpoint than the run's. --model makes whole bodies alike: it replaces their
    models."""
    replaced = config.model is not None
    return [
        way
        for way in source.ways
        if not (replaced and way.body is not None and way.endpoint is None and way.model is None)
    ]


def _drawn(config: RunConfig) -> tuple[str, ...]:
    """The models that the run draws from; empty if it sends to only one."""
    mix = config.models
    return () if mix is None or len(mix.names) == 1 or config.classes else mix.names


def models_of_run(source: Source[object], config: RunConfig, usual: str | None) -> tuple[str, ...]:
    """The models that the run draws or its data names. Empty if there is only one."""
    named = [
        way.model if way.model is not None or way.body is None else way.body.get("model")
        for way in _apart(source, config)
    ]
    names = dict.fromkeys(str(name) for name in [*_drawn(config), *named] if name is not None)
    if usual is not None and not source.names_models:
        names.setdefault(usual)
    return tuple(names) if len(names) > 1 else ()
