"""Compatible columns for Messages and Responses: the tool's definition, or a dash with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from bench.metrics.compat import TOOLS, OurNumbers, Readings, numbers_of_inputs, numbers_of_tools
from bench.metrics.histogram import LogHistogram
from bench.results.base import to_plain
from bench.results.numbers import Metric
from tests.support.compat_columns import printed_by_tools
from tests.support.made_records import made_record
from tests.support.results import filled
from tests.support.tables import table_of

KINDS = ("ttft_ms", "e2el_ms", "tpot_ms", "itl_ms")
OURS = OurNumbers({name: filled(Metric, n=1, mean=1.0, p50=1.0, p99=1.0) for name in KINDS}, 4)


def numbers(endpoint: str) -> dict[str, Any]:
    readings, gaps = Readings(), LogHistogram()
    # A tool's name, reasoning, text, text, and the last event with the usage.
    readings.add(table_of(made_record(chunks_ms=(10, 20, 40, 60, 90, 100), kinds="ofctcu", tokens=(0, 1, 1, 1, 1, 0))))
    gaps.extend([20_000_000, 20_000_000, 30_000_000])
    return to_plain(numbers_of_tools(readings, gaps, 1.0, OURS, endpoint))


@pytest.mark.parametrize(
    ("endpoint", "known"),
    [
        ("chat", set(TOOLS)),
        ("completions", set(TOOLS)),
        ("messages", {"aiperf"}),
        ("responses", {"aiperf", "guidellm", "evalscope", "vllm", "vllm_python"}),
    ],
)
def test_a_tool_without_definitions_has_dashes_that_say_so(endpoint: str, known: set[str]) -> None:
    for key, row in numbers(endpoint).items():
        assert (row["ttft_ms"] is not None) is (key in known), key
        if key not in known:
            assert all(row[name] is None for name in KINDS)
            assert row["requests_per_s"] is row["output_tokens_per_s"] is None
            assert set(row["missing"].values()) == {f"it has no known definition for the endpoint {endpoint}"}


def test_definitions_for_responses_are_those_of_each_tool() -> None:
    found = numbers("responses")
    tools = ("aiperf", "guidellm", "evalscope", "vllm", "vllm_python")
    assert {found[key]["ttft_ms"]["p50"] for key in tools} == {20}
    assert {key: found[key]["e2el_ms"]["p50"] for key in tools} == {
        "aiperf": 90, "guidellm": 100, "evalscope": 100, "vllm": 90, "vllm_python": 90
    }  # fmt: skip
    assert found["vllm"]["itl_ms"]["n"] == found["vllm_python"]["itl_ms"]["n"] == 3


@pytest.mark.parametrize(
    ("source", "n", "tokens"),
    [("usage", 3, {"vllm": 3, "vllm_python": 3}), ("tokenizer", 2, {"vllm": 4, "vllm_python": 2})],
)
def test_of_completions_every_chunk_with_choices_counts_for_vllm(source: str, n: int, tokens: dict[str, int]) -> None:
    # An empty text, two texts, a finish reason alone, usage, [DONE].
    record = made_record(
        chunks_ms=(10, 20, 40, 60, 90, 100), kinds="occouo", tokens=(0, 1, 1, 0, 0, 0), n=n, output_tokens_from=source,
        output_tokens_counted=2,
    )  # fmt: skip
    found = printed_by_tools([record], endpoint="completions")
    for tool in ("vllm", "vllm_python"):
        assert [found[tool][name]["p50"] for name in ("ttft_ms", "e2el_ms", "itl_ms")] == [10, 60, 20]
        assert found[tool]["output_tokens"] == tokens[tool]


@pytest.mark.parametrize(
    ("inputs_are", "senders"),
    [
        ("texts", {"aiperf", "genai_bench", "sglang", "vllm_python"}),
        ("documents", {"aiperf", "vllm_python"}),
        ("images", set()),
    ],
)
def test_of_inputs_a_tool_prints_the_time_to_the_end_if_it_can_send_them(inputs_are: str, senders: set[str]) -> None:
    end_to_end = filled(Metric, n=3, mean=1.5, p50=1.0, p99=2.0)
    found = to_plain(numbers_of_inputs(inputs_are, 2.5, end_to_end))
    assert {
        key for key, row in found.items() if row["e2el_ms"] == {"n": 3, "mean": 1.5, "p50": 1.0, "p99": 2.0}
    } == senders
    assert {key for key, row in found.items() if row["requests_per_s"] == 2.5} == senders
    assert {row["missing"].get("e2el_ms") for row in found.values()} <= {None, f"it sends no requests of {inputs_are}"}
    none = to_plain(numbers_of_inputs(inputs_are, 2.5, filled(Metric, n=0)))
    assert {key for key, row in none.items() if row["missing"]["e2el_ms"] == "no request gave a value"} == senders
