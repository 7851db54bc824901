"""One request while it happens; closed into its RequestRecord.

It holds the rules that every transport shares, so that two transports differ only in how they get bytes and stamps:
which read a chunk's stamp comes from, what a coalesced read implies for the chunks before its last, and which outcome a
response has. `feed` only buffers pieces, with their stamps; `digest` cuts events from them and decodes these in
batches, whenever the transport has time and at the latest in `close`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

from msgspec.structs import asdict

from bench.endpoints import ENDPOINTS
from bench.endpoints.failure import is_lost_response
from bench.endpoints.interface import EventReader, ParsedReply, ReadOptions
from bench.records import Clock, Outcome, RequestRecord
from bench.secrets import header_secrets, redactor, without_secrets_of
from bench.transport.framing import PARSERS, Parser, WholeMessages
from bench.transport.interface import Reading
from bench.transport.kept_reply import audio_fields, stored_answer
from bench.transport.lines import LineParser
from bench.transport.sse import MAX_EVENT_BYTES, SSEParser
from bench.transport.unpacking import MOST_INFLATED, PACKED, Unpacker
from bench.workload import Request
from promptset.answers import Answer

LOST = (Outcome.RESET, Outcome.TRUNCATED)
"""Outcomes of a response whose connection breaks, and of one whose connection is closed cleanly but too early."""

_LATE = (Outcome.TIMEOUT_IDLE, Outcome.TIMEOUT_TOTAL)
_NOT_ENDED = "its last event had come, and the server did not end the response"

_Piece = tuple[bytes, int, int]
"""Bytes of the body, the stamp of their read, and its bound."""


MOST_PUT_BY, MOST_PIECES = 4 * 1024 * 1024, 4096
"""Bytes, and pieces, of a body that may wait to be digested."""
MOST_OF_NAME = 200
"""The longest replica name that is kept."""
MAX_ERROR_BYTES = 1024 * 1024
"""How much of an error's body is kept: its message comes first."""
STALE_WITHIN_NS = 1_000_000_000
"""A connection that the server had dropped before a request came dies within a round trip of it. If it dies later, the
request caused it, and is not sent again."""


DEFECT = "a defect of the load tester: this reply could not be read"


_STARTS_OF_EVENTS = (b"d", b"e", b"i", b"r", b":")
"""First bytes of an event stream (`data`, `event`, `id`, `retry`, a comment), with which no JSON of a reply begins."""
_BEFORE = b"\xef\xbb\xbf \t\r\n"
"""Bytes of a byte order mark and white space, which may precede a stream or JSON."""


class Undecodable(Exception):
    """The body does not have the encoding that HTTP declares."""


_PREVIOUS = "previous_response_id"
_STORES_NOTHING = (
    "(the server cannot go on with a response of its own, which --history stored asks for: use --history real)"
)


