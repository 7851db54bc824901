"""The HTTP server: uvicorn with a protocol of ours, in this process or in several workers, from start to drain.

`listening.py` opens the sockets, `stamped_reads.py` and `protocol.py` are what each connection is read by.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from mockserver.clock import NS_PER_S, RealtimeOffset, now_ns
from mockserver.config import MockConfig
from mockserver.errors import UsageError
from mockserver.http.app import Means, create_app, make_means
from mockserver.http.connection_faults import Door, Gate
from mockserver.http.listeners import listen, listener_on
from mockserver.http.stamped_reads import protocol_factory
from mockserver.workers.peers import Peers
from mockserver.workers.processes import Reins, Workers

_LOG = logging.getLogger("mockserver")

_LAST_BYTES_S = 0.05


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready and takes signals as the ordinary end."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        offset: RealtimeOffset,
        on_ready: Callable[[], object],
        parent: int | None = None,
    ) -> None:
        """`parent`: a descriptor that becomes readable when the parent process is gone; only workers have one."""
        super().__init__(config)
        self._app = app
        self._offset = offset
        self._on_ready = on_ready
        self._parent = parent
        self._drain_until_ns: int | None = None
        self.door: Door | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the drain: health checks and new requests are told so, what is in flight goes on. A
        second one ends it."""
        if self._drain_until_ns is None and self.started:
            self._drain_until_ns = now_ns() + round((self.config.timeout_graceful_shutdown or 0) * NS_PER_S)
            self._app.state.serving.drain()
        else:
            super().handle_exit(sig, frame)
            self.config.timeout_graceful_shutdown = _LAST_BYTES_S  # type: ignore[assignment]  # a float does as well

    async def on_tick(self, counter: int) -> bool:
        if self._drain_until_ns is not None:
            left_ns = self._drain_until_ns - now_ns()
            if left_ns <= 0 or self._app.state.serving.running == 0:
                self.should_exit = True
                # What is left of the drain is uvicorn's to wait: bytes that are handed over and not yet sent.
                left_s = max(left_ns / NS_PER_S, _LAST_BYTES_S)
                self.config.timeout_graceful_shutdown = left_s  # type: ignore[assignment]  # a float does as well
        elif self.door is not None:
            await self.door.tick()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        if self._offset.watch_fd is not None:
            loop.add_reader(self._offset.watch_fd, self._on_clock_step)
        # What was made until now stays: the collector need not look at it again, and its pauses stay short.
        gc.collect()
        gc.freeze()
        if self._parent is not None:
            loop.add_reader(self._parent, self._on_orphaned)
        self._on_ready()

    def _on_orphaned(self) -> None:
        assert self._parent is not None
        asyncio.get_running_loop().remove_reader(self._parent)
        _LOG.error("the parent process is gone: this worker ends")
        self.handle_exit(signal.SIGTERM, None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._offset.watch_fd is not None:
            asyncio.get_running_loop().remove_reader(self._offset.watch_fd)
        await super().shutdown(sockets)

    def _on_clock_step(self) -> None:
        self._offset.on_step()
        _LOG.warning("the wall clock was stepped: kernel stamps are carried over by an offset measured anew")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, and the exit status would say that we were killed.
        # A worker leaves SIGINT to its parent.
        numbers = (signal.SIGINT, signal.SIGTERM) if self._parent is None else (signal.SIGTERM,)
        handlers = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def serve(config: MockConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises UsageError where it cannot start, MockError where a worker has died."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="mockserver: %(levelname)s: %(message)s")
    # Prompts are counted by one thread that gives way to the loop; the tokenizer's own pool of threads would not.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if config.workers > 1 and sys.platform != "linux":
        raise UsageError("--workers: more than one needs Linux, whose kernel deals connections out to processes")
    means = make_means(config)
    listeners = listen(config)
    host, port = listeners[0].getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def tell() -> None:
        print(f"mockserver ready at {address}", flush=True)

    if config.workers == 1:
        _serve(config, create_app(config, means), listeners[0], tell, None)
    else:
        _serve_with_workers(config, means, listeners, tell)


def _serve_with_workers(
    config: MockConfig, means: Means, listeners: list[socket.socket], tell: Callable[[], None]
) -> None:
    with tempfile.TemporaryDirectory(prefix="mockserver-") as folder:

        def work(number: int, reins: Reins) -> None:
            for other in (*listeners[:number], *listeners[number + 1 :]):
                other.close()
            app = create_app(config, means, Peers(Path(folder), number, config.workers))
            _serve(config, app, listeners[number], lambda: os.write(reins.ready, b"1"), reins.parent)

        def on_ready() -> None:
            # Only the workers hold them: what a dead worker had not accepted is refused and does not hang.
            for listener in listeners:
                listener.close()
            tell()

        Workers(config.workers, work).run(on_ready)


def _serve(
    config: MockConfig, app: FastAPI, listener: socket.socket, on_ready: Callable[[], object], parent: int | None
) -> None:
    offset = RealtimeOffset()
    gate = Gate(app)
    settings = uvicorn.Config(
        app,
        http=protocol_factory(offset, gate),  # type: ignore[arg-type]
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_keep_alive=config.keep_alive_s,  # type: ignore[arg-type]
        timeout_graceful_shutdown=config.drain_s,  # type: ignore[arg-type]
    )
    server = _Server(settings, app, offset, on_ready, parent)
    port = listener.getsockname()[1]
    server.door = Door(server, gate, lambda: listener_on(config.host, port, shared=config.workers > 1))
    # A request and its connection refer to each other, so the collector is needed; seldom is enough.
    gc.set_threshold(20_000, 20, 50)
    # The thread that counts tokens hands the interpreter over sooner than after the usual 5 ms.
    sys.setswitchinterval(0.0005)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(server.serve(sockets=[listener]))
    offset.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # It does not exist for Windows.
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
