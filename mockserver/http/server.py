"""The HTTP server: uvicorn with our protocol, in this process or in several workers, from start to drain.

`listeners.py` opens the sockets. `stamped_reads.py` and `protocol.py` read each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from mockserver.clock import NS_PER_S, RealtimeOffset, now_ns
from mockserver.combinations import replica_settings
from mockserver.config import MockConfig
from mockserver.errors import UsageError
from mockserver.http.app import Resources, create_app, make_resources
from mockserver.http.connection_faults import ConnectionFaults, ListenerSwitch
from mockserver.http.limits import RequestLimits
from mockserver.http.listeners import close_others, listen, listener_on
from mockserver.http.stamped_reads import protocol_factory
from mockserver.priority import Priority
from mockserver.record.ledger_file import LedgerFile, open_file
from mockserver.settings import changed
from mockserver.workers.peers import Peers
from mockserver.workers.processes import WorkerPipes, WorkerProcesses

_LOG = logging.getLogger("mockserver")

_LAST_BYTES_S = 0.05


class _Server(uvicorn.Server):
    """A uvicorn server that reports when it is ready and treats signals as a normal end."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: Starlette,
        offset: RealtimeOffset,
        on_ready: Callable[[], object],
        parent: int | None,
        priority: Priority,
    ) -> None:
        """`parent` is a descriptor that becomes readable when the parent process ends. Only workers have one."""
        super().__init__(config)
        self._app = app
        self._offset = offset
        self._clock_was_stepped = False
        self._on_ready = on_ready
        self._parent = parent
        self._priority = priority
        self._drain_until_ns: int | None = None
        self.listener_switch: ListenerSwitch | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal starts the drain: requests in flight finish, health checks and new requests get a 503. A second
        signal ends it."""
        if self._drain_until_ns is None and self.started:
            self._drain_until_ns = now_ns() + round((self.config.timeout_graceful_shutdown or 0) * NS_PER_S)
            self._app.state.worker.drain()
        else:
            self.should_exit = True  # uvicorn's handler would skip the end of the lifespan at a second Ctrl-C.
            self.config.timeout_graceful_shutdown = _LAST_BYTES_S  # type: ignore[assignment]  # a float does as well

    async def on_tick(self, counter: int) -> bool:
        if self._drain_until_ns is not None:
            left_ns = self._drain_until_ns - now_ns()
            if left_ns <= 0 or self._app.state.worker.running == 0:
                self.should_exit = True
                # uvicorn waits for the rest: bytes that were handed over but not yet sent.
                left_s = max(left_ns / NS_PER_S, _LAST_BYTES_S)
                self.config.timeout_graceful_shutdown = left_s  # type: ignore[assignment]  # a float does as well
        elif self.listener_switch is not None:
            await self.listener_switch.tick()
        self._priority.look()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        if self._offset.watch_fd is not None:
            loop.add_reader(self._offset.watch_fd, self._on_clock_step)
        # Objects created so far stay alive. The collector skips them from here on, so its pauses stay short. It does
        # not collect first: that takes 0.02 s, and frees a thousand of a hundred thousand objects.
        gc.freeze()
        # A request and its connection reference each other, so the collector must run, but rarely.
        gc.set_threshold(20_000, 20, 50)
        sender = self._app.state.worker.sender
        if sender is not None:
            for thread, used_ns in sender.threads():
                self._priority.include(thread, used_ns)
        if self._parent is not None:
            loop.add_reader(self._parent, self._on_orphaned)
        self._on_ready()

    def _on_orphaned(self) -> None:
        assert self._parent is not None
        asyncio.get_running_loop().remove_reader(self._parent)
        _LOG.error("the parent process has ended, so this worker ends too")
        self.handle_exit(signal.SIGTERM, None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._offset.watch_fd is not None:
            asyncio.get_running_loop().remove_reader(self._offset.watch_fd)
        await super().shutdown(sockets)

    def _on_clock_step(self) -> None:
        self._offset.on_step()
        if not self._clock_was_stepped:  # Some virtual machines set the clock ten times a second.
            self._clock_was_stepped = True
            _LOG.warning(
                "the wall clock was stepped: the offset of the kernel's stamps is measured again whenever it is"
            )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again at the end, and the exit status would say that the process was killed. A
        # worker leaves SIGINT to its parent.
        numbers = (signal.SIGINT, signal.SIGTERM) if self._parent is None else (signal.SIGTERM,)
        handlers = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def serve(config: MockConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises UsageError if it cannot start, MockError if a worker dies."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="mockserver: %(levelname)s: %(message)s")
    # One thread counts prompts and yields to the loop. The tokenizer's own thread pool would not.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if config.workers > 1 and sys.platform != "linux":
        raise UsageError("--workers: more than 1 works only on Linux, whose kernel spreads connections over processes")
    if config.replicas > 1:
        _serve_replicas(config)
        return
    resources = make_resources(config)
    listeners = listen(config)
    address = _address(listeners[0])

    def print_ready() -> None:
        print(f"mockserver ready at {address}", flush=True)

    if config.workers == 1:
        _serve(config, create_app(config, resources), listeners[0], print_ready, None)
    else:
        _serve_with_workers(config, resources, listeners, print_ready)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _serve_replicas(config: MockConfig) -> None:
    """Run several servers that share only the ledger. Each names itself in the header `x-inference-pod`."""
    if sys.platform != "linux":
        raise UsageError("--replicas: more than 1 works only on Linux")
    numbers = range(config.replicas)
    configs = [
        changed(config, replica_settings(config, number), of=f"--replica {number}: ").model_copy(
            update={"port": config.port + number if config.port else 0}
        )
        for number in numbers
    ]
    ledger_file = LedgerFile(open_file(config.ledger), shared=True)
    resources = [make_resources(variant, ledger_file) for variant in configs]
    listeners = [listen(variant)[0] for variant in configs]
    addresses = [_address(listener) for listener in listeners]

    def work(number: int, pipes: WorkerPipes) -> None:
        close_others(listeners, number)
        app = create_app(configs[number], resources[number], replica=number)
        _serve(
            configs[number].model_copy(update={"port": listeners[number].getsockname()[1]}),
            app,
            listeners[number],
            lambda: os.write(pipes.ready, b"1"),
            pipes.parent,
            [("x-inference-pod", f"replica-{number}")],
        )

    def on_ready() -> None:
        for listener in listeners:
            listener.close()
        for address in addresses:
            print(f"mockserver ready at {address}", flush=True)

    WorkerProcesses(config.replicas, work).run(on_ready)


def _serve_with_workers(
    config: MockConfig, resources: Resources, listeners: list[socket.socket], print_ready: Callable[[], None]
) -> None:
    parent = os.getpid()
    with tempfile.TemporaryDirectory(prefix="mockserver-") as folder:

        def work(number: int, pipes: WorkerPipes) -> None:
            close_others(listeners, number)
            try:
                app = create_app(config, resources, Peers(Path(folder), number, config.workers))
                _serve(config, app, listeners[number], lambda: os.write(pipes.ready, b"1"), pipes.parent)
            finally:
                if os.getppid() != parent:  # The parent was killed and can no longer remove the shared directory.
                    shutil.rmtree(folder, ignore_errors=True)

        def on_ready() -> None:
            # Only the workers keep their sockets, so connections to a dead worker are refused rather than hang.
            for listener in listeners:
                listener.close()
            print_ready()

        WorkerProcesses(config.workers, work).run(on_ready)


def _serve(
    config: MockConfig,
    app: Starlette,
    listener: socket.socket,
    on_ready: Callable[[], object],
    parent: int | None,
    headers: Sequence[tuple[str, str]] = (),
) -> None:
    """`headers` are added to every response."""
    offset = RealtimeOffset()
    faults = ConnectionFaults(app)
    settings = uvicorn.Config(
        app,
        http=protocol_factory(offset, faults, RequestLimits.of(config), lambda: app.state.worker),  # type: ignore[arg-type]
        # Use our own WebSocket: uvicorn's protocols would put buffers and tasks between a token and its send.
        ws="none",
        headers=list(headers),
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_keep_alive=config.keep_alive_s,  # type: ignore[arg-type]
        timeout_graceful_shutdown=config.drain_s,  # type: ignore[arg-type]
    )
    priority = Priority(config.cpu_priority)
    server = _Server(settings, app, offset, on_ready, parent, priority)
    port = listener.getsockname()[1]
    server.listener_switch = ListenerSwitch(
        server, faults, lambda: listener_on(config.host, port, shared=config.workers > 1)
    )
    # Make the thread that counts tokens release the GIL sooner than after the default 5 ms.
    sys.setswitchinterval(0.0005)
    priority.take()
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(server.serve(sockets=[listener]))
    finally:
        priority.restore()
    offset.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # uvloop does not support Windows.
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
