"""vLLM on this machine's CPU, if installed: its usage matches the request, by its tokenizer's files and by its own
count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench import cli
from promptset.exact import exact_messages, exact_prompt
from promptset.kinds import Style
from promptset.rng import stream
from promptset.tokens import load_tokenizer
from tests.support.patience import PATIENCE_S
from tests.support.real_servers import HAS_VLLM, VLLM_MISSING, vllm, write_vllm_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_VLLM, reason=VLLM_MISSING),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_vllm_model(folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[str]:
    with vllm(model) as url:
        yield url


def usage(server: str, path: str, body: dict[str, Any]) -> int:
    reply = httpx.post(f"{server}/v1/{path}", json={"model": "m", "max_tokens": 1, **body}, timeout=PATIENCE_S)
    assert reply.status_code == 200, reply.text
    return int(reply.json()["usage"]["prompt_tokens"])


@pytest.mark.parametrize("kind", ["words", "code", "chinese", "mixed", "random"])
def test_vllms_usage_is_what_was_asked_for(kind: str, server: str, model: Path) -> None:
    tokenizer, style = load_tokenizer(str(model)), Style(kind)
    for n in (1, 17, 300, 4000):
        prompt = exact_prompt(tokenizer, n, stream(1, n), style=style, number=n)
        assert usage(server, "completions", {"prompt": prompt}) == n
        assert usage(server, "completions", {"prompt": tokenizer.encode(prompt)}) == n
        if n > 10:
            messages = exact_messages(tokenizer, n, stream(2, n), "Be brief.", style=style, number=n)
            assert usage(server, "chat/completions", {"messages": messages}) == n


def test_vllms_own_count_is_exact(server: str) -> None:
    tokenizer = load_tokenizer(server)
    for n in (12, 500):
        assert usage(server, "completions", {"prompt": exact_prompt(tokenizer, n, stream(3, n))}) == n
        messages = exact_messages(tokenizer, n, stream(4, n), "Be brief.", style=Style("english"))
        assert usage(server, "chat/completions", {"messages": messages}) == n
    assert tokenizer.decode(tokenizer.encode("hello world")) == "hello world"


def test_the_servers_counts_are_the_clients_to_the_token_and_the_probe_is_not_among_them(
    server: str, tmp_path: Path
) -> None:
    words = ["--concurrency", "4", "--requests", "40", "--warmup", "4", "--input-tokens", "uniform:20..60"]
    words += ["--output-tokens", "uniform:4..20", "--ignore-eos", "--quiet"]
    cli.main(["run", "--url", server, "--out", str(tmp_path / "run"), *words])
    said = json.loads((tmp_path / "run" / "summary.json").read_text())["server"]
    counts = {line["what"]: line for line in said["reconciliation"]["counts"]}
    assert {name: line["agree"] for name, line in counts.items()} == {
        "requests": True,
        "prompt_tokens": True,
        "generation_tokens": True,
    }
    assert counts["requests"]["server"] == 44
    ttft = said["reconciliation"]["ttft"]
    assert ttft["same_requests"]
    # The server's clock starts when its front end has read the request.
    assert ttft["difference_ms"] > 0
    assert {"running", "waiting", "kv_cache_used"} <= said["levels"].keys()
