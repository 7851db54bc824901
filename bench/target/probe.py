"""One request before the load, and a sentence for any problem that would make every request of the load fail.

The probe asks for a few tokens with exactly the options of the run. If a server refuses an option that not every server
knows (`stream_options`, `ignore_eos`), the probe retries without it, and the report notes this. If the few tokens have
no text, because a model reasons first and its reasoning is hidden, the probe asks for more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from bench.clock import NS_PER_S, Clock, sleep_until
from bench.endpoints import ENDPOINTS, encode, urls, used_by
from bench.endpoints.interface import BodyOptions, Endpoint
from bench.errors import TargetError
from bench.proxy import is_of_proxy, proxy_in
from bench.records import TOKEN_KINDS, Outcome, RequestRecord
from bench.target.models import some_of, unlisted
from bench.transport.interface import Transport
from bench.workload import Request, route_of
from promptset.samples import Sample

MORE_TIMES, MOST_TOKENS = 8, 2048
"""The factor by which the probe raises its limit if no token had text, and the highest limit."""
BUSY_TRIES = 3
"""How many times a server may answer 429 (too many requests) before the run gives up."""
_TOO_MANY = 429
_TIMEOUTS = {
    Outcome.TIMEOUT_FIRST_BYTE: "--first-byte-timeout",
    Outcome.TIMEOUT_TOTAL: "--timeout",
    Outcome.TIMEOUT_IDLE: "--idle-timeout",
}
"""The flag that sets each limit."""
_LATE = (*_TIMEOUTS, Outcome.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class AskedServer:
    """A server as the probe knows it. `listed`: the models that it lists, if any. `authorized`: a key is sent."""

    url: str
    listed: Sequence[str] | None
    authorized: bool
    may_start: Callable[[RequestRecord], bool]
    """Whether the run begins despite this answer. The probe then asks nothing more."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of the probe: the options that the server accepts, the model, and notes for the report."""

    options: BodyOptions
    notes: tuple[str, ...]
    record: RequestRecord
    limits: Mapping[str, int] = field(default_factory=dict)
    """The limits that the server states (server_limits.py)."""
    is_ready: bool = True
    """If not ready, the run begins anyway (--watch-scale)."""


async def probe(
    transport: Transport,
    clock: Clock,
    options: BodyOptions,
    *,
    run_id: str,
    server: AskedServer,
    samples: Sequence[Sample],
    classes: Sequence[str] = (),
    timeout_s: float | None = None,
) -> ProbeResult:
    """Send the probe, for at most `timeout_s`. Raises TargetError with one sentence: what is wrong and what to do.

    Sends one request for each of `samples`, one after the other; the first finds out which options the server accepts.
    `classes`: the class of traffic of each sample, if the run has classes.
    """
    url, listed, authorized = server.url, server.listed, server.authorized
    notes: list[str] = []
    sample, *others = samples
    record = await ask_unless_busy(transport, clock, sample, options, f"probe-{run_id}-0", timeout_s)
    for number, (name, without) in enumerate(_fallbacks(options), 1):
        if record.outcome is Outcome.HTTP_ERROR and record.status in (400, 422):
            tried = await ask(transport, clock, sample, without, f"probe-{run_id}-{number}", timeout_s)
            if tried.outcome is Outcome.OK:
                notes.append(f"the server refuses {name} (status {record.status}): the run goes without it")
                record, options = tried, without
    if server.may_start(record):
        why = f"status {record.status}" if record.status is not None else record.error or what_came(record)
        return ProbeResult(
            options,
            (*notes, f"the probe found no server that is ready ({why}): the load is sent"),
            record,
            is_ready=False,
        )
    record, extra = await _until_text(transport, clock, record, sample, options, f"probe-{run_id}-more", timeout_s)
    notes += extra
    if (problem := _diagnose(record, sample, url, options, listed, authorized)) is not None:
        raise TargetError(f"class {classes[0]}: {problem}" if classes else problem)
    named = [record.model]
    for number, other in enumerate(others, 1):
        request_id = f"probe-{run_id}-of-{number}"
        asked = await ask(transport, clock, other, options, request_id, timeout_s)
        asked, extra = await _until_text(transport, clock, asked, other, options, f"{request_id}-more", timeout_s)
        notes += (note for note in extra if note not in notes)
        named.append(asked.model)
        if (problem := _diagnose(asked, other, url, options, listed, authorized)) is not None:
            who = [f"class {classes[number]}"] if classes else []
            raise TargetError(f"{', '.join(filter(None, [*who, _named(other)]))}: {problem}")
    notes += unlisted([options.model if name is None else name for name in named], listed)
    if options.stream and options.ask_usage and used_by(options).generates and record.output_tokens_from != "usage":
        impossible = record.usage_contradiction
        why = "has no usage" if impossible is None else f"has an impossible usage ({impossible})"
        notes.append(f"the reply to the probe {why}: output tokens of such replies are counted by the client")
    return ProbeResult(options, tuple(notes), record)


