"""What other tools would have printed: against simulations of their client loops, and against numbers by hand."""

from __future__ import annotations

import random
from array import array
from typing import Any

import numpy as np
import pytest

from bench.metrics.compat import TOOLS, OurNumbers, Readings, tool_numbers
from bench.metrics.compat.readings import NEVER, OffsetColumn, OtherGaps
from bench.metrics.facts import RunFacts
from bench.metrics.histogram import LogHistogram
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.numbers import Metric
from tests.support.changed import replace
from tests.support.compat_columns import printed_by_tools
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_summary import made_summary
from tests.support.results import filled
from tests.support.tables import ints, table_of

# A reply with everything: an early role chunk, reasoning, two tokens in a chunk, an empty delta, a separate finish
# reason, late usage, later [DONE], and an even later end. Usage counts an end token that the text does not have.
ALL = made_record(
    chunks_ms=(40, 50, 60, 70, 90, 95, 99, 104),
    kinds="rtcocouo",
    tokens=(0, 1, 2, 0, 1, 0, 0, 0),
    n=5,
    output_tokens_counted=4,
    output_tokens_asked=6,
    end_ns=START_NS + 110 * MS,
)

EXPECTED: dict[str, tuple[float | None, float | None, float | None, list[float] | None, int]] = {
    # TTFT, E2EL, TPOT, ITL (one per gap or one per request), output tokens
    "vllm": (50, 90, 40 / 4, [10, 10, 20], 5),
    "vllm_python": (50, 90, 40 / 4, [10, 10, 20], 5),
    "aiperf": (50, 90, 40 / 3, [40 / 3], 4),
    "guidellm": (50, 104, 90 / 5, [40 / 4], 5),
    "sglang": (50, 104, 54 / 4, [10, 30], 5),
    "genai_bench": (50, 99, 49 / 4, None, 5),
    "evalscope": (50, 99, 49 / 4, [10, 30], 5),
    "inference_perf": (60, 110, 30 / 2, [0, 30], 3),
    "llmperf": (60, 110, None, [90 / 3], 3),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_reply_with_everything_is_read_as_the_tool_reads_it(tool: str) -> None:
    printed = printed_by_tools([ALL])[tool]
    ttft, e2el, tpot, itl, tokens = EXPECTED[tool]
    for key, value in (("ttft_ms", ttft), ("e2el_ms", e2el), ("tpot_ms", tpot)):
        if value is None:
            assert printed[key] is None
            assert printed["missing"][key] == "it prints no such number"
        else:
            assert printed[key]["n"] == 1
            assert [printed[key][stat] for stat in ("mean", "p50", "p99")] == [pytest.approx(value)] * 3
    if itl is None:
        assert printed["itl_ms"] is None
    else:
        assert printed["itl_ms"]["n"] == len(itl)
        assert printed["itl_ms"]["mean"] == pytest.approx(sum(itl) / len(itl))
    assert printed["output_tokens"] == tokens
    assert printed["requests_per_s"] == 0.5
    assert printed["output_tokens_per_s"] == tokens / 2


TOKENS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "without usage, tokenised": (
        {"output_tokens_from": "tokenizer", "output_tokens": 4, "output_tokens_counted": 4},
        {"vllm": 4, "vllm_python": 4, "aiperf": 4, "guidellm": 3, "sglang": 6, "genai_bench": 4, "llmperf": 3},
    ),
    "without usage and tokenizer": (
        {"output_tokens_from": "chunks", "output_tokens": 3, "output_tokens_counted": None, "chunk_tokens": None},
        {"vllm": 4, "vllm_python": 3, "aiperf": 3, "guidellm": 3, "sglang": 6, "genai_bench": 3, "llmperf": 3},
    ),
    "without usage, in one piece": (
        {"output_tokens_from": "tokenizer", "output_tokens": 4, "chunk_ns": (), "chunk_kind": "", "chunk_tokens": ()},
        {"vllm": 4, "guidellm": 4, "sglang": 6},
    ),
    "without usage, in one chunk": (
        {
            "output_tokens_from": "tokenizer",
            "output_tokens": 4,
            "chunk_ns": (START_NS + 50 * MS,),
            "chunk_kind": "c",
            "chunk_tokens": (4,),
        },
        {"vllm": 1, "guidellm": 1, "sglang": 6},
    ),
    "without usage, nothing asked": (
        {
            "output_tokens_from": "chunks",
            "output_tokens": 3,
            "output_tokens_counted": None,
            "output_tokens_asked": None,
        },
        {"sglang": 3},
    ),
}