class Exchange:
    """One request and its response. A transport sets the times and feeds the body; `close` makes the record."""

    def __init__(self, request: Request, intended_ns: int, eligible_ns: int, reading: Reading, clock: Clock) -> None:
        self.request = request
        self.intended_ns = intended_ns
        self.eligible_ns = eligible_ns
        self.reading = reading
        self._route = route = request.route
        self._endpoint = reading.endpoint if route is None or route.endpoint is None else ENDPOINTS[route.endpoint]
        self.clock: Clock = clock
        self.body_bytes = len(request.body)
        self.attempts = 1
        self.connect_ns: int | None = None
        self.sent_ns: int | None = None
        self.resent_ns: int | None = None
        self.on_sent: Callable[[int], None] | None = None
        """Called with the time of the first send."""
        self.first_byte_ns: int | None = None
        self.last_read_ns = 0
        self.peer_closed = False
        self.status: int | None = None
        self.location: str | None = None
        self.replica: str | None = None
        """The replica that answered, from the head of the response."""
        self.bytes_received = 0
        self._sized = self._refused = False
        self._may_be_events = False
        """A stream was requested, and the head announces JSON: the first byte of the body decides."""
        self._digested_bytes = 0
        self._parser: Parser | None = None
        self._reader: EventReader | None = None
        self._unpacker: Unpacker | None = None
        self._events: list[bytes] = []
        """Events cut by the transport; the data in `_pieces` came after them."""
        self._pieces: list[_Piece] = []
        self._chunk_ns: list[int] = []
        self._bounds: dict[int, int] = {}
        self._body = bytearray()

    def head(
        self,
        status: int,
        content_type: str,
        content_encoding: str,
        location: str | None,
        *,
        sized: bool = False,
        replica: str | None = None,
    ) -> None:
        """The response head has come; `sized` if it has a Content-Length. Raises Undecodable for an encoding that was
        not requested."""
        self._sized = sized
        self.status = status
        self.location = location
        self.replica = replica
        content_encoding = content_encoding.strip().lower()
        if self.request.stream and 200 <= status < 300:
            self._may_be_events = self._endpoint.framing == "sse" and "json" in content_type.lower()
            if not self._may_be_events:
                self._read_as_stream()
        if content_encoding in PACKED:
            self._unpacker = Unpacker(content_encoding)
        elif content_encoding not in ("", "identity"):
            raise Undecodable(f"the server encoded its reply as {content_encoding!r}, which was not asked for")

    def _read_as_stream(self) -> None:
        self._parser = PARSERS[self._endpoint.framing]()
        self._reader = self._endpoint.event_reader(self._read_options())

    def messages(self) -> None:
        """The reply is a sequence of WebSocket messages: each piece is one message, which is an event."""
        self.status = 200
        self._parser = WholeMessages()
        self._reader = self._endpoint.event_reader(self._read_options())

    def feed(self, piece: bytes, stamp_ns: int, bound_ns: int) -> None:
        """A piece of the body, from a read at `stamp_ns` whose bytes came no earlier than `bound_ns`."""
        self.bytes_received += len(piece)
        self._pieces.append((piece, stamp_ns, bound_ns))

    @property
    def last_chunk_ns(self) -> int:
        """The stamp of the last chunk; -1 if there is none."""
        return self._chunk_ns[-1] if self._chunk_ns else -1

    def takes_events(self) -> bool:
        """Whether whole events, cut by the transport, may come next: no partial event is pending, and nothing is
        compressed."""
        if self._unpacker is not None or not isinstance(self._parser, SSEParser):
            return False
        if self._pieces:
            self.digest()
        return self._parser.between_events

    def feed_events(self, events: list[bytes], stamps: list[int], bounds: list[tuple[int, int]], size: int) -> None:
        """Add whole events, each with its stamp; `size` bytes of the body. `bounds` lists the events that share the
        stamp of the next one: their numbers, counted from these events (-1: the event before), and their earliest
        possible arrival."""
        assert isinstance(self._parser, SSEParser)
        self._parser.passed(len(events))
        self.bytes_received += size
        first = len(self._chunk_ns)
        for number, bound_ns in bounds:
            self._bounds[first + number] = bound_ns
        self._chunk_ns += stamps
        self._events += events

    @property
    def has_undigested(self) -> bool:
        """Whether `digest` would find something new."""
        return bool(self._pieces or self._events)

    @property
    def tokens_so_far(self) -> int:
        """Output tokens of the digested events: the reply's own count, else one per chunk with text."""
        return 0 if self._reader is None else self._reader.tokens_so_far

    @property
    def ttft_ns(self) -> int | None:
        """The time to first token, if its event was digested and the request was sent."""
        first = None if self._reader is None else self._reader.first_token
        return None if first is None or self.sent_ns is None else self._chunk_ns[first] - self.sent_ns

    @property
    def is_heavy(self) -> bool:
        """Whether so much is buffered that `digest` must not wait: memory would grow with the response."""
        return self.bytes_received - self._digested_bytes > MOST_PUT_BY or len(self._pieces) > MOST_PIECES

    def digest(self) -> None:
        """Make chunks from the buffered pieces. Raises Undecodable if the body does not have its declared encoding."""
        try:
            self._digest()
        except Undecodable:
            raise
        except Exception as defect:
            self._give_up_reading(defect)
            raise Undecodable(DEFECT) from defect

    def _give_up_reading(self, defect: Exception) -> None:
        """Handle a defect of ours: the run ends because of it, but the request still has a record."""
        self._parser = self._reader = None
        self._events, self._pieces, self._body = [], [], bytearray()
        self._chunk_ns, self._bounds = [], {}
        asyncio.get_running_loop().call_exception_handler({"message": DEFECT, "exception": defect})

    def _digest(self) -> None:
        events, self._events = self._events, []
        pieces, self._pieces = self._pieces, []
        self._digested_bytes = self.bytes_received
        if events and self._reader is not None:
            self._reader.feed(events)
        broken: Undecodable | None = None
        if self._unpacker is not None:
            pieces, broken = self._inflated(pieces)
        self._cut(pieces)
        if broken is not None:
            raise broken

    def _cut(self, pieces: list[_Piece]) -> None:
        if self._may_be_events and (
            start := next((text for piece, _, _ in pieces if (text := piece.strip(_BEFORE))), b"")
        ):
            self._may_be_events = False
            if start.startswith(_STARTS_OF_EVENTS):
                self._read_as_stream()
        if self._parser is None or self._reader is None:
            most = MAX_ERROR_BYTES if self._refuses else MOST_INFLATED
            for piece, _, _ in pieces:
                self._body += piece[: most - len(self._body)]
            return
        events: list[bytes] = []
        stamps, bounds = self._chunk_ns, self._bounds
        cut = self._parser.feed_all([piece for piece, _, _ in pieces])
        for events_of_piece, (_, stamp_ns, bound_ns) in zip(cut, pieces, strict=True):
            for event in events_of_piece:
                # One stamp for several chunks of a read: exact for the last, an upper bound for those before.
                if stamps and stamps[-1] == stamp_ns:
                    bounds[len(stamps) - 1] = bound_ns
                stamps.append(stamp_ns)
                events.append(event)
        if events or self._parser.other_lines:
            self._reader.feed(events, self._parser.take_other_lines())
        if self._parser.too_large:
            raise Undecodable(f"an event is larger than the limit of {MAX_EVENT_BYTES} bytes")

    def _inflated(self, packed: list[_Piece]) -> tuple[list[_Piece], Undecodable | None]:
        """The unpacked pieces, up to the first that cannot be unpacked, and its problem."""
        assert self._unpacker is not None
        pieces: list[_Piece] = []
        for piece, stamp_ns, bound_ns in packed:
            try:
                unpacked = self._unpacker.unpack(piece)
            except zlib.error as e:
                return pieces, Undecodable(f"the compressed reply cannot be read: {e}")
            if self._unpacker.total > MOST_INFLATED:
                return pieces, Undecodable(f"the compressed reply unpacks to more than {MOST_INFLATED} bytes")
            pieces.append((unpacked, stamp_ns, bound_ns))
        return pieces, None

    @property
    def last_sent_ns(self) -> int | None:
        """When this attempt was sent; None before."""
        return self.sent_ns if self.attempts == 1 else self.resent_ns

    def mark_sent(self, at_ns: int) -> None:
        """This attempt is sent now. Latencies count from the first attempt, since its user has waited from then on."""
        if self.attempts > 1:
            self.resent_ns = at_ns
            return
        self.sent_ns = at_ns
        if self.on_sent is not None:
            self.on_sent(at_ns)

    def mark_connected(self, took_ns: int) -> None:
        """This attempt waited this long for a new connection, or for TLS on it. A second attempt waits after the first
        send, so its wait is part of the latency."""
        if self.attempts == 1:
            self.connect_ns = took_ns + (0 if self.connect_ns is None else self.connect_ns)

    def may_be_stale(self, now_ns: int) -> bool:
        """Whether a reused connection that has died by now may already have been dead before the request."""
        return self.sent_ns is None or now_ns - self.sent_ns <= STALE_WITHIN_NS

    def retry(self) -> None:
        """The reused connection died before any byte of a response: the next send is the request's second attempt."""
        self.attempts += 1
        self.status = self.first_byte_ns = None

    def is_whole(self, failed: Outcome | None) -> bool:
        """Whether a success is complete, judging by its status and its connection."""
        return failed is None and self.status is not None and self._endpoint.accepts(self.status)

    @property
    def _refuses(self) -> bool:
        """Whether the response is an error, judging by its status."""
        return self.status is not None and not self._endpoint.accepts(self.status)

    def close(self, end_ns: int, failed: Outcome | None = None, error: str | None = None) -> RequestRecord:
        """Make the record. `failed`: what broke the exchange; None if the response is complete."""
        try:
            self.digest()
        except Undecodable as e:
            if failed is None:
                failed, error = Outcome.MALFORMED, str(e)
        try:
            reply = self._read()
        except Exception as defect:
            self._give_up_reading(defect)
            reply, failed, error = ParsedReply(), Outcome.MALFORMED, DEFECT
        outcome, server_message = self._judge(reply, failed)
        if self.request.on_answer is not None:
            self.request.on_answer(Answer(content=reply.content) if reply.answer is None else reply.answer)
        message = error if outcome is failed and error is not None else server_message
        if message is not None and self.reading.proxy is not None:
            message = self.reading.proxy.explained(self.status, message)
        if message is not None and outcome in _LATE and reply.complete:
            message += f"; {_NOT_ENDED}"
        return self._record(end_ns, reply, outcome, None if message is None else self._redacted(message))

    def _record(self, end_ns: int, reply: ParsedReply, outcome: Outcome, error: str | None) -> RequestRecord:
        request = self.request
        stamps = [] if self._refused else self._chunk_ns  # Over HTTP a refusal has no chunks either.
        return RequestRecord(
            id=request.id,
            index=request.index,
            phase=request.phase,
            session=request.session,
            intended_ns=self.intended_ns,
            eligible_ns=self.eligible_ns,
            connect_ns=0 if self.connect_ns is None and self.sent_ns is not None else self.connect_ns,
            sent_ns=self.sent_ns,
            first_byte_ns=self.first_byte_ns,
            end_ns=end_ns,
            attempts=self.attempts,
            status=self.status,
            outcome=outcome,
            error=error,
            chunk_ns=tuple(stamps),
            chunk_bound_ns=tuple([self._bounds.get(i) for i in range(len(stamps))]) if self._bounds else None,
            chunk_tokens=None if self._refused else reply.chunk_tokens,
            chunk_kind="" if self._refused else reply.chunk_kind,
            input_tokens_asked=request.input_tokens_asked,
            input_tokens=reply.input_tokens,
            cached_tokens=reply.cached_tokens,
            output_tokens_asked=request.output_tokens_asked,
            output_tokens=reply.output_tokens,
            output_tokens_from=reply.output_tokens_from,
            output_tokens_counted=reply.counted,
            usage_contradiction=reply.usage_contradiction,
            reasoning_tokens=reply.reasoning_tokens,
            tool_calls=reply.tool_calls,
            inputs=None if request.batch is None else request.batch.inputs,
            dimensions=reply.dimensions,
            bytes_sent=self.body_bytes if self.sent_ns is not None else 0,
            bytes_received=self.bytes_received,
            clock=self.clock,
            coalesced=len(self._bounds),
            endpoint=None if self._route is None else self._route.endpoint,
            model=request.model,
            traffic_class=request.traffic_class,
            probe=request.probe,
            answer=stored_answer(reply) if self._stores_answer else None,
            **request.place_fields,
            **asdict(reply.server),
            resent_ns=self.resent_ns,
            output_tokens_doubt=reply.output_tokens_doubt,
            media_bytes=None if request.media is None else request.media.bytes,
            text_tokens_asked=None if request.media is None else request.media.text_tokens,
            audio_sent_ns=None if request.audio is None else request.audio.length_ns,
            reference=None if request.audio is None else request.audio.reference,
            traceparent=request.traceparent,
            target=self._target_of(reply),
            **audio_fields(None if self._refused else reply.audio),
        )

    def _target_of(self, reply: ParsedReply) -> str | None:
        """In a run with several addresses, the address that it was sent to; otherwise the replica named in the reply."""
        if self.reading.target is not None:
            return self.reading.target
        name = reply.replica if self.replica is None else self.replica
        return None if name is None else self._redacted(name)[:MOST_OF_NAME]

    def _redacted(self, message: str) -> str:
        """The message without the secrets of the run and of this request: a server may quote what it received."""
        message = without_secrets_of(self.request.body, self.reading.redact(message))
        return message if self._route is None else redactor(header_secrets(self._route.headers))(message)

    def _read_options(self) -> ReadOptions:
        return ReadOptions(
            count=self.reading.count,
            keep_answer=self.request.on_answer is not None or self._stores_answer,
            output_tokens_asked=self.request.output_tokens_asked,
            batch=self.request.batch,
            dimensions=self.reading.dimensions,
        )

    @property
    def _stores_answer(self) -> bool:
        has_reference = self.request.audio is not None and self.request.audio.reference is not None
        return self.reading.store_texts or self.request.probe is not None or has_reference

    def _read(self) -> ParsedReply:
        if self._reader is not None and self._parser is not None:
            unfinished = self._parser.end()
            if self._parser.other_lines:
                self._reader.feed((), self._parser.take_other_lines())
            if isinstance(self._parser, LineParser) and (last := self._parser.take_last()):
                self._chunk_ns.append(self.last_read_ns)
                self._reader.feed(last)
            return self._reader.close(unfinished)
        if self.status is not None and not self._refuses and (self._body or self._endpoint.may_be_empty):
            return self._endpoint.read_whole(bytes(self._body), self._read_options())
        return ParsedReply()

    def _judge(self, reply: ParsedReply, failed: Outcome | None) -> tuple[Outcome, str | None]:
        """The outcome, and the error in the response itself. The response outranks the end of the connection."""
        if self._refuses and failed in (None, *LOST):
            return self._refusal(), self._http_error()
        problem = reply.problem
        if problem is not None and problem.outcome in (Outcome.STREAM_ERROR, Outcome.LOST_RESPONSE):
            if reply.refused is not None and isinstance(self._parser, WholeMessages):
                self.status = reply.refused
                self._refused = True
                lost = problem.outcome is Outcome.LOST_RESPONSE
                return problem.outcome if lost else Outcome.HTTP_ERROR, problem.message
            return problem.outcome, problem.message
        # A stream that marked its end is complete, unless its head promised more bytes.
        lost_nothing = failed in LOST and reply.complete and self._parser is not None and not self._sized
        if failed is not None and not lost_nothing:
            return failed, None
        # Events mark the end of a stream themselves.
        whole = self._parser is None or isinstance(self._parser, WholeMessages)
        if whole and self._unpacker is not None and self.bytes_received and not self._unpacker.ended:
            return Outcome.TRUNCATED, "the compressed reply ended before its own end"
        if problem is not None:
            return problem.outcome, problem.message
        if self._parser is None and self.status is not None and not self._body and not self._endpoint.may_be_empty:
            return Outcome.MALFORMED, "the reply has no body"
        goes_on = self.request.continuation
        needed = goes_on is not None and goes_on.stored and not goes_on.last
        if needed and (reply.answer is None or reply.answer.response_id is None):
            return Outcome.LOST_RESPONSE, "the reply has no id, so nothing can go on with it"
        return Outcome.OK, None

    @property
    def _continues(self) -> bool:
        """Whether the request continues a response that the server should have stored."""
        goes_on = self.request.continuation
        return goes_on is not None and goes_on.previous is not None

    def _refusal(self) -> Outcome:
        lost = self._continues and is_lost_response(bytes(self._body))
        return Outcome.LOST_RESPONSE if lost else Outcome.HTTP_ERROR

    def _http_error(self) -> str:
        if self.status is not None and 300 <= self.status < 400 and self.location is not None:
            return f"the server redirects to {self.location}: redirects are not followed, give that URL"
        body = bytes(self._body)
        message = self._endpoint.error_message(body) if body else "no message"
        if self._continues and _PREVIOUS in message and not is_lost_response(body):
            return f"{message} {_STORES_NOTHING}"
        return message
