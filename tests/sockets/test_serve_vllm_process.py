"""gpu/serve_vllm.py as a process, with stand-ins for `vllm` and `nvidia-smi` on PATH."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.support.held_port import held_port
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.run_process import wait_for
from tests.support.worker_processes import gone

ROOT = Path(__file__).parents[2]
SCRIPT = [sys.executable, str(ROOT / "gpu" / "serve_vllm.py")]
COPIED = [sys.executable, "-m", "gpu.serve_vllm"]
"""The same program as a copy of a process that has imported it, used by all tests but one."""

NVIDIA_SMI = """#!/bin/sh
echo "0, NVIDIA H100 80GB HBM3, 81559"
echo "1, NVIDIA H100 80GB HBM3, 81559"
"""

# Answers /health with 503 twice, then 200. Records its command line and the signals it gets. It imports little, because
# each test starts it.
VLLM = f"""#!{sys.executable} -SE
import json, os, signal, socket, sys

here = os.environ["STAND_IN"]
with open(here + "/started.json", "w") as file:
    json.dump({{"argv": sys.argv[1:], "visible": os.environ.get("CUDA_VISIBLE_DEVICES")}}, file)
with open(here + "/pid", "w") as file:
    file.write(str(os.getpid()))
print("loading weights", flush=True)
for number in range(30):
    print("line", number, flush=True)
if how := os.environ.get("STAND_IN_DIES"):
    print("out of memory", flush=True)
    sys.exit(int(how))
worker = os.posix_spawn("{shutil.which("sleep")}", ["sleep", "86400"], os.environ)
with open(here + "/new", "w") as file:
    file.write(str(worker))
os.rename(here + "/new", here + "/worker")

def end(number, frame):
    with open(here + "/signals", "a") as file:
        print(number, file=file)
    if not os.environ.get("STAND_IN_IS_STUBBORN"):
        os._exit(0)

signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)

options = dict(zip(sys.argv, sys.argv[1:]))
listening = socket.create_server((options["--host"], int(options["--port"])))
asked = 0
while True:
    connection, _ = listening.accept()
    with connection, connection.makefile("rb") as lines:
        path = lines.readline().split()[1]
        while lines.readline().strip():
            pass
        asked += 1
        if path == b"/crash":
            os._exit(9)
        body = json.dumps({{"data": [{{"id": "served-name"}}]}}) if path == b"/v1/models" else ""
        unhealthy = path == b"/health" and (asked < 3 or os.environ.get("STAND_IN_NEVER_HEALTHY"))
        status = "503 Not Yet" if unhealthy else "200 OK"
        connection.sendall(f"HTTP/1.1 {{status}}\\r\\nContent-Length: {{len(body)}}\\r\\n\\r\\n{{body}}".encode())
