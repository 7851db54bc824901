"""A report's facts about the server and its GPUs, one by one. A fact without a number is left out."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents import server_facts
from bench.results.server import Gpu, Server
from bench.results.summary import RunSummary
from tests.support.results import filled

TTFT = {"sentence": "the server's TTFT is 2 ms less"}


def count(what: str, client: int, agree: bool) -> dict[str, Any]:
    return {"what": what, "client": client, "agree": agree, "sentence": f"{what} differ"}


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({}, []),
        ({"limits": ["it was full"], "restarts": 1}, [
            "it was full", "the server's counters began again during the load: it was restarted",
        ]),
        ({"scrapes": 7, "failed_scrapes": 2, "error": "HTTP 503"}, ["2 of 9 times the server gave no metrics (HTTP 503)"]),
        ({"reconciliation": {"counts": [], "ttft": None}}, []),
        (
            {"reconciliation": {"ttft": TTFT, "counts": [
                count("aborted", 1, False), count("requests", 1234, True), count("cached_tokens", 5, True),
            ]}},
            [
                "server and client counted the same: 1,234 requests, 5 cached prompt tokens", "aborted differ",
                TTFT["sentence"],
            ],
        ),
        ({"reconciliation": {"ttft": None, "counts": [count("requests", 3, False)]}}, ["requests differ"]),
    ],
)  # fmt: skip
def test_a_server_is_told_to_agree_or_to_be_in_trouble(server: dict[str, Any], said: list[str]) -> None:
    assert [*server_facts.sentences(filled(Server, server))] == said


def rises(**totals: float) -> dict[str, Any]:
    return {name: {"total": total, "per_s": None if total == 7 else total / 10} for name, total in totals.items()}


@pytest.mark.parametrize(
    ("server", "generates", "said"),
    [
        ({}, True, {}),
        (
            {"levels": {"waiting": {"mean": 1.5, "max": 1234}, "kv_cache_used": {"mean": 0.5, "max": 0.995}}}, True,
            {"Requests waiting": "1.500 on average, at most 1,234", "KV cache used": "50% on average, at most 99.5%"},
        ),
        (
            {"counters": rises(prompt_tokens=500, generation_tokens=250, finished=7)}, True,
            {"Prompt tokens": "50 tokens/s", "Output tokens": "25 tokens/s"},
        ),
        ({"counters": rises(generation_tokens=250, finished=20)}, False, {"Requests finished": "2 /s"}),
        ({"counters": rises(prefix_queries=8, prefix_hits=2)}, True, {"Prefix cache": "25% of the prompt tokens"}),
        ({"counters": rises(prefix_queries=0, prefix_hits=0)}, True, {}),
        ({"counters": rises(prefix_hits=2)}, True, {}),
        ({"counters": rises(preemptions=3)}, True, {"Preemptions": "3"}),
    ],
)  # fmt: skip
def test_levels_and_rates_are_those_that_the_server_has(
    server: dict[str, Any], generates: bool, said: dict[str, str]
) -> None:
    rows = server_facts.levels(filled(Server, server), generates=generates)
    assert {row.name: row.value for row in rows} == said


def test_times_lie_between_the_bounds_of_their_buckets() -> None:
    times = {
        "queue_ms": {"n": 2, "mean": None},
        "ttft_ms": {"n": 1234.4, "mean": 12.5, "p50": [10, 20], "p90": [20, None], "p99": None},
    }
    assert server_facts.times(filled(Server, latency=times)) == [
        ("TTFT", "12.50", "10–20", "over 20", "–", "1,234"), ("Time in the queue", "–", "–", "–", "–", "2"),
    ]  # fmt: skip


def test_each_page_and_rank_has_its_row() -> None:
    parts = [
        {"url": "a", "rank": "0", "finished": 5, "generation_tokens": 1234, "running": 2.5, "waiting": 0,
         "kv_cache_used": 0.5, "ttft_ms": 12.5, "itl_ms": 3},
        {"url": "b"},
    ]  # fmt: skip
    rows = server_facts.parts(filled(Server, parts=parts))
    assert rows == [("a", "0", "5", "1,234", "2.500", "0", "50%", "12.50", "3"), ("b", *["–"] * 8)]
    assert {len(row) for row in rows} == {len(server_facts.PART_HEADS)}
    assert server_facts.parts(filled(Server, parts=None)) == []


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        (None, {}),
        ({}, {}),
        (
            {"source": "NVML", "levels": {
                "gpu_utilisation": {"mean": 0.5, "max": 1}, "gpu_power_w": {"mean": 250.5, "max": 300},
                "gpu_memory_bytes": {"mean": 2**30, "max": 3 * 2**30}, "gpu_throttled": {"mean": 0.25, "max": 0.75},
            }},
            {
                "Read by": "NVML", "Utilisation": "50% on average, at most 100%",
                "Power": "250.5 W on average, at most 300 W", "Memory used": "1 GiB on average, at most 3 GiB",
                "Share of time at a lowered clock": "25% on average, at most 75%",
            },
        ),
        (
            {"energy_j": 12.5, "cost_per_million_tokens": 0.5, "joules_per_output_token": 0},
            {
                "Energy": "12.50 J", "Energy of an output token": "0 J",
                "Cost of a million tokens, in and out": "0.500",
            },
        ),
    ],
)  # fmt: skip
def test_a_gpu_says_what_it_did_and_what_a_token_cost(gpu: dict[str, Any] | None, said: dict[str, str]) -> None:
    summary = filled(RunSummary, gpu=None if gpu is None else filled(Gpu, gpu))
    assert {row.name: row.value for row in server_facts.gpu_rows(summary)} == said