@pytest.mark.parametrize("name", TOKENS)
def test_output_tokens_come_from_where_the_tool_takes_them(name: str) -> None:
    fields, expected = TOKENS[name]
    printed = printed_by_tools([replace(ALL, **fields)])
    assert {tool: printed[tool]["output_tokens"] for tool in expected} == expected


def test_a_count_that_no_record_has_is_said_and_another_stands_in() -> None:
    printed = printed_by_tools([replace(ALL, output_tokens_counted=None), ALL])
    assert printed["aiperf"]["output_tokens"] == 5 + 4
    assert any(
        sentence.startswith("Output tokens: 1 of 2 requests have no count")
        for sentence in printed["aiperf"]["differences"]
    )
    assert not any("no count" in sentence for sentence in printed["vllm"]["differences"])


@pytest.mark.parametrize(
    ("kinds", "tokens", "gaps_ms"),
    [("cc", (2, 2), [0, 15, 0]), ("tcc", (1, 1, 1), [5]), ("ccc", (1, 1, 1), [15, 5]), ("cf", (1, 1), [])],
)
def test_each_token_of_content_comes_with_its_chunk(kinds: str, tokens: tuple[int, ...], gaps_ms: list[float]) -> None:
    record = made_record(chunks_ms=(50, 65, 70)[: len(kinds)], kinds=kinds, tokens=tokens)
    itl = printed_by_tools([record])["inference_perf"]["itl_ms"]
    assert (None if itl is None else (itl["n"], itl["mean"])) == (
        (len(gaps_ms), pytest.approx(sum(gaps_ms) / len(gaps_ms))) if gaps_ms else None
    )


def test_a_count_by_usage_is_read_beside_others() -> None:
    printed = printed_by_tools([ALL, replace(ALL, output_tokens_from="tokenizer", output_tokens=4)])
    assert {tool: printed[tool]["output_tokens"] for tool in ("vllm", "guidellm", "genai_bench")} == {
        "vllm": 5 + 4, "guidellm": 5 + 3, "genai_bench": 5 + 4,
    }  # fmt: skip


def test_what_records_cannot_tell_is_counted_table_by_table() -> None:
    readings = Readings()
    for index, chunks_ms in enumerate(((), (50,), (50, 60))):
        readings.add(table_of(made_record(index, chunks_ms=chunks_ms, tokens=None, n=2)))
    assert +readings.without == {"counted": 3, "counted content": 3, "retokenised": 2}


def test_gaps_that_depend_on_unknown_tokens_are_not_told() -> None:
    printed = printed_by_tools([replace(ALL, chunk_tokens=None), ALL])
    missing = {tool: row["missing"].get("itl_ms", "") for tool, row in printed.items() if row["itl_ms"] is None}
    assert missing.keys() == {"inference_perf", "genai_bench"}
    assert missing["inference_perf"].startswith("1 of 2 requests")
    assert printed["inference_perf"]["ttft_ms"]["p50"] == 60


def test_tool_calls_start_the_clock_of_some_tools_only() -> None:
    printed = printed_by_tools([made_record(chunks_ms=(40, 50, 70, 80), kinds="rfcu")])
    assert {tool for tool in TOOLS if printed[tool]["ttft_ms"]["p50"] == 70} == {
        "sglang", "genai_bench", "inference_perf", "llmperf"
    }  # fmt: skip


