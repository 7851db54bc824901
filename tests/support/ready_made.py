"""Programs that start at once: `python -m bench`, `mockserver` or `promptset`, and `python -c`, as copies of a process
that has imported them.

For tests of a program's behaviour rather than of interpreter start-up: imports take most of the processor time of a
short command. `popen` is like `subprocess.Popen`, and returns one: a child of the calling process with the given
arguments, folder, environment and streams, within the given system limits. Where a copy is impossible (another system,
another program, other variables that Python itself reads), it starts a new interpreter.

Child processes of a copy (a worker, the process that makes prompts) are copies too: of a process that the copy made of
itself before it did anything.

As a program, `python -m tests.support.ready_made DESCRIPTOR`: the process that is copied. It ends with its socket.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import inspect
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any, NoReturn

from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
MODULES = (
    "bench",
    "mockserver",
    "promptset",
    "bench.console.hub_program",
    "bench.process.beside",
    "bench.process.guarded",
    "bench.stores.transfer",
    "gpu.serve_vllm",
    "mockserver.child",
    "mockserver.simulate",
)
"""Modules that a copy can run."""
STARTING = (
    ("bench", "calibrate"),
    ("bench", "compare"),
    ("bench", "console"),
    ("bench", "gate"),
    ("bench", "limits"),
    ("bench", "quality"),
    ("bench", "run"),
    ("bench", "search"),
    ("bench", "sweep"),
    ("bench.process.beside", "bench.scale.program"),
)
"""Prefixes of commands that start other of these programs."""
IMPORTED = (
    "bench.cli",
    "bench.commands.compare",
    "bench.commands.gate",
    "bench.commands.report",
    "bench.commands.run",
    "bench.commands.search",
    "bench.commands.sweep",
    "bench.console.app",
    "bench.load_test",
    "bench.evaluate",
    "bench.dispatch.closed_loop",
    "bench.sources.simulated",
    "bench.transport.wire",
    "bench.terminal",
    "bench.documents.certificate_document",
    "bench.documents.run_document",
    "bench.load_sweep.visits",
    "bench.report.html",
    "bench.report.markdown",
    "bench.report.text",
    "bench.accuracy.compare",
    "bench.statistics.steady_state",
    "bench.metrics.arrays",
    "bench.metrics.sureness",
    "bench.load.feed_program",
    "bench.load.precision_program",
    "bench.scale.program",
    "bench.target.scrape_program",
    "mockserver.cli",
    "mockserver.http.server",
    "mockserver.native",
    "promptset.cli",
    "promptset.tokenizer_files",
    "uvloop",
)
"""Modules that a run and a mock import sooner or later. Each copy imports a missing module itself."""
STARTERS = (
    "bench.capacity_plan.simulators",
    "bench.console.beside",
    "bench.console.hub_loads",
    "bench.console.runner",
    "bench.console.service",
    "bench.process.child_process",
    "bench.process.mock_process",
    "bench.stores.words",
    "bench.tuning.servers",
    "mockserver.api",
)
"""Modules that start such programs."""
KEPT = {"stdin", "stdout", "stderr", "text", "cwd", "env", "start_new_session", "pass_fds"}
"""The Popen settings that a copy supports."""
NEW_INTERPRETERS = {"PYTHONNODEBUGRANGES": "1"}
"""Variables that make a program and its children new interpreters: /proc then shows their environment."""
_CLONE = {"x86_64": 56, "aarch64": 220}
"""The number of the system call."""
_UNBUFFERED = "PYTHONUNBUFFERED"
_WITHOUT_WARNINGS = ("PYTHONWARNINGS", "ignore")
"""The interpreter variables that a copy can follow."""
_WITHOUT_THREADS = {"TOKENIZERS_PARALLELISM": "false", "OPENBLAS_NUM_THREADS": "1"}
"""Threads would not be copied."""
_ENVIRONMENT = dict(os.environ)
"""The environment of the process that is copied: a test may change that of the test process."""
_CLONE_PARENT = 0x8000
_MOST_BYTES = 1 << 18
_MOST_STREAMS = 16
_ROOM_FOR_A_COMMAND = 4096
_OUT_OF_THE_WAY = 512


def popen(command: Sequence[str], *, limits: Mapping[int, int] | None = None, **settings: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen(command, **settings)`, with these system limits (`resource`)."""
    environment: Mapping[str, str] | None = settings.get("env")
    wanted = os.environ if environment is None else environment
    alike = _of_the_interpreter(wanted) == _of_the_interpreter(_ENVIRONMENT)
    ours = command[0] == sys.executable and (command[1] == "-c" or (command[1] == "-m" and command[2] in MODULES))
    able = sys.platform == "linux" and os.uname().machine in _CLONE
    known = ours and settings.keys() <= KEPT
    if alike and known and able:
        return _Copied(command, limits=limits or {}, **settings)
    if limits:
        settings["preexec_fn"] = functools.partial(_limit, limits)
    return subprocess.Popen(command, **settings)


