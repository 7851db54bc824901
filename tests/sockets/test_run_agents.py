"""Agent sessions over sockets: by the server's own count, prompts have the planned tokens, and its cache hits match the
plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import Exit
from tests.support.mock_process import mock_process
from tests.support.record_rows import record_rows

SERVER = ("--engine", "batching", "--step-cost", "b0=500,b1=1,b2=5,a0=100", "--prefix-caching", "on",
          "--reply-details", "cached_tokens")  # fmt: skip
BLOCK = 16
REQUESTS = 45
RECIPE = """\
like: coding-agent
turns: uniform:8..16
context_limit: 6000
first_context: uniform:600..1800
system: {tokens: uniform:200..400}
growth: uniform:30..200
output_tokens: uniform:2..12
compaction: {share: 5%, keeps: 15%..60%}
cache_break: {share: 5%}
sub_agents: {share: 10%, agents: uniform:1..3, turns: uniform:1..4, first_context: uniform:500..900}
"""


def held(tmp_path: Path, *more: str) -> list[dict[str, Any]]:
    recipe = tmp_path / "own.yaml"
    recipe.write_text(RECIPE)
    with mock_process(*SERVER) as mock:
        words = ["run", "--url", mock.url, "--mode", "sessions", "--dataset", str(recipe), "--trace-speed", "5000",
                 "--concurrency", "3", "--requests", str(REQUESTS), "--out", str(tmp_path / "run"), "--quiet",
                 *more]  # fmt: skip
        assert cli.main(words) in (
            Exit.GOOD,
            Exit.INVALID,
        )  # A busy machine may be late. Only the sent requests matter here.
    return record_rows(tmp_path / "run" / "requests.jsonl")


def share(records: list[dict[str, Any]], key: str) -> float:
    return float(sum(one[key] // BLOCK * BLOCK for one in records) / sum(one["input_tokens"] for one in records))


@pytest.mark.parametrize("endpoint", ["chat", "messages"])
def test_with_planned_answers_prompts_and_cache_hits_are_those_of_the_plan(tmp_path: Path, endpoint: str) -> None:
    records = held(tmp_path, "--history", "planned", "--endpoint", endpoint)
    assert len(records) == REQUESTS
    assert {one["outcome"] for one in records} == {"ok"}
    assert [one["input_tokens"] for one in records] == [one["input_tokens_asked"] for one in records]
    assert {one["agent"] is None for one in records} == {True, False}
    if endpoint == "chat":  # Replies of chat report cached tokens.
        assert share(records, "cached_tokens") == pytest.approx(share(records, "cached_tokens_planned"), abs=0.005)
        off = [one for one in records if one["cached_tokens"] // BLOCK != one["cached_tokens_planned"] // BLOCK]
        assert len(off) <= 4  # Texts may begin alike by chance, and a parallel request may not have finished a block.
        assert share(records, "cached_tokens") > 0.7


def test_with_the_servers_answers_the_cache_has_no_more_than_these_besides(tmp_path: Path) -> None:
    records = held(tmp_path, "--history", "real")
    assert {one["outcome"] for one in records} == {"ok"}
    more = share(records, "cached_tokens") - share(records, "cached_tokens_planned")
    answers = sum(one["output_tokens"] for one in records) / sum(one["input_tokens"] for one in records)
    assert -0.005 <= more <= answers + 0.005