def test_a_reply_without_text_gives_what_its_chunks_give() -> None:
    printed = printed_by_tools([made_record(chunks_ms=(40, 45, 47), kinds="rou", end_ns=START_NS + 50 * MS)])
    assert {tool: (row["ttft_ms"] or {}).get("p50") for tool, row in printed.items()} == {
        "vllm": 45, "vllm_python": 45, "aiperf": None, "guidellm": None, "sglang": None, "genai_bench": None,
        "evalscope": None, "inference_perf": None, "llmperf": None,
    }  # fmt: skip
    assert printed["llmperf"]["e2el_ms"]["p50"] == 50
    assert printed["guidellm"]["e2el_ms"]["p50"] == 47
    one_chunk = printed_by_tools([made_record(chunks_ms=(40,), kinds="c", n=1, end_ns=START_NS + 50 * MS)])
    assert (one_chunk["llmperf"]["e2el_ms"]["p50"], one_chunk["vllm"]["ttft_ms"]["p50"]) == (50, 40)


def test_content_is_a_mark_beside_other_chunks_and_at_the_ends_of_its_reply() -> None:
    printed = printed_by_tools([made_record(chunks_ms=(40, 50, 70, 75), kinds="cocc")])["vllm"]
    assert (printed["itl_ms"]["n"], printed["itl_ms"]["p50"], printed["itl_ms"]["p99"]) == (3, 10, pytest.approx(19.8))
    printed = printed_by_tools([made_record(k, chunks_ms=range(40, 41 + k % 2)) for k in (1, 2, 3)])["vllm"]
    assert (printed["ttft_ms"]["n"], printed["e2el_ms"]["n"]) == (3, 3)


@pytest.mark.parametrize(
    ("tool", "kinds", "end_ms"),
    [
        ("vllm_python", "coo", 40),  # Chunks after the last text are no output.
        ("genai_bench", "cuu", 50),
        ("genai_bench", "uco", 40),
        ("genai_bench", "ccc", 60),  # Without usage: the last event.
    ],
)
def test_a_reply_ends_at_the_mark_of_the_tool(tool: str, kinds: str, end_ms: int) -> None:
    printed = printed_by_tools([made_record(chunks_ms=(40, 50, 60), kinds=kinds)])
    assert printed[tool]["e2el_ms"]["p50"] == end_ms


def test_a_whole_reply_has_an_end_and_nothing_else() -> None:
    for name, row in printed_by_tools([made_record(chunks_ms=(), n=7, end_ns=START_NS + 80 * MS)]).items():
        assert row["e2el_ms"]["p50"] == 80
        assert row["output_tokens"] == 7
        assert row["ttft_ms"] is None
        assert row["missing"]["ttft_ms"] == "no request gave a value"
        assert not {TOOLS[name].differs.get(key) for key in row["missing"]} & {*row["differences"]}
        assert TOOLS[name].differs["output_tokens"] in row["differences"]
        assert (tool_numbers._RANKS in row["differences"]) is (name in ("guidellm", "evalscope"))
        if name == "guidellm":  # guidellm falls back to the end of the response.
            assert row["tpot_ms"]["p50"] == pytest.approx(80 / 7)
        else:
            assert row["tpot_ms"] is None


def test_what_equals_our_own_numbers_needs_no_sentence() -> None:
    whole = made_record(chunks_ms=(), n=7, end_ns=START_NS + 80 * MS)
    same = {key: filled(Metric) for key in ("ttft_ms", "tpot_ms", "itl_ms")}
    for ours_ms, differs in ((80.0, False), (80.07, False), (80.1, True), (None, True)):
        ours = OurNumbers(same | {"e2el_ms": filled(Metric, mean=ours_ms, p50=ours_ms, p99=ours_ms)}, 7)
        said = printed_by_tools([whole], ours=ours)["evalscope"]["differences"]
        assert said == ([TOOLS["evalscope"].differs["e2el_ms"], tool_numbers._RANKS] if differs else [])


def test_a_reply_of_two_tokens_has_the_time_of_one() -> None:
    printed = printed_by_tools([made_record(chunks_ms=(50, 65))])
    assert (printed["vllm"]["tpot_ms"]["p50"], printed["guidellm"]["itl_ms"]["p50"]) == (15, 15)


