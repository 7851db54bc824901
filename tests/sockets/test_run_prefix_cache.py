"""A run reads the server's metrics before and after the load, and reports how much its prefix cache served."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from bench import cli
from bench.errors import Exit
from tests.support import tiny_tokenizers
from tests.support.literal_replies import GOOD, api, stream, whole
from tests.support.literal_server import LiteralServer, Received, Responder, Step

WORDS = ("--prefix", "tokens=64", "--input-tokens", "128", "--output-tokens", "3", "--requests", "9", "--warmup", "1")


def with_metrics(seen: list[str]) -> Responder:
    """A server whose counters include all earlier requests: 128 tokens each, 32 of them cached."""
    others = api(lambda request: stream(*GOOD))

    def script(request: Received) -> Sequence[Step]:
        if request.path != "/metrics":
            if "x-request-id" in request.headers:
                seen.append(request.headers["x-request-id"])
            return others(request)
        assert request.headers["authorization"] == "Bearer key"
        loads = sum(not one.startswith("probe-") for one in seen)
        page = f"""vllm:prefix_cache_queries_total{{engine="0"}} {5000 + 128 * loads}
vllm:prefix_cache_hits_total{{engine="0"}} {700 + 32 * loads}
"""
        return whole("200 OK", page.encode())

    return script


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("x", "has the same tokens for different words, or its chat template leaves the words out"),
        ("{{ messages[0]['content'] }}", "only 1 of 1166 English words are a token of their own in any position"),
    ],
    ids=["template", "words"],
)
def test_prompts_that_are_all_one_to_the_tokenizer_are_refused_in_a_sentence(
    template: str, sentence: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = tiny_tokenizers.byte_level_bpe()
    if template != "x":
        made = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tiny_tokenizers.save(made, tmp_path / "tokenizer", template=template)
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        flags = ["--url", server.url, "--requests", "2", "--input-tokens", "30", "--output-tokens", "3", "--quiet"]
        status = cli.main(["run", *flags, "--tokenizer", str(folder), "--out", str(tmp_path / "run")])
    assert status == Exit.USAGE
    assert sentence in capfd.readouterr().err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_the_cache_served_of_the_load_is_told_beside_the_plan(tmp_path: Path, workers: str) -> None:
    with LiteralServer(with_metrics([])) as server:
        found = summary(server.url, tmp_path, "--api-key", "key", "--workers", workers)
    assert found["prefix_cache"] == {
        # 64 tokens and the head of the template, in whole blocks, for all of the 10 prompts except the first.
        "planned_share": pytest.approx(0.5 * 9 / 10),
        "measured_share": 0.25,
        "queried_tokens": 1280,
        "hit_tokens": 320,
        "said_share": None,
        "counted_by": None,
        "off_share": None,
        "rounding_share": None,
    }


def test_who_reads_no_metrics_asks_for_none(tmp_path: Path) -> None:
    with LiteralServer(with_metrics([])) as server:
        found = summary(server.url, tmp_path, "--api-key", "key", "--server-metrics", "off")
        assert not [one for one in server.received if one.path == "/metrics"]
    assert (found["prefix_cache"]["planned_share"], found["prefix_cache"]["measured_share"]) == (0.45, None)


def test_a_server_without_metrics_is_no_trouble(tmp_path: Path) -> None:
    with LiteralServer(api(lambda request: stream(*GOOD))) as server:
        found = summary(server.url, tmp_path)
    assert (found["prefix_cache"]["planned_share"], found["prefix_cache"]["measured_share"]) == (0.45, None)


def summary(url: str, tmp_path: Path, *more: str) -> Any:
    status = cli.main(["run", "--url", url, "--out", str(tmp_path / "run"), *WORDS, *more, "--quiet"])
    assert status in (Exit.GOOD, Exit.INVALID)
    return json.loads((tmp_path / "run" / "summary.json").read_text())