async def _until_text(
    transport: Transport,
    clock: Clock,
    record: RequestRecord,
    sample: Sample,
    options: BodyOptions,
    request_id: str,
    timeout_s: float | None,
) -> tuple[RequestRecord, list[str]]:
    """The probe's record, after more requests with higher limits if the limit left no room for text; and notes about
    it.

    A request body from the data keeps its limit, since the run sends it unchanged.
    """
    asked = sample.output_tokens
    first = asked
    while (
        record.outcome is Outcome.NO_TOKENS
        and sample.body is None
        and asked is not None
        and asked < MOST_TOKENS
        and not _ended_by_itself(record, asked)
    ):
        asked = min(asked * MORE_TIMES, MOST_TOKENS)
        more = replace(sample, output_tokens=asked)
        record = await ask(transport, clock, more, options, f"{request_id}-{asked}", timeout_s)
    if asked == first:
        return record, []
    return record, [f"the first {first} tokens of a reply have no text: the probe asked for {asked} tokens to see some"]


def _ended_by_itself(record: RequestRecord, asked: int) -> bool:
    """Whether the server reports that the reply ended before its limit, so that a higher limit would change nothing."""
    return record.output_tokens_from == "usage" and record.output_tokens is not None and record.output_tokens < asked


def samples_to_ask(
    endpoint: Endpoint,
    ways: Sequence[Sample],
    own_body: Sample | None,
    *,
    models: Sequence[str] = (),
    all_named: bool = False,
) -> list[Sample]:
    """The requests of the probe: one for each of the `models` among which a run draws, and one for each of the `ways`
    in which rows of the data differ in route. If `all_named`, only the latter."""
    usual = own_body if own_body is not None else _hello(endpoint, Sample())
    by_model = [replace(usual, model=model) for model in models] if models else [usual]
    by_way = [way if way.body is not None else _hello(endpoint, way) for way in ways]
    return by_way if by_way and all_named else by_model + by_way


def _hello(endpoint: Endpoint, way: Sample) -> Sample:
    """A request for a few tokens, with this sample's route; `endpoint` is the run's."""
    return Sample(
        prompt="Say hello.",
        output_tokens=(endpoint if way.endpoint is None else ENDPOINTS[way.endpoint]).probe_tokens,
        endpoint=way.endpoint,
        model=way.model,
        headers=way.headers,
        priority=way.priority,
    )


def _named(sample: Sample) -> str:
    model = sample.model
    if model is None and sample.body is not None and isinstance(sample.body.get("model"), str):
        model = sample.body["model"]
    parts = [] if sample.endpoint is None else [f"endpoint {sample.endpoint}"]
    return ", ".join([*parts, *([] if model is None else [f"model {model}"])])


def _diagnose(
    record: RequestRecord,
    sample: Sample,
    url: str,
    options: BodyOptions,
    listed: Sequence[str] | None,
    authorized: bool,
) -> str | None:
    """`diagnose`, for a request whose route may differ from the run's."""
    if sample.endpoint is not None:
        url = urls.endpoint_url(url, sample.endpoint)
    if sample.model is not None:
        options = replace(options, model=sample.model)
    authorized = authorized or any(name.lower() in ("authorization", "x-api-key") for name, _ in sample.headers)
    return diagnose(record, url, options, listed, authorized)


