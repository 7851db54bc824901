"""gpu/serve_vllm.py with vLLM itself, on the processors of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import real_servers
from tests.support.held_port import held_port
from tests.support.patience import PATIENCE_S

SCRIPT = Path(__file__).parents[2] / "gpu" / "serve_vllm.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not real_servers.HAS_VLLM, reason=real_servers.VLLM_MISSING),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    real_servers.write_vllm_model(folder)
    return folder


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as port:
        yield port


def started(model: Path, port: int, *extra: str, **environment: str) -> subprocess.Popen[str]:
    words = [real_servers.VLLM_PYTHON, str(SCRIPT), str(model), "--port", str(port), "--allow-cpu", "--timeout", "300"]
    line = [*words, "--log", str(model / f"{port}.log"), "--", *real_servers.VLLM_FLAGS, *extra]
    env = {**os.environ, **real_servers.VLLM_OFFLINE, **environment}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.fixture
def server(model: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = started(model, port)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert process.stdout.readline().startswith("python -m bench run")
    yield process, url
    process.kill()
    process.communicate()


def test_it_serves_lists_its_model_counts_and_stops_on_a_signal(
    server: tuple[subprocess.Popen[str], str], port: int
) -> None:
    process, url = server
    (listed,) = httpx.get(f"{url}/v1/models", timeout=PATIENCE_S).json()["data"]
    body = {"model": listed["id"], "prompt": "one two three", "max_tokens": 4}
    usage = httpx.post(f"{url}/v1/completions", json=body, timeout=PATIENCE_S).json()["usage"]
    # The server was started with reports of cached tokens.
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert real_servers.counters(url)["vllm:request_success_total"] == 1
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert "healthy after" in err
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("extra", "environment", "said"),
    [
        (("--no-such-flag", "1"), {}, "no-such-flag"),
        # A cache larger than any memory.
        ((), {"VLLM_CPU_KVCACHE_SPACE": "1000000"}, "vllm ended before it was healthy"),
    ],
)
def test_what_vllm_refuses_is_told_with_its_own_words(
    model: Path, port: int, extra: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    process = started(model, port, *extra, **environment)
    out, err = process.communicate(timeout=300)
    assert (process.returncode not in (0, 128 + signal.SIGTERM), out) == (True, "")
    assert "vllm ended before it was healthy" in err
    assert said in err


def test_a_port_in_use_is_said_before_vllm_is_started(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = started(model, port)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in err
