"""Run directories as a fit reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.fit.read import read_runs, refuse_other_models
from bench.records import Outcome
from bench.run_files.run_directory import SERVER
from bench.server_metrics.exposition import Page
from bench.server_metrics.scrapes import ScrapeLines
from tests.support.gating import spoil
from tests.support.made_records import made_record
from tests.support.made_runs import made_run, write_run

NS_PER_S = 1_000_000_000


def scraped(path: Path, *pages: Mapping[str, float] | str) -> Path:
    """The run with these metrics pages of its server."""
    lines = ScrapeLines(0, "http://127.0.0.1:8000/metrics")
    made = [
        lines.line(at * NS_PER_S, at * NS_PER_S, page if isinstance(page, str) else Page(types={}, values=dict(page)))
        for at, page in enumerate(pages, start=1)
    ]
    (path / SERVER).write_bytes(b"".join(made))
    return path


def refused(*paths: Path) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read_runs(paths)
    return list(caught.value.problems)


def test_a_run_says_what_was_sent_where_and_what_came_back(tmp_path: Path) -> None:
    path = made_run(
        tmp_path / "one", requests=3, spread=0.0, settings={"input_tokens": "16", "endpoint": "completions"}
    )
    (run,) = read_runs([path])
    assert (run.name, run.run_id, run.started) == ("one", "one", "2026-11-01T12:00:00+00:00")
    assert (run.url, run.endpoint, run.model, run.version) == (
        "http://127.0.0.1:8000", "completions", "made", "0.1.0",
    )  # fmt: skip
    assert {name: str(value) for name, value in run.load.items()} == {
        "mode": "rate", "rate": "10.0", "requests": "3", "input_tokens": "16", "output_tokens": "4",
    }  # fmt: skip
    assert (run.server, run.stated) == (None, {})
    # Times are in us since the start of the run. A request every 100 ms, with tokens after 50 ms and then every 5 ms.
    assert [stream.sent_us for stream in run.streams] == [0, 100_000, 200_000]
    assert run.streams[1].arrivals_us == (150_000, 155_000, 160_000, 165_000)


def test_runs_are_in_the_order_of_their_names_as_given(tmp_path: Path) -> None:
    paths = [made_run(tmp_path / name, requests=2) for name in ("b", "a")]
    assert [run.name for run in read_runs(paths)] == ["b", "a"]


def test_a_run_of_several_models_is_refused(tmp_path: Path) -> None:
    path = made_run(tmp_path / "two", requests=2, models=("a", "b"))
    assert refused(path) == [f"{path}: the run sends to several models, and a fit is of one"]
    assert len(read_runs([made_run(tmp_path / "one", requests=2, models=("a",))])) == 1


def test_a_run_of_several_servers_is_refused(tmp_path: Path) -> None:
    def run(name: str, *targets: str | None) -> Path:
        return write_run(
            tmp_path / name, [made_record(i, sent_ms=9.0 * i, target=name) for i, name in enumerate(targets)]
        )

    two = run("two", "http://a", "http://b", None)
    assert refused(two) == [
        f"{two}: several servers answered (http://a, http://b), and a fit is of one: load one of them"
    ]
    assert len(read_runs([run("one", "http://a", "http://a", None)])) == 1


def test_a_run_that_may_not_be_used_says_why(tmp_path: Path) -> None:
    paths = [made_run(tmp_path / name, requests=2) for name in ("invalid", "failed", "suspect", "none")]
    for path, status in zip(paths, ("INVALID", "FAILED", "SUSPECT"), strict=False):
        spoil(path, status)
    (paths[3] / "summary.json").unlink()
    assert [run.unusable for run in read_runs(paths)] == [
        "INVALID (the clock was <set> \x01)", "FAILED (the clock was <set> \x01)", None, None,
    ]  # fmt: skip


def test_every_problem_is_said_at_once(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    several = made_run(tmp_path / "several", requests=2, models=("a", "b"))
    whole = write_run(tmp_path / "whole", [made_record(0, chunks_ms=(50.0,))])
    other = made_run(tmp_path / "other", requests=2, model="another")
    found = refused(nowhere, several, whole, other)
    assert len(found) == 4
    assert found[0].startswith(f"{nowhere} is not a run directory")
    assert found[1].startswith(f"{several}: the run sends to several models")
    assert found[2].startswith(f"{whole}: ")
    assert "no reply came as a stream of tokens that are known" in found[2]
    assert found[3] == "a fit is of one model: whole has made, other has another; fit each by itself"


def test_runs_that_are_held_out_are_of_the_model_that_is_fitted(tmp_path: Path) -> None:
    same, other = (made_run(tmp_path / name, requests=2, model=name) for name in ("made", "other"))
    refuse_other_models("made", [same])
    with pytest.raises(UsageError) as caught:
        refuse_other_models("made", [other, same])
    assert caught.value.problems == [
        f"--held-out {other}: a check is of the model that is fitted (made), and this run has other"
    ]


@pytest.mark.parametrize(
    ("fields", "is_read"),
    [
        ({}, True),
        ({"chunks_ms": (50.0, 60.0)}, True),
        ({"chunks_ms": (50.0,), "tokens": (9,)}, False),
        ({"outcome": Outcome.HTTP_ERROR}, False),
        ({"input_tokens": None}, False),
    ],
    ids=str,
)
def test_a_run_needs_a_reply_that_came_as_a_stream(tmp_path: Path, fields: dict[str, Any], is_read: bool) -> None:
    path = write_run(
        tmp_path / "run", [made_record(0, chunks_ms=(50.0,)), made_record(1, **{"sent_ms": 9.0, **fields})]
    )
    if is_read:
        assert len(read_runs([path])) == 1
    else:
        assert len(refused(path)) == 1


def test_requests_that_failed_are_counted_without_those_that_were_cancelled(tmp_path: Path) -> None:
    outcomes = (Outcome.OK, Outcome.HTTP_ERROR, Outcome.CANCELLED, Outcome.RESET)
    records = [made_record(number, chunks_ms=(50.0, 60.0), outcome=outcome) for number, outcome in enumerate(outcomes)]
    (run,) = read_runs([write_run(tmp_path / "run", records)])
    assert run.failed == 2


def test_a_run_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    path = made_run(tmp_path / "one", requests=2)
    assert refused(path, path) == ["a run is named twice: name each once"]


VLLM = {"vllm:num_requests_running": 1.0}


@pytest.mark.parametrize(
    ("pages", "server", "blocks"),
    [
        ([], None, None),
        ([VLLM], "vLLM", None),
        ([{"sglang:num_running_reqs": 1.0}], "SGLang", None),
        ([{"process_cpu_seconds_total": 1.0}], None, None),
        # 1000 blocks of 32 tokens are 2000 of 16; 3 of 5 are less than one; a block of 24 is one and a half.
        ([VLLM | {'vllm:cache_config_info{block_size="32",num_gpu_blocks="1000"}': 1.0}], "vLLM", 2000),
        ([VLLM | {'vllm:cache_config_info{block_size="16",num_gpu_blocks="4321"}': 1.0}], "vLLM", 4321),
        ([VLLM | {'vllm:cache_config_info{block_size="5",num_gpu_blocks="3"}': 1.0}], "vLLM", 1),
        ([VLLM | {'vllm:cache_config_info{block_size="24",num_gpu_blocks="3"}': 1.0}], "vLLM", 4),
        ([VLLM | {'vllm:cache_config_info{num_gpu_blocks="3"}': 1.0}], "vLLM", None),
        ([VLLM | {'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"}': 1.0}], "vLLM", None),
        # The first page that has samples counts.
        (["refused", {}, VLLM | {'vllm:cache_config_info{block_size="16",num_gpu_blocks="9"}': 1.0}], "vLLM", 9),
        ([VLLM, VLLM | {'vllm:cache_config_info{block_size="16",num_gpu_blocks="9"}': 1.0}], "vLLM", None),
    ],
)
def test_the_servers_page_says_its_kind_and_its_blocks(
    tmp_path: Path, pages: list[Mapping[str, float] | str], server: str | None, blocks: int | None
) -> None:
    (run,) = read_runs([scraped(made_run(tmp_path / "one", requests=2), *pages)])
    assert (run.server, run.stated.get("kv_blocks")) == (server, blocks)
