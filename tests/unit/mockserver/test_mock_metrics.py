"""GET /metrics against the ledger, read by Prometheus' own parser."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mockserver.engine import EngineState
from mockserver.engine.work import Drafts
from mockserver.plans.plan import Plan
from mockserver.record.ledger import LedgerEntry
from mockserver.record.metrics import ServerMetrics, _Histogram, _token_stamps, one_two_five, render
from tests.support.changed import replace

MS = 1_000_000
LABELS = {"model_name": "m", "engine": "0"}


def entry(index: int, stamps_ms: list[int], *, input_tokens: int | None = 7, finished: str = "length") -> LedgerEntry:
    return LedgerEntry(
        id=f"r-{index}",
        index=index,
        attempt=1,
        received_ns=0,
        handled_ns=0,
        plan=Plan(50 * MS, (20 * MS,), 2),
        write_ns=[at * MS for at in [stamps_ms[0], *stamps_ms, stamps_ms[-1]]] if stamps_ms else [],
        chunk_tokens=[],
        chunk_kind="r" + "c" * len(stamps_ms) + "o" if stamps_ms else "",
        blocked=[],
        end_ns=0,
        input_tokens=input_tokens,
        output_tokens=len(stamps_ms),
        finished=finished,
        status=200,
        fault=None,
        bytes_in=0,
        bytes_out=0,
        engine={},
    )


def samples(metrics: ServerMetrics) -> dict[str, float]:
    """Name (with the distinguishing label) -> value."""
    out = {}
    for family in text_string_to_metric_families(render([metrics.samples()]).decode()):
        for sample in family.samples:
            assert sample.labels.items() >= LABELS.items()
            extra = "".join(f"[{v}]" for k, v in sample.labels.items() if k not in LABELS)
            out[sample.name + extra] = sample.value
    return out


def test_finished_requests_are_folded_into_vllms_metrics() -> None:
    metrics = ServerMetrics("m", 1000, lambda: EngineState(3))
    metrics.add(entry(0, [50, 70, 110]))
    metrics.add(entry(1, [60], finished="stop"))
    metrics.add(entry(2, [], finished="abort", input_tokens=None))
    seen = samples(metrics)
    assert seen["vllm:num_requests_running"] == 3
    assert seen["vllm:prompt_tokens_total"] == 14
    assert seen["vllm:generation_tokens_total"] == 4
    for reason, number in (("length", 1), ("stop", 1), ("abort", 1), ("error", 0)):
        assert seen[f"vllm:request_success_total[{reason}]"] == number
    assert seen["vllm:time_to_first_token_seconds_count"] == 2
    assert seen["vllm:time_to_first_token_seconds_sum"] == 0.11
    assert seen["vllm:time_to_first_token_seconds_bucket[0.04]"] == 0
    assert seen["vllm:time_to_first_token_seconds_bucket[0.06]"] == 2
    assert seen["vllm:inter_token_latency_seconds_count"] == 2
    assert seen["vllm:inter_token_latency_seconds_bucket[0.025]"] == 1
    assert seen["vllm:request_time_per_output_token_seconds_sum"] == 0.03
    assert seen["vllm:e2e_request_latency_seconds_bucket[+Inf]"] == 2
    assert seen["vllm:request_decode_time_seconds_sum"] == 0.06
    assert seen["vllm:request_prompt_tokens_sum"] == 14
    assert seen["vllm:request_generation_tokens_count"] == 3


TOKEN_S = ".01 .025 .05 .075 .1 .15 .2 .3 .4 .5 .75 1 2.5 5 7.5 10 20 40 80 +Inf"
REQUEST_S = ".3 .5 .8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680 +Inf"
BUCKETS = {
    "time_to_first_token_seconds": ".001 .005 .01 .02 .04 .06 .08 .1 .25 .5 .75 1 2.5 5 7.5 10 20 40 80 160 640 2560 +Inf",
    "inter_token_latency_seconds": TOKEN_S,
    "request_time_per_output_token_seconds": TOKEN_S,
    **{f"{name}_seconds": REQUEST_S for name in (
        "e2e_request_latency", "request_queue_time", "request_prefill_time", "request_decode_time")},
    "request_prompt_tokens": "1 2 5 10 20 50 +Inf",
    "request_generation_tokens": "1 2 5 10 20 50 +Inf",
    "iteration_tokens_total": "1 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 +Inf",
}  # fmt: skip


def test_the_buckets_are_those_of_vllm() -> None:
    seen = samples(ServerMetrics("m", 60, lambda: EngineState(0, preemptions=0)))
    for name, bounds in BUCKETS.items():
        start = f"vllm:{name}_bucket["
        found = [key.removeprefix(start)[:-1] for key in seen if key.startswith(start)]
        assert [float(bound) for bound in found] == [float(bound) for bound in bounds.split()], name


def test_a_value_at_a_bound_is_in_its_bucket_with_any_way_of_counting() -> None:
    one, many, of_times = (_Histogram("x", "x", (1.0, 2.0)) for _ in range(3))
    one.observe(1.0, times=3)
    one.observe(2.5)
    many.observe_all([1.0, 2.5, 1.0, 1.0])
    of_times.observe_all_ns([10**9, 2.5e9, 10**9, 10**9])
    for histogram in (one, many, of_times):
        values = [sample.value for sample in histogram.family((), ()).samples]
        assert values == [3, 3, 4, 4, 5.5]


def test_a_refused_request_was_seen_by_no_engine() -> None:
    metrics = ServerMetrics("m", 1000, lambda: EngineState(0))
    refused = entry(0, [], finished="error")
    metrics.add(LedgerEntry(**{**{name: getattr(refused, name) for name in LedgerEntry.__slots__}, "plan": None}))
    assert samples(metrics)["vllm:request_success_total[error]"] == 0


def test_many_values_at_once_count_as_one_by_one() -> None:
    at_once, one_by_one = (_Histogram("h", "doc", (0.01, 0.02, 0.5)) for _ in range(2))
    values = [0.02, 0.0, 0.01, 0.3, 7.0, 0.5, 0.02, 0.0100001, 9.0]
    for some in ([], values, [0.6], values[:3]):
        at_once.observe_all_ns(round(value * 1e9) for value in some)
        for value in some:
            one_by_one.observe(value)
    first, second = (histogram.family(["l"], ["v"]) for histogram in (at_once, one_by_one))
    assert [(s.labels, s.value) for s in first.samples[:-2]] == [(s.labels, s.value) for s in second.samples[:-2]]
    assert first.samples[-1].value == pytest.approx(second.samples[-1].value)


def test_scraping_twice_counts_once() -> None:
    metrics = ServerMetrics("m", 1000, lambda: EngineState(0))
    metrics.add(entry(0, [50, 70]))
    assert samples(metrics) == samples(metrics)


def test_token_buckets_go_1_2_5_up_to_the_context() -> None:
    assert one_two_five(1000) == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    assert one_two_five(131072)[-1] == 100_000


def test_an_engine_with_steps_shows_its_cache_its_queue_and_its_steps_from_the_beginning_of_the_metrics() -> None:
    states = [
        EngineState(1, 0, 0.5, prefix_queries=100, prefix_hits=30, preemptions=2, iteration_tokens={8: 5, 9000: 1}),
        EngineState(
            2, 3, 0.25, prefix_queries=160, prefix_hits=46, preemptions=2, iteration_tokens={8: 7, 9: 1, 9000: 1}
        ),
    ]
    metrics = ServerMetrics("m", 1000, lambda: states[0])
    states.pop(0)
    one = entry(0, [50, 70])
    facts = {"queue_ns": 400 * MS, "prefill_ns": 30 * MS}
    metrics.add(LedgerEntry(**{**{name: getattr(one, name) for name in LedgerEntry.__slots__}, "engine": facts}))
    seen = samples(metrics)
    assert (seen["vllm:num_requests_running"], seen["vllm:num_requests_waiting"]) == (2, 3)
    assert seen["vllm:kv_cache_usage_perc"] == 0.25
    assert (seen["vllm:prefix_cache_queries_total"], seen["vllm:prefix_cache_hits_total"]) == (60, 16)
    assert seen["vllm:num_preemptions_total"] == 0
    assert (seen["vllm:iteration_tokens_total_count"], seen["vllm:iteration_tokens_total_sum"]) == (3, 25)
    assert (seen["vllm:iteration_tokens_total_bucket[8.0]"], seen["vllm:iteration_tokens_total_bucket[16.0]"]) == (2, 3)
    assert seen["vllm:request_queue_time_seconds_sum"] == 0.4
    assert seen["vllm:request_prefill_time_seconds_bucket[0.3]"] == 1


def test_an_engine_that_drafts_shows_what_was_right_at_each_position_from_the_beginning_of_the_metrics() -> None:
    states = [EngineState(0, drafts=Drafts(9, (1, 1, 1))), EngineState(0, drafts=Drafts(20, (2, 4, 2)))]
    metrics = ServerMetrics("m", 1000, lambda: states[0])
    states.pop(0)
    seen = {name: value for name, value in samples(metrics).items() if "spec_decode" in name}
    names = ("num_drafts", "num_draft_tokens", "num_accepted_tokens")
    assert [seen[f"vllm:spec_decode_{name}_total"] for name in names] == [5, 11, 5]
    page = render([metrics.samples()]).decode()
    for position, right in ((0, 4), (1, 1)):
        labels = f'engine="0",model_name="m",position="{position}"'
        assert f"vllm:spec_decode_num_accepted_tokens_per_pos_total{{{labels}}} {right}.0" in page


def test_an_engine_without_a_queue_shows_none() -> None:
    metrics = ServerMetrics("m", 1000, lambda: EngineState(0))
    metrics.add(entry(0, [50, 70]))
    assert not {name for name in samples(metrics) if "kv_cache" in name or "queue_time" in name or "iteration" in name}


def test_reasoning_is_text_as_well() -> None:
    thinking = replace(entry(0, [50, 70, 110]), chunk_kind="rttco")
    seen = [ServerMetrics("m", 1000, lambda: EngineState(0)) for _ in range(2)]
    seen[0].add(thinking)
    seen[1].add(entry(0, [50, 70, 110]))
    assert samples(seen[0]) == samples(seen[1])


@pytest.mark.parametrize("kinds", ["rcccuo", "cccco", "rcotco", "rtttcco", "fffo", "o", "", "rco", "rcrco"])
def test_the_tokens_of_a_reply_are_its_chunks_of_text_reasoning_and_calls(kinds: str) -> None:
    line = entry(0, [])
    values = {name: getattr(line, name) for name in LedgerEntry.__slots__}
    stamps = [100 + i for i in range(len(kinds))]
    found = _token_stamps(LedgerEntry(**{**values, "write_ns": stamps, "chunk_kind": kinds}))
    assert list(found) == [at for at, kind in zip(stamps, kinds, strict=True) if kind in "ctf"]