def _fallbacks(options: BodyOptions) -> list[tuple[str, BodyOptions]]:
    without, usage_field = [], used_by(options).usage_field
    if options.stream and options.ask_usage and used_by(options).usage_on_request:
        without.append((usage_field, replace(options, ask_usage=False)))
    if options.ignore_eos:
        without.append(("ignore_eos", replace(options, ignore_eos=False)))
    if len(without) == 2:
        without.append((f"{usage_field} and ignore_eos", replace(options, ask_usage=False, ignore_eos=False)))
    return without


async def ask(
    transport: Transport,
    clock: Clock,
    sample: Sample,
    options: BodyOptions,
    request_id: str,
    timeout_s: float | None,
) -> RequestRecord:
    """Send one request, for at most `timeout_s`. Returns its record."""
    encoded = encode(sample, options)
    request = Request(
        id=request_id,
        index=0,
        phase="warmup",
        body=encoded.body,
        stream=encoded.stream,
        input_tokens_asked=None,
        output_tokens_asked=encoded.output_tokens_asked,
        batch=encoded.batch,
        route=route_of(sample, encoded.url_model),
        model=encoded.model,
    )
    answered: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
    now = clock.now_ns()
    # After Ctrl-C nothing waits for the answer, but its record still arrives.
    transport.start(request, now, now, lambda record: None if answered.done() else answered.set_result(record))
    timer = None if timeout_s is None else clock.call_at(now + round(timeout_s * NS_PER_S), transport.cut)
    try:
        return await answered
    finally:
        if timer is not None:
            timer.cancel()


async def ask_unless_busy(
    transport: Transport,
    clock: Clock,
    sample: Sample,
    options: BodyOptions,
    request_id: str,
    timeout_s: float | None,
) -> RequestRecord:
    """Send one request; if the server answers that there are too many (429), retry after a second: `BUSY_TRIES` in
    total."""
    record = await ask(transport, clock, sample, options, request_id, timeout_s)
    for again in range(1, BUSY_TRIES):
        if record.status != _TOO_MANY:
            break
        await sleep_until(clock, clock.now_ns() + NS_PER_S)
        record = await ask(transport, clock, sample, options, f"{request_id}-again-{again}", timeout_s)
    return record


def _proxy_hint(url: str) -> str:
    """A hint that the environment names a proxy for such a URL and it is not used. Empty if the environment names none."""
    parts = urlsplit(url)
    if parts.scheme not in getproxies_environment() or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    return (
        f" Trueload connects directly, and not through the proxy of {parts.scheme.upper()}_PROXY, whose delays it would "
        "measure: give it with --proxy if the server cannot be reached without it."
    )


def _no_end(record: RequestRecord, url: str) -> str:
    """The sentence for a probe that did not finish in time."""
    proxy = proxy_in(record.error)
    if proxy and record.sent_ns is None:
        return (
            f"cannot connect to {url}: no connection through the proxy {proxy} in time. Is the proxy of --proxy right?"
        )
    loaded = f"Does the proxy {proxy} work, is the server's model loaded yet" if proxy else "Is its model loaded yet"
    if record.outcome is Outcome.INTERRUPTED:
        return (
            f"{url} did not answer the probe in time: {what_came(record)}. {loaded}, and is it the right server? "
            "--probe-timeout sets how long to wait"
        )
    return (
        f"{url} did not answer in time ({record.error}): {what_came(record)}. {loaded}, and is "
        f"{_TIMEOUTS[record.outcome]} long enough?"
    )