def test_failures_count_nowhere() -> None:
    assert printed_by_tools([ALL, replace(ALL, outcome=Outcome.RESET), replace(ALL, sent_ns=None)]) == printed_by_tools(
        [ALL]
    )


def test_nothing_at_all_gives_no_number() -> None:
    for row in printed_by_tools([], None).values():
        assert {key: row[key] for key in ("ttft_ms", "e2el_ms", "tpot_ms", "itl_ms", "requests_per_s")} == {
            "ttft_ms": None, "e2el_ms": None, "tpot_ms": None, "itl_ms": None, "requests_per_s": None,
        }  # fmt: skip


@pytest.mark.parametrize("requests", [301, 300])
def test_quantiles_are_the_tools_own(requests: int) -> None:
    chance = random.Random(7)
    records = [
        made_record(
            i, chunks_ms=[ttft := chance.randrange(40, 90), ttft + 20.0 * n], kinds="cc", tokens=(1, n), n=n + 1
        )
        for i, n in enumerate(chance.choices(range(1, 400), k=requests))
    ]
    printed = printed_by_tools(records)
    first = [(r.chunk_ns[0] - START_NS) / MS for r in records]
    last = [(r.chunk_ns[1] - START_NS) / MS for r in records]
    n = [r.output_tokens for r in records]
    per_token = [a / b for a, b in zip(last, n, strict=True)]  # type: ignore[operator]
    for p, stat in ((0.5, "p50"), (0.99, "p99")):
        assert printed["vllm"]["ttft_ms"][stat] == pytest.approx(np.quantile(first, p))
        assert printed["evalscope"]["ttft_ms"][stat] == np.quantile(first, p, method="inverted_cdf")
        assert printed["evalscope"]["itl_ms"][stat] == np.quantile(
            [b - a for a, b in zip(first, last, strict=True)], p, method="inverted_cdf"
        )
        weighted = np.quantile(per_token, p, method="inverted_cdf", weights=np.array(n, float))
        assert printed["guidellm"]["tpot_ms"][stat] == pytest.approx(weighted)
    assert printed["guidellm"]["tpot_ms"]["mean"] == pytest.approx(np.average(per_token, weights=np.array(n, float)))


@pytest.mark.parametrize("folded", [(), ("base",), ("less",), ("more",), ("base", "less", "more")])
def test_gaps_of_another_kind_are_the_same_whatever_is_folded(folded: tuple[str, ...]) -> None:
    chance = random.Random(3)
    kept, less = ([round(chance.gauss(20e6, 3e6)) for _ in range(n)] for n in (3000, 400))
    more = [round(chance.gauss(9e6, 1e6)) for _ in range(500)]
    base, other = LogHistogram(), OtherGaps()
    base.extend(kept + less)
    other.add(ints(*more), ints(*less))
    other.add(ints(), ints())
    parts = {"base": base, "less": other._less, "more": other._more}
    for name in folded:
        parts[name].fold()
    found = other.over(base)
    assert found.exact is not bool(folded)
    told, values = found.snapshot().describe(), kept + more
    assert told.n == len(values)
    assert told.mean == pytest.approx(np.mean(values))
    assert told.std == pytest.approx(np.std(values, ddof=1))
    for stat, p in (("min", 0), ("p50", 0.5), ("p99", 0.99), ("max", 1)):
        assert told.of(stat) == pytest.approx(np.quantile(values, p), rel=0.002)
    assert base.count == len(kept) + len(less)


def test_all_gaps_of_a_histogram_can_be_taken_out() -> None:
    for fold in (False, True):
        base, gone = LogHistogram(), LogHistogram()
        base.extend([5e6, 7e6])
        gone.extend([7e6, 5e6])
        if fold:
            base.fold()
        base.remove(gone)
        assert base.snapshot().n == 0
        base.extend([3e6])
        assert base.snapshot().describe().max == 3e6


