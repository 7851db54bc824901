"""A run asks the server's metrics before the load and after it, and tells what its prefix cache served."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import Exit
from tests.support.literal_replies import GOOD, api, stream, whole
from tests.support.literal_server import LiteralServer, Received, Responder, Step

WORDS = ("--prefix", "tokens=64", "--input-tokens", "128", "--output-tokens", "3", "--requests", "9", "--warmup", "1")


def with_metrics(seen: list[str]) -> Responder:
    """A server whose counters stand at what the requests before the page have brought: 128 tokens each, 32 of them found."""
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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_the_cache_served_of_the_load_is_told_beside_the_plan(tmp_path: Path, workers: str) -> None:
    with LiteralServer(with_metrics([])) as server:
        found = summary(server.url, tmp_path, "--api-key", "key", "--workers", workers)
    assert found["prefix_cache"] == {
        # 64 tokens and the head of the template, in whole blocks, by all but the first of 10.
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
