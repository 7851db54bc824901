"""A third-party server, llama.cpp's, measured as a user would do it: every number exists and fits the others."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from bench.transport import TRANSPORTS
from promptset.exact import exact_messages, exact_prompt, least_messages
from promptset.kinds import Style
from promptset.rng import stream
from promptset.tokens import load_tokenizer
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import run_to_end
from tests.support.real_servers import llama_cpp
from tests.support.record_rows import record_rows

pytest.importorskip("xllamacpp", reason="the extra `real` is not installed")
pytest.importorskip("gguf", reason="the extra `real` is not installed")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS = 24, 100, 8
BUSY = re.compile(
    "waited for a processor|stood still|bottleneck|the client was busy|event loop was late|came several in one read|"
    "tokens shared reads|Little's law is [01]\\.|sent again .* kept them for over 10 ms"
)
"""Reasons caused by the machine, and neither by the client nor the server. (The httpx transport reports an end a little
late; how late depends on the machine. The server closes a connection that was idle for 5 s; on a busy machine the
request that crosses this close hears of it after more than 10 ms.)"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with llama_cpp() as url:
        yield url


# Other tests (test_http_decisions.py and others) compare the two transports on literal replies.
@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name == "wire" else pytest.mark.long) for name in TRANSPORTS]
)
def measured(
    request: pytest.FixtureRequest, server: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """The exit status, the summary and the records of a run."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    command = [sys.executable, "-m", "bench", "run", "--url", server, "--transport", request.param, "--out", str(out)]
    command += ["--concurrency", "4", "--requests", str(REQUESTS), "--input-tokens", str(INPUT_TOKENS)]
    command += ["--output-tokens", str(OUTPUT_TOKENS), "--ignore-eos", "--check-usage"]
    ran = run_to_end(command)
    assert (out / "summary.json").exists(), ran.stderr
    records = record_rows(out / "requests.jsonl")
    return ran.returncode, json.loads((out / "summary.json").read_text()), records


def test_nothing_but_a_busy_machine_is_wrong_with_the_run(measured: tuple[int, dict[str, Any], Any]) -> None:
    status, summary, _ = measured
    assert [reason for reason in summary["verdict"]["reasons"] if BUSY.search(reason) is None] == []
    assert status == (3 if summary["verdict"]["status"] == "INVALID" else 0)


def test_a_run_with_the_default_lengths_succeeds(server: str, tmp_path: Path) -> None:
    words = ["run", "--url", server, "--requests", "1", "--out", str(tmp_path / "run")]
    ran = run_to_end([sys.executable, "-m", "bench", *words])
    counts = json.loads((tmp_path / "run" / "summary.json").read_text())["counts"]
    assert (counts["succeeded"], counts["failed"]) == (1, 0), ran.stdout


def test_the_summary_keeps_its_schema(measured: tuple[int, dict[str, Any], Any]) -> None:
    schema = json.loads((ROOT / "bench" / "report" / "summary.schema.json").read_text())
    jsonschema.validate(measured[1], schema)


def test_every_request_succeeded_and_is_counted(measured: tuple[int, dict[str, Any], Any]) -> None:
    _, summary, records = measured
    assert len(records) == REQUESTS
    counts = summary["counts"]
    assert (counts["planned"], counts["sent"], counts["succeeded"]) == (REQUESTS, REQUESTS, REQUESTS)
    assert (counts["failed"], counts["interrupted"], counts["dropped"]) == (0, 0, 0)
    assert counts["by_outcome"] == {"ok": REQUESTS}
    assert counts["by_status"] == {"200": REQUESTS}
    assert summary["errors"] == []


def test_token_counts_are_those_asked_for_and_those_of_the_text(measured: tuple[int, dict[str, Any], Any]) -> None:
    _, summary, records = measured
    for record in records:
        assert record["input_tokens"] == record["input_tokens_asked"] == INPUT_TOKENS
        assert record["output_tokens"] == record["output_tokens_asked"] == OUTPUT_TOKENS
        assert record["output_tokens_from"] == "usage"
        assert record["output_tokens_counted"] == OUTPUT_TOKENS
    assert summary["tokens"]["mismatch"]["share"] == 0


@pytest.mark.parametrize("metric", ["ttft_ms", "tpot_ms", "e2el_ms", "tps", "ttft_from_intended_ms", "ttfo_ms"])
def test_every_metric_of_a_request_is_there_and_ordered(metric: str, measured: tuple[int, dict[str, Any], Any]) -> None:
    numbers = measured[1]["latency"][metric]
    # A client that was stopped may have read a whole reply at once, which shows little or nothing of its speed.
    at_once = 0
    for record in measured[2]:
        tokens = [at for at, kind in zip(record["chunk_ns"], record["chunk_kind"], strict=True) if kind == "c"]
        at_once += tokens[0] == tokens[-1]
    assert REQUESTS - (at_once if metric == "tps" else 0) <= numbers["n"] <= REQUESTS
    order = [numbers[stat] for stat in ("min", "p50", "p75", "p90", "p95", "p99", "p999", "max")]
    assert order == sorted(order)
    assert numbers["min"] > 0 or (metric == "tpot_ms" and at_once)
    assert numbers["min"] <= numbers["mean"] <= numbers["max"]
    if (interval := numbers["ci95"]["p50"]) is not None:  # These few requests may be worth too few values.
        assert interval[0] <= numbers["p50"] <= interval[1]


def test_the_latencies_of_each_request_fit_each_other(measured: tuple[int, dict[str, Any], Any]) -> None:
    # Computed from the records by this test: the last token comes after TTFT plus all gaps.
    for record in measured[2]:
        tokens = [at for at, kind in zip(record["chunk_ns"], record["chunk_kind"], strict=True) if kind == "c"]
        ttft, e2el = tokens[0] - record["sent_ns"], tokens[-1] - record["sent_ns"]
        assert 0 < ttft <= e2el <= record["end_ns"] - record["sent_ns"]
        assert record["intended_ns"] <= record["sent_ns"] < record["first_byte_ns"] <= tokens[0]
        assert tokens == sorted(tokens)


def test_the_means_fit_each_other(measured: tuple[int, dict[str, Any], Any]) -> None:
    latency = measured[1]["latency"]
    # All replies have the same length, so the means add up like each request: E2EL = TTFT + TPOT x (n - 1). A text
    # chunk may bring two tokens at once (then k1 is not 1), so one gap more or less is allowed.
    sum_ms = latency["ttft_ms"]["mean"] + latency["tpot_ms"]["mean"] * (OUTPUT_TOKENS - 1)
    assert sum_ms == pytest.approx(latency["e2el_ms"]["mean"], abs=1.5 * latency["tpot_ms"]["mean"])
    assert latency["itl_ms"]["mean"] == pytest.approx(latency["tpot_ms"]["mean"], rel=0.1)


def test_the_rates_are_the_counts_over_the_time(measured: tuple[int, dict[str, Any], Any]) -> None:
    throughput = measured[1]["throughput"]
    assert throughput["requests_per_s"] * throughput["duration_s"] == pytest.approx(REQUESTS)
    assert throughput["input_tokens_per_s"] == pytest.approx(throughput["requests_per_s"] * INPUT_TOKENS)
    assert throughput["output_tokens_per_s"] == pytest.approx(throughput["requests_per_s"] * OUTPUT_TOKENS)


def test_four_users_are_in_flight_and_both_accounts_agree(measured: tuple[int, dict[str, Any], Any]) -> None:
    load = measured[1]["load"]
    assert load["concurrency_max"] == 4
    assert 3 < load["concurrency_mean"] <= 4
    assert abs(load["littles_law"]["difference"]) < 0.05


# The server's usage for prompts outside of a run equals our count, to the token.
SYSTEM = "You answer in one sentence.\n\nNever apologize."
HISTORY = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A model. 你呢？"}]
OTHER_KINDS = ("english", "json", "chinese", "mixed")
LENGTHS = (17, 130)  # The server reads each prompt, which takes most of the time of these tests.


def usage(server: str, path: str, body: dict[str, Any]) -> int:
    reply = httpx.post(
        f"{server}/v1/{path}", json={"model": "random-llama", "max_tokens": 1, **body}, timeout=PATIENCE_S
    )
    assert reply.status_code == 200, reply.text
    return int(reply.json()["usage"]["prompt_tokens"])


# tests/unit/promptset/test_kinds.py checks the other kinds, and that each is exact with this tokenizer.
@pytest.mark.parametrize(
    "kind",
    ["words", "code", "random", *(pytest.param(kind, marks=pytest.mark.long) for kind in OTHER_KINDS)],
)
def test_the_servers_usage_of_every_kind_of_text_is_what_was_asked_for(kind: str, server: str) -> None:
    tokenizer, style = load_tokenizer(), Style(kind)
    for n in LENGTHS:
        prompt = exact_prompt(tokenizer, n, stream(1, n), style=style, number=n)
        assert usage(server, "completions", {"prompt": prompt}) == n
        assert usage(server, "completions", {"prompt": tokenizer.encode(prompt)}) == n
        messages = exact_messages(tokenizer, n, stream(2, n), style=style, number=n)
        assert usage(server, "chat/completions", {"messages": messages}) == n
        least = least_messages(tokenizer, SYSTEM, history=HISTORY)
        turns = exact_messages(tokenizer, least + n, stream(3, n), SYSTEM, history=HISTORY, style=style, number=n)
        assert usage(server, "chat/completions", {"messages": turns}) == least + n


def test_the_servers_usage_is_what_its_own_tokenizer_counts(server: str) -> None:
    asked, ours = load_tokenizer(server), load_tokenizer()
    for text in ("the time", "Be brief.\n\n\t{} 中国"):
        assert usage(server, "completions", {"prompt": text}) == asked.count(text) == ours.count(text)
        messages = [{"role": "system", "content": SYSTEM}, *HISTORY, {"role": "user", "content": text}]
        counted = asked.count_chat(messages)
        assert usage(server, "chat/completions", {"messages": messages}) == counted == ours.count_chat(messages)
        assert asked.decode(asked.encode(text)) == text


@pytest.mark.long  # The tests above show that it counts like its usage; the rest is computed from its counts.
def test_the_servers_usage_is_what_its_own_tokenizer_was_asked_for(server: str) -> None:
    tokenizer = load_tokenizer(server)
    for n in (12, 300):
        assert usage(server, "completions", {"prompt": exact_prompt(tokenizer, n, stream(4, n))}) == n
        messages = exact_messages(tokenizer, n, stream(5, n), "Be brief.", style=Style("json"))
        assert usage(server, "chat/completions", {"messages": messages}) == n


def test_what_llama_cpp_says_of_each_request_lies_within_what_the_client_saw(
    measured: tuple[int, dict[str, Any], list[dict[str, Any]]],
) -> None:
    _, summary, records = measured
    for record in records:
        assert record["server_prefill_ms"] > 0
        assert record["server_prefill_ms"] + record["server_decode_ms"] < (record["end_ns"] - record["sent_ns"]) / 1e6
        assert record["server_queue_ms"] is record["draft_tokens"] is None
    assert summary["server_requests"]["prefill_ms"]["n"] == REQUESTS
    assert summary["server_requests"]["drafts"] is None
