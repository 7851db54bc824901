"""Messages and Responses of llama.cpp and vLLM: every request succeeds, with the server's own token counts."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ready_made import run_to_end
from tests.support.real_servers import HAS_VLLM, VLLM_MISSING, counters, llama_cpp, vllm, write_vllm_model
from tests.support.record_rows import record_rows

pytestmark = [pytest.mark.slow, pytest.mark.long]

REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS = 12, 60, 24
GENERATED = {"llama.cpp": "llamacpp:tokens_predicted_total", "vllm": "vllm:generation_tokens_total"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
ENDPOINT = pytest.mark.parametrize("endpoint", ["messages", "responses"])


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    url: str


@pytest.fixture(scope="module", params=list(GENERATED))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if request.param == "vllm":
        if not HAS_VLLM:
            pytest.skip(VLLM_MISSING)
        folder = tmp_path_factory.mktemp("model")
        write_vllm_model(folder)
        with vllm(folder, "--enable-auto-tool-choice", "--tool-call-parser", "hermes") as url:
            yield Server("vllm", url)
        return
    if any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "gguf")):
        pytest.skip("the extra `real` is not installed")
    with llama_cpp() as url:
        yield Server("llama.cpp", url)


@dataclass(frozen=True)
class Ran:
    """A run, and how many tokens the server generated in that time, including the probe's."""

    summary: dict[str, Any]
    records: list[dict[str, Any]]
    generated: float

    @property
    def counted(self) -> int:
        return sum(record["output_tokens"] for record in self.records)


def ran(server: Server, endpoint: str, folder: Path, *flags: str, shape: Sequence[str] | None = None) -> Ran:
    if shape is None:
        shape = ("--input-tokens", str(INPUT_TOKENS), "--output-tokens", str(OUTPUT_TOKENS), "--check-usage")
    out = folder / "run"
    command = [sys.executable, "-m", "bench", "run", "--url", server.url, "--endpoint", endpoint, "--out", str(out)]
    command += ["--concurrency", "2", "--requests", str(REQUESTS), "--quiet", *shape, *flags]
    before = counters(server.url)[GENERATED[server.name]]
    done = run_to_end(command)
    assert (out / "summary.json").exists(), done.stderr
    generated = counters(server.url)[GENERATED[server.name]] - before
    records = record_rows(out / "requests.jsonl")
    found = Ran(json.loads((out / "summary.json").read_text()), records, generated)
    assert found.summary["errors"] == []
    assert found.summary["counts"]["succeeded"] == REQUESTS
    probe = 16 if endpoint == "responses" else 4
    assert 0 < found.generated - found.counted <= probe  # A reply may end before its length.
    return found


@ENDPOINT
@pytest.mark.parametrize("way", [(), ("--no-stream",), ("--transport", "httpx")])
def test_every_reply_has_the_tokens_that_the_server_counted(
    way: tuple[str, ...], endpoint: str, server: Server, tmp_path: Path
) -> None:
    found = ran(server, endpoint, tmp_path, *way)
    for record in found.records:
        assert record["input_tokens"] == record["input_tokens_asked"] == INPUT_TOKENS
        assert record["output_tokens_from"] == "usage"
        assert record["usage_contradiction"] is None
    if "--no-stream" not in way:
        assert all(set(record["chunk_kind"]) <= set("rcou") for record in found.records)
        assert found.summary["tokens"]["kinds"]["content"]["tokens"] == found.counted
        assert found.summary["latency"]["ttft_ms"]["n"] == REQUESTS


@ENDPOINT
def test_times_include_those_of_the_server(endpoint: str, server: Server, tmp_path: Path) -> None:
    if server.name != "vllm":
        pytest.skip("llama.cpp keeps no times of requests")
    before = counters(server.url)
    ours = ran(server, endpoint, tmp_path).summary["latency"]
    after = counters(server.url)
    for name, histogram in (("ttft_ms", "time_to_first_token_seconds"), ("e2el_ms", "e2e_request_latency_seconds")):
        total, count = (
            after[f"vllm:{histogram}_{part}"] - before[f"vllm:{histogram}_{part}"] for part in ("sum", "count")
        )
        assert count == REQUESTS + 1  # The probe.
        assert ours[name]["mean"] * REQUESTS > 0.5 * total * 1000 / count * REQUESTS


@ENDPOINT
def test_sessions_carry_their_history_in_the_shape_of_the_endpoint(
    endpoint: str, server: Server, tmp_path: Path
) -> None:
    words = ("--mode", "sessions", "--turns", "3")
    found = ran(server, endpoint, tmp_path, *words)
    turns: dict[str, list[int]] = {}
    for record in sorted(found.records, key=lambda record: record["index"]):
        turns.setdefault(record["session"], []).append(record["input_tokens"])
    assert all(lengths == sorted(set(lengths)) for lengths in turns.values())  # Each turn sends more.
    planned = ran(server, endpoint, tmp_path / "planned", *words, "--history", "planned")
    for record in planned.records:
        assert record["input_tokens"] == record["input_tokens_asked"]


@pytest.mark.parametrize("endpoint", ["chat", "messages", "responses"])
def test_tool_calls_are_counted_and_their_arguments_are_tokens(endpoint: str, server: Server, tmp_path: Path) -> None:
    if server.name != "vllm":
        pytest.skip("llama.cpp forces no call with this template")
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([TOOL]))
    shape = ("--input-tokens", str(INPUT_TOKENS), "--output-tokens", "48", "--tools", str(tools))
    found = ran(server, endpoint, tmp_path, "--tool-choice", "required", shape=shape)
    calling = [record for record in found.records if record["tool_calls"]]
    assert len(calling) == found.summary["tokens"]["tool_calls"]["replies"] >= REQUESTS // 2
    for record in calling:
        assert "f" in record["chunk_kind"]
        assert set(record["chunk_kind"]) <= set("rfcou")