"""


def write_command(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as port:
        yield port


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    write_command(tmp_path / "bin", "vllm", VLLM)
    write_command(tmp_path / "bin", "nvidia-smi", NVIDIA_SMI)
    return tmp_path


class RunningScript:
    """The running script; its remains are killed at the end."""

    def __init__(self, folder: Path, *arguments: str, program: Sequence[str] = COPIED, **environment: str) -> None:
        kept = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "VLLM_API_KEY")}
        self.folder = folder
        self.process = popen(
            [*program, "some/model", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, "PATH": str(folder / "bin"), "STAND_IN": str(folder), "TMPDIR": str(folder), **environment},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        if (self.folder / "pid").exists():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(self.read("pid")), signal.SIGKILL)

    def ready(self) -> list[str]:
        """The two lines of stdout, printed when the server is healthy."""
        assert self.process.stdout is not None
        return [self.process.stdout.readline().strip() for _ in range(2)]

    def end(self) -> tuple[int, str]:
        """Exit status and stderr."""
        _, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, err

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


def wait_until_gone(pid: str) -> None:
    """A killed orphan is gone when the kernel has reaped it."""
    wait_for(lambda: gone(int(pid)))


def test_it_starts_waits_prints_and_forwards_the_signal(stand_in: Path, port: int) -> None:
    with RunningScript(
        stand_in, "--port", str(port), "--", "--max-model-len", "99", "--api-key", "sk-secret", program=SCRIPT
    ) as script:
        url, line = script.ready()
        assert url == f"http://127.0.0.1:{port}"
        assert line == (
            f"python -m bench run --url {url} --model served-name --tokenizer some/model "
            "--concurrency 8 --requests 100 --ignore-eos"
        )
        started = json.loads(script.read("started.json"))
        assert started["visible"] == "0"
        assert started["argv"] == [
            *["serve", "some/model", "--host", "127.0.0.1", "--port", str(port)],
            *["--tensor-parallel-size", "1", "--gpu-memory-utilization", "0.90"],
            *["--max-num-batched-tokens", "8192", "--max-num-seqs", "1024", "--enable-prompt-tokens-details"],
            *["--max-model-len", "99", "--api-key", "sk-secret"],
        ]
        script.process.send_signal(signal.SIGTERM)
        status, err = script.end()
        wait_until_gone(script.read("worker"))
    assert status == 128 + signal.SIGTERM
    assert script.read("signals").split() == [str(int(signal.SIGTERM))]
    assert "1 of 2 GPUs: 0 NVIDIA H100 80GB HBM3 81559 MiB" in err
    assert "healthy after" in err
    assert "sk-secret" not in err
    assert "--api-key '***'" in err


def test_all_gpus_are_used_together(stand_in: Path, port: int) -> None:
    with RunningScript(stand_in, "--port", str(port), "--gpus", "all") as script:
        script.ready()
        started = json.loads(script.read("started.json"))
        assert started["visible"] == "0,1"
        assert started["argv"][started["argv"].index("--tensor-parallel-size") + 1] == "2"
        script.process.send_signal(signal.SIGINT)
        assert script.end()[0] == 130


def test_a_second_signal_kills_what_does_not_stop(stand_in: Path, port: int) -> None:
    with RunningScript(stand_in, "--port", str(port), STAND_IN_IS_STUBBORN="1") as script:
        script.ready()
        script.process.send_signal(signal.SIGINT)
        wait_for((stand_in / "signals").exists)
        script.process.send_signal(signal.SIGINT)
        assert script.end()[0] == 130
        wait_until_gone(script.read("worker"))


def test_an_early_death_gives_its_status_and_the_end_of_its_log(stand_in: Path, port: int) -> None:
    with RunningScript(stand_in, "--port", str(port), STAND_IN_DIES="3") as script:
        status, err = script.end()
    assert status == 3
    assert "vllm ended before it was healthy" in err
    assert "  out of memory" in err
    assert "  line 29" in err
    assert "loading weights" not in err


def test_an_early_end_without_an_error_is_no_success(stand_in: Path, port: int) -> None:
    with RunningScript(stand_in, "--port", str(port), STAND_IN_DIES="0") as script:
        assert script.end()[0] == 1


def test_a_death_after_it_was_healthy_is_told_too(stand_in: Path, port: int) -> None:
    with RunningScript(stand_in, "--port", str(port)) as script:
        url, _ = script.ready()
        with pytest.raises(OSError, match=r"closed|reset|remote|Remote"):
            urllib.request.urlopen(f"{url}/crash", timeout=PATIENCE_S)
        status, err = script.end()
        wait_until_gone(script.read("worker"))
    assert status == 9
    assert "vllm ended with status 9" in err


def test_a_server_that_is_never_healthy_is_stopped_after_the_timeout(stand_in: Path, port: int) -> None:
    # On a busy machine the start of its worker may take longer than a second.
    for seconds in (1, 10, 100):
        words = ("--port", str(port), "--timeout", str(seconds))
        with RunningScript(stand_in, *words, STAND_IN_NEVER_HEALTHY="1") as script:
            status, err = script.end()
            if (stand_in / "worker").exists():
                wait_until_gone(script.read("worker"))
        assert status == 1
        assert f"was not healthy after {seconds} s and was stopped" in err
        if (stand_in / "worker").exists():
            break


def test_a_port_that_is_taken_is_said_before_anything_starts(stand_in: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with RunningScript(stand_in, "--port", str(port)) as script:
            status, err = script.end()
    assert status == 2
    assert f"127.0.0.1:{port} cannot be listened on" in err
    assert not (stand_in / "started.json").exists()


def test_a_missing_vllm_is_said(stand_in: Path, port: int) -> None:
    (stand_in / "bin" / "vllm").unlink()
    with RunningScript(stand_in, "--port", str(port)) as script:
        status, err = script.end()
    assert (status, "vllm is not installed here: pip install vllm" in err) == (2, True)


@pytest.mark.parametrize(
    ("nvidia_smi", "said"),
    [
        (None, "nvidia-smi is not on PATH"),
        (
            "#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n",
            "nvidia-smi says 'NVIDIA-SMI has failed'",
        ),
        ("#!/bin/sh\n", "nvidia-smi lists none"),
    ],
)
def test_a_missing_gpu_is_said(stand_in: Path, port: int, nvidia_smi: str | None, said: str) -> None:
    (stand_in / "bin" / "nvidia-smi").unlink()
    if nvidia_smi is not None:
        write_command(stand_in / "bin", "nvidia-smi", nvidia_smi)
    with RunningScript(stand_in, "--port", str(port)) as script:
        status, err = script.end()
    assert status == 2
    assert said in err
    assert "--allow-cpu" in err


def test_a_missing_gpu_can_be_allowed(stand_in: Path, port: int) -> None:
    (stand_in / "bin" / "nvidia-smi").unlink()
    with RunningScript(stand_in, "--port", str(port), "--allow-cpu") as script:
        script.ready()
        started = json.loads(script.read("started.json"))
        assert started == {
            "argv": [*f"serve some/model --host 127.0.0.1 --port {port}".split(), "--enable-prompt-tokens-details"],
            "visible": None,
        }
        script.process.send_signal(signal.SIGTERM)
        script.end()
