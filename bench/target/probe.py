"""One request before the load, and a sentence for whatever would have made every request of the load fail.

The probe asks for a few tokens with the very options of the run. Where a server refuses an option that not every server
knows (`stream_options`, `ignore_eos`), it is tried without, and the report says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from bench.clock import Clock
from bench.endpoints import encode, urls
from bench.endpoints.interface import BodyOptions
from bench.errors import TargetError
from bench.records import TOKEN_KINDS, Outcome, RequestRecord
from bench.target import side_requests
from bench.transport.interface import Target, Transport
from bench.workload import Request
from promptset.samples import Sample

PROBE_TOKENS = 4


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the probe found out: the options that the server takes, the model, and what the report has to say of it."""

    options: BodyOptions
    notes: tuple[str, ...]
    record: RequestRecord


async def list_models(url: str, target: Target) -> list[str] | None:
    """The ids of the models that the server lists; None where it does not."""
    content = await side_requests.get(urls.models_url(url), target)
    try:
        return None if content is None else [str(model["id"]) for model in orjson.loads(content)["data"]]
    except (ValueError, TypeError, KeyError):
        # Whatever is wrong here, the probe itself will meet it and say it better.
        return None


def choose_model(asked: str | None, listed: Sequence[str] | None, *, bodies_name_one: bool) -> str | None:
    """The model to put into requests. Raises TargetError where none can be told."""
    if asked is not None or bodies_name_one:
        return asked
    if not listed:
        return None
    if len(listed) > 1:
        raise TargetError(f"the server has several models: choose one with --model ({', '.join(listed[:10])})")
    return listed[0]


async def probe(
    transport: Transport,
    clock: Clock,
    options: BodyOptions,
    *,
    run_id: str,
    url: str,
    own_body: Sample | None,
    listed: Sequence[str] | None,
) -> ProbeResult:
    """Send the probe. Raises TargetError with one sentence that says what is wrong and what to do."""
    notes: list[str] = []
    sample = own_body if own_body is not None else Sample(prompt="Say hello.", output_tokens=PROBE_TOKENS)
    record = await _send(transport, clock, sample, options, f"probe-{run_id}-0")
    for number, (name, without) in enumerate(_fallbacks(options), 1):
        if record.outcome is Outcome.HTTP_ERROR and record.status in (400, 422):
            tried = await _send(transport, clock, sample, without, f"probe-{run_id}-{number}")
            if tried.outcome is Outcome.OK:
                notes.append(f"the server refuses {name} (status {record.status}): the run goes without it")
                record, options = tried, without
    if (problem := diagnose(record, url, options, listed)) is not None:
        raise TargetError(problem)
    if options.stream and options.ask_usage and record.output_tokens_from != "usage":
        notes.append("the server reports no usage: output tokens are counted by the client")
    return ProbeResult(options, tuple(notes), record)


def _fallbacks(options: BodyOptions) -> list[tuple[str, BodyOptions]]:
    without = []
    if options.stream and options.ask_usage:
        without.append(("stream_options", replace(options, ask_usage=False)))
    if options.ignore_eos:
        without.append(("ignore_eos", replace(options, ignore_eos=False)))
    if len(without) == 2:
        without.append(("stream_options and ignore_eos", replace(options, ask_usage=False, ignore_eos=False)))
    return without


async def _send(
    transport: Transport, clock: Clock, sample: Sample, options: BodyOptions, request_id: str
) -> RequestRecord:
    encoded = encode(sample, options)
    request = Request(
        id=request_id,
        index=0,
        phase="warmup",
        body=encoded.body,
        stream=encoded.stream,
        input_tokens_asked=None,
        output_tokens_asked=encoded.output_tokens_asked,
    )
    answered: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
    now = clock.now_ns()
    # Who pressed Ctrl-C no longer waits for the answer; its record comes all the same.
    transport.start(request, now, now, lambda record: None if answered.done() else answered.set_result(record))
    return await answered


def diagnose(record: RequestRecord, url: str, options: BodyOptions, listed: Sequence[str] | None) -> str | None:
    """What the probe's record says is wrong, in one sentence with what to do; None where the run can begin."""
    outcome, said = record.outcome, record.error
    match outcome:
        case Outcome.CONNECT_ERROR:
            return f"cannot connect to {url}: {said}. Is the server running there, and is the port right?"
        case Outcome.TIMEOUT_CONNECT:
            return (
                f"cannot connect to {url}: no answer in time. Is the host right, and does a firewall let you through?"
            )
        case Outcome.TIMEOUT_FIRST_BYTE | Outcome.TIMEOUT_TOTAL | Outcome.TIMEOUT_IDLE:
            return f"{url} took the request and did not answer in time ({said}): is its model loaded yet?"
        case Outcome.HTTP_ERROR:
            return _http_problem(record, url, options, listed)
        case Outcome.STREAM_ERROR:
            return f"the server answered with an error inside the stream: {said}"
        case Outcome.RESET:
            return f"{url}: {said}. Does an http:// URL point at an https:// port, or the other way round?"
        case Outcome.NO_TOKENS:
            return f"the server answered, but no chunk bears text ({said}). Does the model answer at all?"
        case Outcome.TRUNCATED | Outcome.MALFORMED:
            return f"the reply of {url} is not what an OpenAI-compatible server sends: {said}"
        case Outcome.INTERRUPTED:
            return f"the probe of {url} did not end: {said}"
    if options.stream and not record.streamed:
        return (
            "the server does not stream: it answered a streaming request in one piece. Use --no-stream for E2EL alone"
        )
    if options.stream and not TOKEN_KINDS & set(record.chunk_kind):
        return "the server streams, but no chunk bears text: TTFT cannot be measured. Does the model answer at all?"
    return None


def _http_problem(record: RequestRecord, url: str, options: BodyOptions, listed: Sequence[str] | None) -> str:
    status, said = record.status, record.error
    if status in (401, 403):
        return f"the server refuses access (status {status}: {said}): give its key with --api-key or OPENAI_API_KEY"
    if status in (400, 404) and listed is not None and options.model is not None and options.model not in listed:
        return f"the server has no model {options.model!r} (status {status}): it lists {', '.join(listed[:10])}"
    if status in (404, 405):
        return (
            f"{url} is not there (status {status}: {said}): check the path; "
            "--url takes the server's root, its /v1, or the whole path"
        )
    if status in (429, 503):
        return f"the server is not taking requests (status {status}: {said}): wait until it is ready"
    return f"the server refuses the request (status {status}: {said})"