def run_to_end(
    command: Sequence[str], *, input: str | None = None, timeout: float = PATIENCE_S, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout, **settings)`."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    if input is not None:
        pipes["stdin"] = subprocess.PIPE
    with popen(command, **pipes, **settings) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        finally:
            process.kill()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def have_imported(name: str) -> None:
    """Import this module in the original, if it is installed, for all later copies: for modules that few tests need."""
    if sys.platform == "linux" and os.uname().machine in _CLONE:
        _original().copy({"import": name}, [])


def _of_the_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    beginnings = ("PYTHON", "COVERAGE", "LC_", "LANG", "LD_")
    own = {name: value for name, value in environment.items() if name.startswith(beginnings) and name != _UNBUFFERED}
    return dict(own.items() - {_WITHOUT_WARNINGS})


class _Copied(subprocess.Popen[Any]):
    """A process that was copied instead of executed; everything else is as in Popen."""

    def __init__(self, command: Sequence[str], *, limits: Mapping[int, int], **settings: Any) -> None:
        self._limits = limits
        super().__init__(command, **settings)

    def _execute_child(self, *arguments: Any) -> None:
        usual = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]
        given = usual.bind(self, *arguments).arguments
        pipes = [given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        streams = [given["p2cread"], given["c2pwrite"], given["errwrite"]]
        streams = [own if one == -1 else one for own, one in enumerate(streams)]
        passed = sorted(given["pass_fds"])
        told = {
            "words": list(given["args"][1:]),
            "folder": str(Path(given["cwd"] or ".").absolute()),
            "environment": dict(os.environ if given["env"] is None else given["env"]),
            "session": bool(given["start_new_session"]),
            "descriptors": [0, 1, 2, *passed],
            "limits": [*self._limits.items()],
        }
        self.pid = _original().copy(told, [*streams, *passed])
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


class _Original:
    """The connection to the process that is copied."""

    def __init__(self, ours: socket.socket, wait: Callable[[], object]) -> None:
        self._ours, self._wait = ours, wait
        self._lock = threading.Lock()

    def copy(self, told: dict[str, Any], streams: list[int]) -> int:
        """Make a copy; returns its process id. For a module to import, returns the id of the original."""
        with self._lock:
            socket.send_fds(self._ours, [json.dumps(told).encode()], streams)
            answer = self._ours.recv(64)
        if not answer:
            raise OSError(f"the process that is copied ended: {self._wait()}")
        return int(answer)

    def end(self) -> None:
        """Let the original end, and wait for it."""
        self._ours.close()
        self._wait()


@functools.cache
def _original() -> _Original:
    """The original of the test process, a new interpreter. In a copy, `_of_its_own` replaces this function."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.ready_made", str(theirs.fileno()), " " * _ROOM_FOR_A_COMMAND],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env={**_ENVIRONMENT, **_WITHOUT_THREADS, _UNBUFFERED: ""},
    )
    theirs.close()
    original = _Original(ours, process.wait)
    atexit.register(original.end)
    return original


def main(descriptor: int) -> None:
    """Import everything, then make a copy on each request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The terminal signals the requesting process, too.
    for name in IMPORTED:
        importlib.import_module(name)
    _make_what_all_write()
    importlib.import_module("bench.console.pages.site").templates()
    os.environ.clear()
    gc.collect()
    gc.freeze()
    _copy_when_asked(socket.socket(fileno=descriptor))


def _copy_when_asked(asked: socket.socket) -> NoReturn:
    clone = ctypes.CDLL(None).syscall
    number = _CLONE[os.uname().machine]
    while True:
        message, streams, _, _ = socket.recv_fds(asked, _MOST_BYTES, _MOST_STREAMS)
        if not message:
            os._exit(0)
        if (name := json.loads(message).get("import")) is not None:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
            asked.send(str(os.getpid()).encode())
            continue
        # Like a fork, but the copy is a child of our parent, which waits for it.
        pid = clone(number, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            told = json.loads(message)
            try:
                _show_command([sys.executable, *told["words"]])
            finally:  # The requesting process may look for it by its command from now on.
                asked.send(str(os.getpid()).encode())
            _be(told, streams)
        for stream in streams:
            os.close(stream)


def _make_what_all_write() -> None:
    """Make what every default mock and run makes first: the package's tokenizer, its words, and the cost of prompts of
    them; and pydantic's first parse of the declaration of a run."""
    from bench.config import resolve
    from promptset.exact import exact_messages, exact_prompt
    from promptset.rng import stream
    from promptset.text import TokenText
    from promptset.tokens import load_tokenizer

    tokenizer = load_tokenizer()
    TokenText(tokenizer)
    exact_prompt(tokenizer, 100, stream(0, "ready made"))
    exact_messages(tokenizer, 100, stream(0, "ready made"))
    resolve({"url": "http://127.0.0.1"}).public()


def _be(told: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Become the requested program in this copy, and end like it."""
    if told["session"]:
        os.setsid()
    _place(streams, told["descriptors"])
    _limit(dict(told["limits"]))
    if tuple(told["words"][1:3]) in STARTING:
        _start_copies_of_this()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(told["folder"])
    os.environ.update(told["environment"])
    if _WITHOUT_WARNINGS in os.environ.items():
        warnings.simplefilter("ignore")
    _open_streams()
    way, what, *words = told["words"]
    sys.path[0] = told["folder"]
    sys.argv = [way, *words]
    sys.orig_argv = [sys.executable, way, what, *words]
    status: object = None
    try:
        if way == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(what, {"__name__": "__main__"})
    except SystemExit as e:
        status = e.code
    except BaseException as e:  # Print it like the interpreter.
        traceback.print_exc()
        status = 1 if not isinstance(e, KeyboardInterrupt) else 130
    _end(status)


def _show_command(words: Sequence[str]) -> None:
    """Make /proc show this command instead of the original's: tests find a program by it."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    shown = b"\0".join(word.encode() for word in words)[: end - start - 1]
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


def _place(streams: Sequence[int], descriptors: Sequence[int]) -> None:
    """Put each stream at its descriptor, and close all others."""
    above = min(_OUT_OF_THE_WAY, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _MOST_STREAMS)
    held = [fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, above) for stream in streams]
    os.closerange(3, above)
    for stream, descriptor in zip(held, descriptors, strict=True):
        os.dup2(stream, descriptor)
    os.closerange(max(above, descriptors[-1] + 1), 1024)


def _limit(limits: Mapping[int, int]) -> None:
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _start_copies_of_this() -> None:
    """From here on, child processes of this process are copies of its current state."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        _copy_when_asked(theirs)
    theirs.close()
    original = _Original(ours, functools.partial(os.waitpid, pid, 0))
    globals()["_original"] = lambda: original
    for name in STARTERS:
        vars(importlib.import_module(name))["subprocess"] = with_copies()


def with_copies() -> SimpleNamespace:
    """The module subprocess with `popen` instead of Popen, also in `run`."""
    copies = SimpleNamespace(**{**vars(subprocess), "Popen": popen})
    copies.run = FunctionType(subprocess.run.__code__, vars(copies))
    copies.run.__kwdefaults__ = subprocess.run.__kwdefaults__
    return copies


def _open_streams() -> None:
    """Reopen the interpreter's streams: each remembers properties of its original descriptor, such as being a seekable
    file."""
    unbuffered = bool(os.environ.get(_UNBUFFERED))
    for at, name in enumerate(("stdin", "stdout", "stderr")):
        was: TextIOWrapper = getattr(sys, name)
        raw = open(at, "wb" if at else "rb", 0 if at and unbuffered else -1, closefd=False)  # noqa: SIM115 (a descriptor)
        new = TextIOWrapper(
            raw,
            encoding=was.encoding,
            errors=was.errors,
            newline="\n" if at else None,
            line_buffering=name == "stderr" or os.isatty(at),
            write_through=unbuffered,
        )
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _end(status: object) -> NoReturn:
    """End as the interpreter does, but at once."""
    if status is not None and not isinstance(status, int):
        print(status, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(120)
    os._exit(0 if status is None else status if isinstance(status, int) else 1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