def diagnose(
    record: RequestRecord, url: str, options: BodyOptions, listed: Sequence[str] | None, authorized: bool
) -> str | None:
    """One sentence on the problem in the probe's record, and what to do. Returns None if the run can begin."""
    outcome, error = record.outcome, record.error
    match outcome:
        case Outcome.CONNECT_ERROR if is_of_proxy(error):
            return error
        case Outcome.CONNECT_ERROR:
            return _tls_problem(url, error or "") or (
                f"cannot connect to {url}: {error}. Is the server running there, and are its host and port right?"
                f"{_proxy_hint(url)}"
            )
        case Outcome.TIMEOUT_CONNECT if error is not None and "the proxy" in error:
            return f"cannot connect to {url}: {error}. Is the proxy of --proxy right?"
        case Outcome.TIMEOUT_CONNECT:
            if url.startswith("https:"):
                return f"cannot connect to {url}: no TLS handshake in time. Is the host right, and is it an https port?"
            return (
                f"cannot connect to {url}: no answer in time. Is the host right, and does a firewall let you through?"
                f"{_proxy_hint(url)}"
            )
        case _ if outcome in _LATE:
            return _no_end(record, url)
        case Outcome.HTTP_ERROR:
            return _http_problem(record, url, options, listed, authorized)
        case Outcome.STREAM_ERROR:
            return f"the server answered with an error inside the stream: {error}"
        case Outcome.RESET | Outcome.TRUNCATED if record.status is not None and TOKEN_KINDS & set(record.chunk_kind):
            return f"{url} broke off its reply ({error}): {what_came(record)}. Does the server's log say why?"
        case Outcome.RESET:
            return _reset_problem(url, error or "")
        case Outcome.NO_TOKENS:
            asked = record.output_tokens_asked
            most = f" in {asked:,} tokens" if asked is not None else ""
            return f"the server answered, but no chunk has text{most} ({error}). Does the model answer at all?"
        case Outcome.TRUNCATED | Outcome.MALFORMED:
            if not used_by(options).counts_tokens:
                return f"the reply of {url} is no success: {error}"
            return (
                f"the reply of {url} is not what {used_by(options).spoken_by} sends: {error}. "
                "Are the port and the path those of its API?"
            )
    if options.stream and not record.streamed:
        return (
            "the server does not stream: it answered a streaming request in one piece. Use --no-stream for E2EL alone"
        )
    api = used_by(options)
    has_text = bool((TOKEN_KINDS | {"a"}) & set(record.chunk_kind))
    if options.stream and api.generates and not has_text and not api.may_be_silent:
        return "the server streams, but no chunk has text: TTFT cannot be measured. Does the model answer at all?"
    return None


def _reset_problem(url: str, error: str) -> str:
    """The likely cause of a reset before any text."""
    if (refused := _tls_problem(url, error)) is not None:
        return refused
    if url.startswith("https:"):
        return (
            f"{url}: {error}. Does the URL point at an http:// port, or does the server want a client certificate "
            "(--client-cert), or refuse the one that it gets?"
        )
    return f"{url}: {error}. Does an http:// URL point at an https:// port?"


def what_came(record: RequestRecord) -> str:
    """How far an unfinished request got."""
    if record.sent_ns is None:
        return "no connection could be made"
    if record.first_byte_ns is None:
        return "it took the connection and the request, and sent no byte"
    if record.status is None:
        return "it sent the beginning of a response, and no whole head"
    if not record.bytes_received:
        return f"it sent the head of a response (status {record.status}), and no body"
    events = f" in {len(record.chunk_ns):,} events" if record.chunk_ns else ""
    return f"it sent {record.bytes_received:,} bytes{events} (status {record.status}), and no end"


def is_of_tls(record: RequestRecord) -> bool:
    """Whether the connection failed because of TLS, so that waiting does not help."""
    return _tls_problem("", record.error or "") is not None


_OTHER_CURES = {
    " mismatch": "give the URL with the name that the certificate is for",
    "has expired": "give the server a new one",
    "not yet valid": "check the clock of this machine",
}
"""The remedy for each message of OpenSSL about a certificate. For all others, the authority is unknown."""


