"""What a summary keeps of each request: its row, its gaps, and what no reply may say."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bench.metrics.bounds import LooseTimes
from bench.metrics.columns import Columns
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.metrics.tokens import TokenTimes
from bench.records import MOST_TOKENS, Outcome, RequestRecord
from tests.support.made_records import MS, START_NS, made_record


def test_the_order_of_adding_is_forgotten_though_two_records_have_one_index() -> None:
    records = [made_record(1, end_ns=START_NS + end * MS) for end in (90, 80)]
    found = []
    for order in (records, records[::-1]):
        columns = Columns(START_NS)
        for record in order:
            columns.add(record, good=True)
        columns.sort()
        found.append(columns.end.tolist())
    assert found == [[80 * MS, 90 * MS]] * 2


def test_a_reply_that_claims_more_tokens_than_any_has_is_refused_before_it_fills_memory() -> None:
    facts = RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0, concurrency=1)
    summary = Summary(facts)
    with pytest.raises(ValueError, match="in one reply"):
        summary.add(made_record(chunks_ms=(50, 60), tokens=(1, MOST_TOKENS), n=2))


def test_values_that_a_stamp_leaves_open_are_held_too() -> None:
    # Two gaps, and of two open ones the value, the least and the greatest, of gaps and of ITL: 2 + 6 x 2.
    loose = LooseTimes(([10, 20], [5, 5], [20, 30]), (10, 50), ([10, 20], [5, 5], [20, 30]), (10, 50))
    for limit, exact in ((14, True), (13, False)):
        times = TokenTimes(seed=1, exact_limit=limit)
        times.add(0, 0, [10, 20], None, loose)
        assert times.gaps().exact is exact
    # Of ITL that differ from the gaps both are held: 2 + 3.
    for limit, exact in ((5, True), (4, False)):
        times = TokenTimes(seed=1, exact_limit=limit)
        times.add(0, 0, [10, 20], [5.0, 5.0, 20.0])
        assert times.gaps().exact is exact


def summary_of(*records: RequestRecord, **facts: Any) -> dict[str, Any]:
    given = {"mode": "concurrency", "open_loop": False, "endpoint": "chat", "start_ns": START_NS, "seed": 0}
    summary = Summary(RunFacts(**{**given, "concurrency": 1, **facts}))
    for record in records:
        summary.add(record)
    return cast("dict[str, Any]", summary.close())


def test_the_parts_of_a_run_have_its_requests_and_none_of_the_warm_up() -> None:
    records = [
        made_record(0, phase="warmup", model="b", traffic_class="chat", sent_ms=-500),
        made_record(1, model="b", traffic_class="chat"),
        made_record(2, traffic_class="chat", sent_ms=400, chunks_ms=(50, 60)),
        made_record(3, model="b", outcome=Outcome.RESET, sent_ms=500, chunks_ms=(), end_ns=START_NS + 1000 * MS),
    ]
    found = summary_of(*records, model="a", models=("a", "b"), classes=("chat", "batch"))
    models = {part["model"]: part for part in found["models"]}
    classes = {part["class"]: part for part in found["classes"]}
    assert list(models) == ["a", "b"]
    # Classes stand in their order, those without a request too; the request without one stands behind them.
    assert list(classes) == ["chat", "batch", "(no class)"]
    counted = ("sent", "succeeded", "failed", "error_rate", "by_outcome")
    assert [models["a"][name] for name in counted] == [1, 1, 0, 0.0, {"ok": 1}]
    assert [models["b"][name] for name in counted] == [2, 1, 1, 0.5, {"ok": 1, "reset": 1}]
    assert [classes["chat"][name] for name in counted] == [2, 2, 0, 0.0, {"ok": 2}]
    assert [classes["batch"][name] for name in counted] == [0, 0, 0, None, {}]
    assert classes["batch"]["error_rate_ci95"] is None
    # Rates are per second of the whole run, which took 1 s: those of the parts add up to the run's.
    for parts in (models, classes):
        rates = [part["throughput"]["output_tokens_per_s"] for part in parts.values()]
        assert sum(rates) == found["throughput"]["output_tokens_per_s"] == 5.0
    assert models["b"]["throughput"]["duration_s"] == 1.0
    assert models["a"]["latency"]["e2el_ms"]["p50"] == 60.0
    assert models["b"]["goodput"] is None
    assert found["counts"]["warmup"] == {"requests": 1, "by_outcome": {"ok": 1}}
    assert not {"models", "classes"} & summary_of(*records).keys()
