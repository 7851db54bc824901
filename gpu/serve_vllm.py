#!/usr/bin/env python3
"""Starts vLLM, or another engine, with options that suit the GPU, waits until it is healthy, and prints how to measure it.

    decide (pure: GPUs, options, command)  ->  start  ->  wait for /health  ->  stay until either side ends

Standard library only: it runs in the engine's own environment, where Trueload is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from gpu.engines import ENGINES, CannotServe, Gpu, command_line, option_value, parser_and_rest

POLL_S = 0.5
PROGRESS_EVERY_S = 10.0
STOP_GRACE_S = 30.0
LAST_LINES = 20

_EPILOG = """\
Options after -- go to the engine unchanged and take precedence over the options that this script chooses.

Examples:
  python gpu/serve_vllm.py Qwen/Qwen2.5-7B-Instruct
  python gpu/serve_vllm.py ./my-model --gpus 0,1 --port 8001 -- --max-model-len 16384
  python gpu/serve_vllm.py ./tiny-model --allow-cpu -- --dtype bfloat16 --enforce-eager
  python gpu/serve_vllm.py ./model.gguf --engine llama.cpp -- --ctx-size 65536
"""


def parse_gpus(csv: str) -> list[Gpu]:
    """Parse the output of nvidia-smi (index, name, memory.total in MiB). Raises CannotServe."""
    gpus = []
    for line in filter(None, (line.strip() for line in csv.splitlines())):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 3 or not fields[0].isdigit() or not fields[2].isdigit():
            raise CannotServe(
                f"nvidia-smi lists a GPU that is not understood: {line!r}; use --allow-cpu to let the engine choose"
            )
        gpus.append(Gpu(int(fields[0]), fields[1], int(fields[2])))
    return gpus


def find_gpus() -> list[Gpu]:
    """The GPUs that nvidia-smi lists. Raises CannotServe if it is missing, fails, or lists none."""
    if shutil.which("nvidia-smi") is None:
        raise CannotServe("no GPU here: nvidia-smi is not on PATH; use --allow-cpu to start on the CPU")
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]
    found = subprocess.run(query, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        said = (found.stdout + found.stderr).strip().splitlines()
        raise CannotServe(
            f"no GPU here: nvidia-smi says {said[0] if said else 'nothing'!r}; use --allow-cpu to start on the CPU"
        )
    gpus = parse_gpus(found.stdout)
    if not gpus:
        raise CannotServe("no GPU here: nvidia-smi lists none; use --allow-cpu to start on the CPU")
    return gpus


def choose_gpus(asked: str, gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """The GPUs to use. `asked` is a list of indices, `all`, or `first`; the last two choose among CUDA_VISIBLE_DEVICES
    (`visible`). Raises CannotServe."""
    by_index = {gpu.index: gpu for gpu in gpus}
    if asked in ("all", "first"):
        if visible is None:
            usable = list(gpus)
        else:
            usable = [by_index[int(i)] for i in visible.split(",") if i.strip().isdigit() and int(i) in by_index]
            if not usable:
                raise CannotServe(f"CUDA_VISIBLE_DEVICES={visible} names no GPU by its index: choose with --gpus 0,1")
        return usable if asked == "all" else usable[:1]
    wanted = [part.strip() for part in asked.split(",")]
    if unknown := [part for part in wanted if not part.isdigit() or int(part) not in by_index]:
        known = ", ".join(map(str, by_index))
        raise CannotServe(f"--gpus {asked}: there is no GPU {', '.join(unknown)}; nvidia-smi lists {known}")
    return [by_index[int(part)] for part in dict.fromkeys(wanted)]


def require_free(host: str, port: int) -> None:
    """Raises CannotServe if another program listens there: its health would count as the engine's."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            raise CannotServe(f"{host}:{port} cannot be listened on ({e.strerror}): choose another --port") from e


def base_url(host: str, port: int) -> str:
    """The URL by which this machine reaches the server."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


# A proxy from the environment must not stand between us and this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_healthy(url: str) -> bool:
    """Whether /health answers 200."""
    try:
        with _opener.open(f"{url}/health", timeout=2.0) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def served_name(url: str, api_key: str | None) -> str | None:
    """The model's served name; None if the server does not report it."""
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    try:
        with _opener.open(urllib.request.Request(f"{url}/v1/models", headers=headers), timeout=5.0) as reply:
            listing: Any = json.load(reply)
        return str(listing["data"][0]["id"])
    except (urllib.error.URLError, OSError, ValueError, LookupError, TypeError):
        return None