def _tls_problem(url: str, error: str) -> str | None:
    """What OpenSSL's message means to the user. Returns None if it is not about TLS."""
    if "ALERT_" in error and ("CERTIFICATE" in error or "UNKNOWN_CA" in error or "HANDSHAKE_FAILURE" in error):
        return _refused_certificate(url, error)
    if any(word in error for word in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")):
        return f"{url} does not speak TLS: give its URL with http:// instead of https://"
    if "CERTIFICATE_VERIFY_FAILED" in error:
        why = (
            error.partition("certificate verify failed: ")[2].partition(" (_ssl")[0].rstrip(".")
            or "it cannot be checked"
        )
        cure = next(
            (cure for words, cure in _OTHER_CURES.items() if words in why),
            "give the authority that signed it with --ca-file",
        )
        return f"the certificate of {url} is not trusted ({why}): {cure}, or check nothing with --insecure"
    return None


def _refused_certificate(url: str, error: str) -> str:
    """An alert of the server about the client's certificate (RFC 8446, 6.2)."""
    why = error.partition("[SSL: ")[2].partition("]")[0].partition("ALERT_")[2].lower().replace("_", " ")
    return (
        f"{url} refuses the TLS handshake ({why}): it wants a client certificate that it trusts; give it with "
        "--client-cert and --client-key"
    )


_NO_WEBSOCKET = (400, 403, 404, 405, 426, 501)
"""The statuses with which servers refuse a handshake at a path without a WebSocket. 403: servers on uvicorn, such as
vLLM."""


def _websocket_problem(
    record: RequestRecord,
    url: str,
    variable: str,
    listed: Sequence[str] | None,
    authorized: bool,
    *,
    only_socket: bool,
) -> str:
    """A refused handshake. If the server lists its models without a key, a missing key is not the cause."""
    refused = f"{url} takes no WebSocket (status {record.status}: {record.error})"
    without = "leave out --websocket, which sends the same over HTTP"
    if only_socket:
        without = "check the path, and whether this server has the API"
    if record.status != 403:
        return f"{refused}: {without}"
    if authorized:
        return (
            f"{refused}: it has none there, or refuses this key; {without}, or check --api-key, {variable} and --header"
        )
    if listed is not None:
        return f"{refused}, and the server lists its models without a key: it has none there; {without}"
    return f"{refused}: it has none there, or needs a key; {without}, or give one with --api-key or {variable}"


def _http_problem(
    record: RequestRecord, url: str, options: BodyOptions, listed: Sequence[str] | None, authorized: bool
) -> str:
    status, error = record.status, record.error
    if is_of_proxy(error):
        return error or ""
    if error is not None:
        error = error.removesuffix(".")
    variable = used_by(options).key_variable
    only_socket = used_by(options).only_socket
    if (options.websocket or only_socket) and status in _NO_WEBSOCKET:
        return _websocket_problem(record, url, variable, listed, authorized, only_socket=only_socket)
    if status in (401, 403):
        if authorized:
            return f"the server refuses this key (status {status}: {error}): check --api-key, {variable} and --header"
        return f"the server needs a key (status {status}: {error}): give it with --api-key or {variable}"
    if status == 400 and error is not None and "https" in error.lower():
        return f"{url} wants TLS (status {status}: {error}): give its URL with https:// instead of http://"
    if status in (400, 404) and listed is not None and options.model is not None and options.model not in listed:
        return f"the server has no model {options.model!r} (status {status}): it lists {some_of(listed)}"
    if not used_by(options).counts_tokens:
        return (
            f"{url} answers with status {status} ({error}): check the method and the body; "
            f"if this status is a success, write --expect status={status}"
        )
    if status in (404, 405):
        return (
            f"{url} is not there (status {status}: {error}): check the path; "
            "--url takes the server's root, its /v1, or the whole path, which is used as it is"
        )
    if status in (429, 503, 529):
        return f"the server is not taking requests (status {status}: {error}): wait until it is ready"
    if status is not None and status >= 500:
        return f"the server failed (status {status}: {error}): its log may say why"
    return f"the server refuses the request (status {status}: {error})"
