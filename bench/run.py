"""One load test, from a configuration to a run directory with its report: the one place that knows every stage.

    config -> workload + schedule -> dispatch -> transport -> records and samples (files) -> evaluate -> report

A run writes down what was seen; every number is made afterwards, from those files, by `evaluate`.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import machine, preflight
from bench.clock import NS_PER_MS, NS_PER_S, Clock, process_clock, utc_now
from bench.config import RunConfig
from bench.dispatch import ClosedLoop, InFlight, OpenLoop, Stop
from bench.errors import UsageError
from bench.evaluate import Result, evaluate
from bench.live import Live
from bench.probe import ProbeResult, choose_model, list_models, probe
from bench.records import Outcome, RequestRecord, to_line
from bench.rng import stream, unique_id
from bench.run_directory import MANIFEST, RunDirectory
from bench.sampling import Sampler
from bench.schedule import ARRIVALS
from bench.secrets import public_command, public_url, redactor, secrets_of
from bench.transport import TRANSPORTS, openai
from bench.transport.interface import Reading, Target, Transport
from bench.workload import Rows, Supply, simulated_samples
from promptset.errors import SpecError
from promptset.tokens import Tokenizer, load_tokenizer

LEAD_NS = 50 * NS_PER_MS
"""From the last preparation to the first send, so that the first arrivals of a schedule are not late already."""

AHEAD = 5_000
"""Requests made before the run at most; those beyond are made as they are needed, at some 0.1 ms each."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a measurement leaves: its directory, and sentences that the user must read (a full disk, say)."""

    directory: RunDirectory
    problems: tuple[str, ...]


def run(
    config: RunConfig,
    *,
    command: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
    before_evaluation: Callable[[RunDirectory], None] = lambda directory: None,
) -> Result:
    """Measure a target and evaluate what was seen. Raises UsageError or TargetError before any load is sent.

    `before_evaluation` may add to the run directory what only the caller has: calibration puts the mock's ledger there.
    """
    path = Path(config.out) if config.out is not None else _default_directory(config)
    RunDirectory.refuse_used(path)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        seen = runner.run(_measure(config, path, command, say))
    try:
        before_evaluation(seen.directory)
        return replace(evaluate(seen.directory), problems=seen.problems)
    except OSError as e:
        raise _unwritten(seen, e) from e


def _unwritten(seen: Seen, error: OSError) -> UsageError:
    """The load was measured and its report cannot be written: where everything is, and how to go on."""
    path = seen.directory.path
    again = f"make room, then render it: python -m bench report {path}"
    return UsageError([*seen.problems, f"the report cannot be written to {path} ({error.strerror}): {again}"])


def _default_directory(config: RunConfig) -> Path:
    return Path("runs") / f"{utc_now():%Y%m%dT%H%M%S}-{config.name}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Not made for Windows. The manifest says which loop it was.
        return None
    return uvloop.new_event_loop


