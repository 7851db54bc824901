"""The transport over httpx: slower than our own sockets, but with everything that httpx supports.

Its stamps are the process's own (`clock: user`), taken by `stamped_backend` directly at the socket. The remaining delay
of the event loop shows as loop lag, which is sampled and judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import httpcore
import httpx

from bench import trust
from bench.clock import Clock, Timer
from bench.records import Outcome
from bench.transport.exchange import Exchange, Undecodable
from bench.transport.head import HeadTooLarge, ProtocolError
from bench.transport.interface import Destination, OnEnd, OnRecord, Reading, ReplyInFlight, Target, ignore
from bench.transport.stamped_backend import UNASKED, StampedBackend, StampedStream, current
from bench.workload import Request

_Broken = tuple[Outcome | None, str | None]
"""What broke an exchange, and a sentence; (None, None) for a complete response."""


class HttpxTransport:
    """One httpx client over stamping sockets; connections are kept for as long as the server keeps them."""

    def __init__(self, target: Target, reading: Reading, clock: Clock) -> None:
        self._target = target = target.without_credentials()
        self._usual = target.usual
        self._reading = reading
        self._clock = clock
        self._tasks: dict[asyncio.Task[_Broken], Exchange] = {}
        self._timed_out: set[asyncio.Task[_Broken]] = set()
        self._left: set[asyncio.Task[_Broken]] = set()

    async def open(self) -> None:
        target = self._target
        # Reading the system's certificate authorities takes longer than everything else here.
        tls = trust.context(target) if target.url.startswith("https:") else None
        transport = httpx.AsyncHTTPTransport(verify=tls or False)
        # httpx has no public way to give its pool a network backend.
        transport._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=None,
            network_backend=StampedBackend(target),
        )
        connect_s = None if target.timeout_connect_ns is None else target.timeout_connect_ns / 1e9
        self._client = httpx.AsyncClient(
            transport=transport,
            headers={"accept-encoding": "identity", "user-agent": "trueload"},
            # The backend times reads itself: it distinguishes the first byte from later ones.
            timeout=httpx.Timeout(None, connect=connect_s),
            trust_env=False,
        )

    async def prepare(self, connections: int) -> None:
        """Does nothing: httpx makes connections as requests need them."""

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        exchange = Exchange(request, intended_ns, eligible_ns, self._reading, clock="user")
        task = asyncio.get_running_loop().create_task(self._send(exchange))
        self._tasks[task] = exchange
        # Not at the end of the task itself: a task cancelled before its first step never gets there.
        task.add_done_callback(lambda task: self._ended(task, done, ended))

    def read_replies(self, then: Callable[[Iterable[ReplyInFlight]], None]) -> None:
        then(self._tasks.values())  # Each read is digested at once.

    def cut(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def close(self) -> None:
        if self._tasks:
            self.cut()
            await asyncio.wait(list(self._tasks))
        await self._client.aclose()

    async def _send(self, exchange: Exchange) -> _Broken:
        """Send, at most twice. Returns what broke the exchange and how."""
        task = asyncio.current_task()
        assert task is not None
        current.set(exchange)
        after_ns, leaves = exchange.request.cancel_after_ns, list[Timer]()
        if after_ns is not None:
            exchange.on_sent = lambda sent_ns: leaves.append(
                self._clock.call_at(sent_ns + after_ns, lambda: self._leave(task))
            )
        total_ns = self._target.timeout_total_ns
        timer = (
            None
            if total_ns is None
            else self._clock.call_at(self._clock.now_ns() + total_ns, lambda: self._time_out(task))
        )
        try:
            failed, error = await self._attempt(exchange)
            if failed is Outcome.RESET and _was_stale(exchange) and exchange.may_be_stale(self._clock.now_ns()):
                if exchange.sent_ns is not None:
                    exchange.retry()
                failed, error = await self._attempt(exchange)
            return failed, error
        finally:
            for pending in [*leaves, *([] if timer is None else [timer])]:
                pending.cancel()

    def _ended(self, task: asyncio.Task[_Broken], done: OnRecord, ended: OnEnd) -> None:
        """Make the record, however the task ended."""
        exchange = self._tasks.pop(task)
        failed: Outcome | None
        error: str | None
        if task.cancelled():
            failed, error = Outcome.INTERRUPTED, "cut when the run was stopped"
            if task in self._timed_out:
                failed, error = Outcome.TIMEOUT_TOTAL, "the request took longer than the total timeout"
            elif task in self._left:
                failed, error = Outcome.CANCELLED, None
        elif (defect := task.exception()) is not None:
            failed, error = Outcome.INTERRUPTED, "a defect of the load tester ended this request"
            asyncio.get_running_loop().call_exception_handler({"message": error, "exception": defect})
        else:
            failed, error = task.result()
        self._timed_out.discard(task)
        self._left.discard(task)
        end_ns = exchange.last_read_ns if failed is None else self._clock.now_ns()
        ended(end_ns, exchange.is_whole(failed))
        done(exchange.close(end_ns, failed, error))

    def _time_out(self, task: asyncio.Task[_Broken]) -> None:
        self._timed_out.add(task)
        task.cancel()

    def _leave(self, task: asyncio.Task[_Broken]) -> None:
        self._left.add(task)
        task.cancel()

    async def _attempt(self, exchange: Exchange) -> _Broken:
        """Send once and read everything. Returns what broke the exchange and how."""
        sent, target = exchange.request, self._target
        to = self._usual if sent.route is None else target.destination(sent.route)
        kind = () if not to.has_body or _names_content_type(to) else (("content-type", "application/json"),)
        # A tunnel sends them in its CONNECT (stamped_backend.py).
        proxy = None if to.url.startswith("https:") else target.proxy
        of_proxy = () if proxy is None else proxy.headers
        request = self._client.build_request(
            to.method,
            to.url,
            content=sent.body,
            headers=[*kind, *of_proxy, *to.headers, *sent.ids.items()],
            extensions=None if proxy is None else {"target": to.url.encode("ascii")},
        )
        try:
            response = await self._client.send(request, stream=True)
            try:
                if exchange.first_byte_ns is None:
                    # It came after the last response, in the same read, and is not an answer: the connection is out of
                    # step.
                    return Outcome.RESET, UNASKED
                await self._read(response, exchange)
            finally:
                await response.aclose()
        except httpx.ConnectTimeout:
            return Outcome.TIMEOUT_CONNECT, "no connection within the connect timeout"
        except httpx.ConnectError as e:
            return Outcome.CONNECT_ERROR, str(e)
        except httpx.ReadTimeout:
            if exchange.first_byte_ns is None:
                return Outcome.TIMEOUT_FIRST_BYTE, "no byte of a response within the first-byte timeout"
            return Outcome.TIMEOUT_IDLE, "the response stopped for longer than the idle timeout"
        except (httpx.ReadError, httpx.WriteError) as e:
            return Outcome.RESET, f"the connection was reset: {e}"
        except httpx.RemoteProtocolError as e:
            if exchange.peer_closed:
                early = exchange.first_byte_ns is None
                return (
                    Outcome.RESET if early else Outcome.TRUNCATED,
                    "the server closed the connection before the response had ended",
                )
            return Outcome.MALFORMED, f"not HTTP: {e}"
        except ProtocolError as e:
            return Outcome.MALFORMED, f"not HTTP: {e}"
        except (Undecodable, HeadTooLarge) as e:
            return Outcome.MALFORMED, str(e)
        return None, None

    async def _read(self, response: httpx.Response, exchange: Exchange) -> None:
        stream = response.extensions["network_stream"]
        assert isinstance(stream, StampedStream)
        headers = response.headers
        exchange.head(
            response.status_code,
            headers.get("content-type", ""),
            headers.get("content-encoding", ""),
            headers.get("location"),
            sized="content-length" in headers,
            replica=next((headers[name] for name in self._reading.replica_headers if name in headers), None),
        )
        async for piece in response.aiter_raw():
            exchange.feed(piece, stream.last_read_ns, stream.bound_ns)
            exchange.digest()
            if exchange.bytes_received > self._target.max_response_bytes:
                raise Undecodable(f"the response is larger than the limit of {self._target.max_response_bytes} bytes")
        exchange.last_read_ns = stream.last_read_ns


def _names_content_type(to: Destination) -> bool:
    return any(name.lower() == "content-type" for name, _ in to.headers)


def _was_stale(exchange: Exchange) -> bool:
    """Whether a pooled connection died before any byte of a response: the server had dropped it."""
    return exchange.first_byte_ns is None and exchange.connect_ns is None