class Server:
    """The running engine, in its own session, so that Ctrl-C reaches it once: from this script."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.stopped_by: int | None = None
        # Block signals until there is a process to forward them to: the engine must not be left behind.
        held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
        for number in held:
            signal.signal(number, self._forward)
        with log.open("wb") as output:
            # Straight into the file: a pipe could fill while nobody reads.
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                # A child inherits the signal mask: it must start with none blocked.
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, held),  # noqa: PLW1509
            )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)

    def _forward(self, number: int, _: FrameType | None) -> None:
        """Pass the first signal to the engine, which stops its workers; kill everything on the second."""
        if self.stopped_by is None:
            self.stopped_by = number
            self.process.send_signal(number)
        else:
            self.kill_all()

    def kill_all(self) -> None:
        """Kill the whole process group: a worker that outlives the engine would keep the GPU's memory."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self, timeout_s: float) -> int | None:
        """The exit status, or None after the timeout."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> int:
        """Stop the engine, by force after STOP_GRACE_S. Returns its exit status."""
        if self.process.poll() is None and self.stopped_by is None:
            self.process.terminate()
        if (status := self.wait(STOP_GRACE_S)) is None:
            self.kill_all()
            status = self.process.wait()
        return status

    def last_lines(self, count: int) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]


def shell_status(returncode: int) -> int:
    """The exit status in shell terms: 128 + n for signal n."""
    return 128 - returncode if returncode < 0 else returncode


def say(text: str) -> None:
    """Print progress to stderr: stdout has only the URL and the command."""
    print(text, file=sys.stderr, flush=True)


def wait_until_healthy(server: Server, url: str, timeout_s: float) -> int | None:
    """Wait until the engine is healthy. Returns None then; otherwise the exit status to end with."""
    started = time.monotonic()
    next_word = started + PROGRESS_EVERY_S
    while not is_healthy(url):
        status = server.wait(POLL_S)
        now = time.monotonic()
        if server.stopped_by is not None:
            server.stop()
            return 128 + server.stopped_by
        if status is not None:
            say(f"{server.name} ended before it was healthy")
            return report_end(server, status) or 1
        if now - started > timeout_s:
            server.stop()
            say(
                f"{server.name} was not healthy after {timeout_s:g} s and was stopped: see {server.log}, or raise --timeout"
            )
            return 1
        if now >= next_word:
            next_word += PROGRESS_EVERY_S
            say(f"{now - started:5.0f} s  {(server.last_lines(1) or ['no log yet'])[0][:150]}")
    say(f"healthy after {time.monotonic() - started:.1f} s")
    return None


def bench_line(url: str, name: str, model: str) -> str:
    """The command that measures this server."""
    run = ["python", "-m", "bench", "run", "--url", url, "--model", name, "--tokenizer", model]
    return shlex.join([*run, "--concurrency", "8", "--requests", "100", "--ignore-eos"])


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """This script's options, and those after -- for the engine."""
    parser, ours, extra = parser_and_rest(argv, __doc__, _EPILOG)
    add = parser.add_argument
    add("model", metavar="MODEL", help="hub id, directory or file of the model")
    add("--engine", choices=tuple(ENGINES), default="vllm", help="what serves it (default: vllm)")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    add("--gpus", default="first", metavar="LIST", help="indices such as 0,1; all; first (default: first)")
    add("--allow-cpu", action="store_true", help="start although there is no GPU (a build for the CPU)")
    add("--timeout", type=float, default=1800.0, metavar="S", help="seconds to become healthy (default: 1800)")
    add("--log", type=Path, metavar="FILE", help="where vllm's output goes (default: a temporary file)")
    return parser.parse_args(ours), extra


def serve(options: argparse.Namespace, extra: list[str]) -> int:
    """Start the engine and stay until it ends. Returns the exit status; raises CannotServe."""
    engine = ENGINES[options.engine]
    engine.program()
    gpus: list[Gpu] = []
    if options.allow_cpu:
        say("not looking for GPUs (--allow-cpu)")
    else:
        found = find_gpus()
        gpus = choose_gpus(options.gpus, found, os.environ.get("CUDA_VISIBLE_DEVICES"))
        say(f"{len(gpus)} of {len(found)} GPUs: " + ", ".join(f"{g.index} {g.name} {g.memory_mib} MiB" for g in gpus))
    command = command_line(engine, options.model, options.host, options.port, gpus, extra)
    require_free(options.host, options.port)
    environment = dict(os.environ)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu.index) for gpu in gpus)
        # nvidia-smi counts GPUs by bus; CUDA would count the fastest first.
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    log = options.log or Path(tempfile.mkstemp(prefix=f"{options.engine}-", suffix=".log")[1])
    api_key = option_value(extra, "--api-key") or environment.get(engine.key_variable)
    say(f"starting: {shlex.join(part.replace(api_key, '***') if api_key else part for part in command)}")
    say(f"its log:  {log}")
    server = Server(options.engine, command, environment, log)
    try:
        return attend(server, options, extra, api_key)
    finally:
        server.kill_all()


def attend(server: Server, options: argparse.Namespace, extra: Sequence[str], api_key: str | None) -> int:
    """Wait until the engine is healthy, print how to measure it, and stay until it ends. Returns the exit status."""
    url = base_url(options.host, options.port)
    if (failure := wait_until_healthy(server, url, options.timeout)) is not None:
        return failure
    name = served_name(url, api_key) or option_value(extra, "--served-model-name") or options.model
    say("measure it with the line below" + ("" if api_key is None else ", and OPENAI_API_KEY set to its key"))
    print(url)
    print(bench_line(url, name, options.model), flush=True)
    while (status := server.wait(POLL_S)) is None and server.stopped_by is None:
        pass
    if server.stopped_by is not None:
        server.stop()
        return 128 + server.stopped_by
    return report_end(server, status or 0)


def report_end(server: Server, returncode: int) -> int:
    """Report that the engine ended on its own, with the end of its log. Returns the exit status."""
    status = shell_status(returncode)
    say(f"{server.name} ended with status {status}. The end of {server.log}:")
    for line in server.last_lines(LAST_LINES):
        say(f"  {line}")
    return status


def main(argv: Sequence[str]) -> int:
    """Exit status: the engine's own; 128 + n after signal n; 2 if it could not start; 1 if it never became healthy."""
    options, extra = parse_arguments(argv)
    try:
        return serve(options, extra)
    except CannotServe as e:
        say(f"serve_vllm: {e}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