@pytest.mark.parametrize("gaps", [100_000, 100_001])
def test_more_than_a_hundred_thousand_other_gaps_are_held_in_bins(gaps: int) -> None:
    other = OtherGaps()
    other.add(np.arange(gaps), np.arange(0))
    assert other.over(LogHistogram()).exact is (gaps == 100_000)


def _summary(records: list[RequestRecord]) -> Any:
    summary = Summary(RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0))
    summary.add(table_of(*records))
    return to_plain(summary.close())


def _like_vllm(index: int, n: int = 8) -> RequestRecord:
    """The role chunk, the first token, one token every 20 ms, then usage and [DONE], as vLLM sends them."""
    times = [50 + index % 7, *(50 + index % 7 + 20 * k for k in range(n)), 50 + 20 * n, 50 + 20 * n]
    return made_record(index, sent_ms=index * 30.0, chunks_ms=times, kinds="r" + "c" * n + "uo")


def test_only_numbers_that_are_others_get_a_sentence() -> None:
    compat = _summary([_like_vllm(i) for i in range(60)])["compat"]
    assert compat["aiperf"]["ttft_ms"]["p99"] == pytest.approx(compat["vllm"]["ttft_ms"]["p99"])
    assert [compat[tool]["differences"] for tool in ("vllm", "vllm_python")] == [[], []]
    assert [s.split()[0] for s in compat["sglang"]["differences"]] == ["E2EL", "TPOT"]
    assert any("time to first token is in it" in s for s in compat["guidellm"]["differences"])


def test_compat_depends_on_no_order() -> None:
    records = [_like_vllm(i, n=2 + i % 9) for i in range(80)] + [replace(ALL, index=80)]
    assert _summary(records)["compat"] == _summary(records[::-1])["compat"]


def test_marks_that_never_differ_hold_nothing() -> None:
    readings = Readings()
    for index in range(50):
        readings.add(table_of(_like_vllm(index)))
    held = {mark for mark, column in (*readings._first.items(), *readings._last.items()) if not column.same}
    assert held == {"data", "usage", "event", "end"}


def test_a_column_of_distances_is_set_table_by_table() -> None:
    column, base = OffsetColumn(), array("q", [10, 20, 30, 40, NEVER, 60, 70])
    column.set(0, ints(0, 0))
    assert column.same
    column.set(2, ints(0, 5, 0))
    column.set(5, ints(NEVER))
    assert column.over(base).tolist() == [10, 20, 30, 45, NEVER, NEVER, 70]
    assert list(base) == [10, 20, 30, 40, NEVER, 60, 70]


def test_a_count_of_tokens_is_named_only_if_it_differs_from_ours() -> None:
    readings = Readings()
    readings.add(table_of(made_record(n=3, output_tokens_counted=3)))
    assert readings.same_tokens("counted") is None
    readings.add(table_of(made_record(1, n=3, output_tokens_counted=4)))
    assert readings.same_tokens("counted") == "counted"


def test_aiperf_divides_the_time_after_the_first_token_by_the_tokens_after_it() -> None:
    record = made_record(chunks_ms=(50.0, 80.0, 110.0), output_tokens=4, output_tokens_counted=4)
    found = made_summary([record])["compat"]["aiperf"]
    assert (found["tpot_ms"]["p50"], found["itl_ms"]["p50"]) == (20.0, 20.0)  # 60 ms, 3 tokens.


@pytest.mark.parametrize(
    ("tool", "tpot", "itl"),
    [
        ("guidellm", "e2el_ms", "tpot_ms"),  # From the send to the last token, and from the first token to the last.
        ("llmperf", "tpot_ms", "e2el_ms"),
        ("vllm", "tpot_ms", "itl_ms"),
    ],
)
def test_a_number_of_a_tool_is_as_open_as_ours_of_the_same_stamps(tool: str, tpot: str, itl: str) -> None:
    assert [tool_numbers._same_times(TOOLS[tool], name) for name in ("ttft_ms", "tpot_ms", "itl_ms")] == [
        "ttft_ms", tpot, itl
    ]  # fmt: skip