async def _measure(config: RunConfig, path: Path, command: Sequence[str], say: Callable[[str], None]) -> Seen:
    clock = process_clock()
    tokenizer = _tokenizer(config)
    target = _target(config)
    headers = target.headers
    api_key = config.api_key.get_secret_value() if config.api_key is not None else None
    reading = Reading(
        count=_counter(config, tokenizer),
        redact=redactor(secrets_of(config.url, headers, api_key)),
    )
    transport = TRANSPORTS[config.transport](target, reading, clock)
    await transport.open()
    try:
        run_id = f"{config.name}-{unique_id()}"
        samples = _samples(config, tokenizer)
        say(f"probing {public_url(target.url)}")
        probed = await _probe(config, target, transport, clock, run_id, samples)
        for note in probed.notes:
            say(f"note: {note}")
        supply = Supply(samples, lambda sample: openai.encode(sample, probed.options), run_id)
        _make_ahead(supply, config, say)
        preflight.check(_most_in_flight(config))
        await transport.prepare(_connections_ahead(config))
        directory = RunDirectory.create(path)
        manifest = {
            "run_id": run_id,
            "started": utc_now().isoformat(timespec="seconds"),
            "command": public_command(command),
            "model": probed.options.model,
            "notes": list(probed.notes),
            "exact_lengths": probed.options.ignore_eos,
            "tokenizer": None if tokenizer is None else {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
            "clock": clock.name,
            "event_loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
            "versions": machine.versions(),
            "host": machine.host(),
        }
        return await _load(config, directory, manifest, supply, samples, transport, clock, say)
    finally:
        await transport.close()
        clock.close()


def _tokenizer(config: RunConfig) -> Tokenizer | None:
    """The tokenizer that makes prompts and, where it is the target's own, counts replies."""
    if config.dataset is not None and config.tokenizer is None:
        return None
    try:
        return load_tokenizer(config.tokenizer)
    except SpecError as e:
        raise UsageError([f"--tokenizer: {p}" for p in e.problems]) from e


def _counter(config: RunConfig, tokenizer: Tokenizer | None) -> Callable[[str], int] | None:
    """Counts the text of replies. Only the target's own tokenizer can check the target's counts: it must be named."""
    if tokenizer is None or (config.tokenizer is None and not config.check_usage):
        return None
    return lambda text: tokenizer.count_plain([text])[0]


def _samples(config: RunConfig, tokenizer: Tokenizer | None) -> Rows | Any:
    try:
        if config.dataset is not None:
            return Rows.of_file(Path(config.dataset), tokenizer, config.output_tokens, config.seed)
        assert tokenizer is not None
        assert config.output_tokens is not None
        return simulated_samples(
            tokenizer,
            input_tokens=config.input_tokens,
            output_tokens=config.output_tokens,
            chat=config.endpoint == "chat",
            seed=config.seed,
            prefix=config.prefix,
        )
    except SpecError as e:
        raise UsageError(e.problems) from e


def _target(config: RunConfig) -> Target:
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


async def _probe(
    config: RunConfig, target: Target, transport: Transport, clock: Clock, run_id: str, samples: Any
) -> ProbeResult:
    own_body = samples.first if isinstance(samples, Rows) and samples.first.body is not None else None
    names_model = own_body is not None and own_body.body is not None and "model" in own_body.body
    listed = await list_models(config.url, target)
    assert config.endpoint is not None
    options = openai.BodyOptions(
        endpoint=config.endpoint,
        model=choose_model(config.model, listed, bodies_name_one=names_model),
        stream=config.stream,
        ignore_eos=config.ignore_eos,
        extra=config.extra_body,
    )
    return await probe(
        transport, clock, options, run_id=run_id, url=public_url(target.url), own_body=own_body, listed=listed
    )


def _make_ahead(supply: Supply, config: RunConfig, say: Callable[[str], None]) -> None:
    wanted = config.requests
    if wanted is None:
        assert config.duration is not None
        a_second = config.rate if config.rate is not None else _most_in_flight(config)
        wanted = round(a_second * config.duration)
    count = min(wanted + config.warmup_requests, AHEAD)
    say(f"making {count:,} requests")
    try:
        supply.make_ahead(count)
    except SpecError as e:
        raise UsageError(e.problems) from e


def _most_in_flight(config: RunConfig) -> int:
    """Connections that the plan may need at once; an open loop without a cap is taken for ten seconds' arrivals."""
    if config.concurrency is not None:
        return config.concurrency
    if config.max_concurrency is not None:
        return config.max_concurrency
    if config.rate is not None:
        arrivals = round(config.rate * 10)
        return max(1, arrivals if config.requests is None else min(arrivals, config.requests))
    assert config.requests is not None
    return config.requests


def _connections_ahead(config: RunConfig) -> int:
    """Connections to have ready: all that will be in use; of an open loop's, those of its first seconds."""
    if config.mode == "rate" and config.max_concurrency is None:
        return min(_most_in_flight(config), 512)
    return min(_most_in_flight(config), config.requests) if config.requests is not None else _most_in_flight(config)


async def _load(
    config: RunConfig,
    directory: RunDirectory,
    manifest: dict[str, Any],
    supply: Supply,
    samples: Any,
    transport: Transport,
    clock: Clock,
    say: Callable[[str], None],
) -> Seen:
    """Send the load and write what is seen, to the end or to the interruption."""
    stored: dict[str, Any] = {"config": config.public(), "manifest": manifest}
    # What the process has allocated until now is kept for good: the collector need not look at it during the run.
    gc.collect()
    gc.freeze()
    start_ns = clock.now_ns() + LEAD_NS
    stop = Stop(
        clock,
        start_ns=start_ns,
        requests=config.requests,
        duration_ns=None if config.duration is None else round(config.duration * NS_PER_S),
        warmup_requests=config.warmup_requests,
        warmup_ns=round(config.warmup_s * NS_PER_S),
    )
    manifest["start_ns"] = start_ns
    directory.write_manifest(stored)
    records, sample_log = directory.request_log(), directory.sample_log()
    in_flight = InFlight()
    failures = 0
    error_limit = config.max_errors if config.max_errors is not None and config.max_errors.isdecimal() else None

    def on_record(record: RequestRecord) -> None:
        nonlocal failures
        records.append(to_line(record))
        live.add(record)
        if record.phase == "run" and record.outcome not in (Outcome.OK, Outcome.INTERRUPTED, Outcome.DROPPED):
            failures += 1
            if error_limit is not None and failures > int(error_limit):
                stop.now("errors")

    dispatcher = _dispatcher(config, supply, transport, clock, stop, in_flight, on_record)

    def counts(at_ns: int) -> dict[str, int]:
        return {
            "in_flight": in_flight.now,
            "in_flight_ns": in_flight.integral_ns(at_ns),
            "planned": dispatcher.planned,
            "sent": dispatcher.sent,
            "done": dispatcher.done,
        }

    live = Live(clock, counts, _goal(config), sys.stderr, quiet=config.quiet)
    sampler = Sampler(clock, counts, sample_log.append)
    with _Interrupts(stop, transport, in_flight, live):
        sampler.start()
        live.start()
        await dispatcher.run(start_ns)
        sampler.stop()
        live.stop()
    gc.unfreeze()
    problems = [p for p in (records.close(), sample_log.close()) if p is not None]
    manifest["run_start_ns"] = stop.run_start_ns
    manifest["stop_reason"] = "interrupted" if stop.interrupted else stop.reason
    manifest["ended"] = utc_now().isoformat(timespec="seconds")
    if isinstance(samples, Rows) and samples.repeated:
        manifest["notes"].append(f"the data set has {len(samples)} rows: {samples.repeated} requests repeat one")
    try:
        directory.write_manifest(stored)
    except OSError as e:
        problems.append(f"{directory.path / MANIFEST}: {e.strerror}; it stays as it was when the load began")
    return Seen(directory, tuple(problems))


def _dispatcher(
    config: RunConfig,
    supply: Supply,
    transport: Transport,
    clock: Clock,
    stop: Stop,
    in_flight: InFlight,
    on_record: Callable[[RequestRecord], None],
) -> OpenLoop | ClosedLoop:
    if config.mode == "rate":
        assert config.rate is not None
        assert config.arrivals is not None
        return OpenLoop(
            offsets=ARRIVALS[config.arrivals](config.rate, config.burstiness, stream(config.seed, "arrivals")),
            cap=config.max_concurrency,
            drop_late=config.drop_late,
            supply=supply,
            transport=transport,
            clock=clock,
            stop=stop,
            in_flight=in_flight,
            on_record=on_record,
        )
    return ClosedLoop(
        # Maximum throughput: as many users as there are requests to send, or as may be in flight.
        users=_most_in_flight(config) if config.requests is None else min(_most_in_flight(config), config.requests),
        ramp_ns=round(config.ramp * NS_PER_S),
        supply=supply,
        transport=transport,
        clock=clock,
        stop=stop,
        in_flight=in_flight,
        on_record=on_record,
    )


def _goal(config: RunConfig) -> str:
    goals = []
    if config.requests is not None:
        goals.append(f"{config.requests:,} requests")
    if config.duration is not None:
        goals.append(f"{config.duration:g} s")
    return " or ".join(goals)


class _Interrupts:
    """The first Ctrl-C ends the sending and lets what is in flight end; the second cuts. SIGTERM cuts at once."""

    def __init__(self, stop: Stop, transport: Transport, in_flight: InFlight, live: Live) -> None:
        self._stop = stop
        self._transport = transport
        self._in_flight = in_flight
        self._live = live

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGTERM, self._terminate)

    def __exit__(self, *exc: object) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)

    def _interrupt(self) -> None:
        if self._stop.interrupted:
            self._transport.cut()
            return
        self._stop.interrupt()
        self._live.say(f"stopping: waiting for {self._in_flight.now} requests in flight (Ctrl-C again cuts them)")

    def _terminate(self) -> None:
        self._stop.interrupt()
        self._transport.cut()
