"""The server's metrics of its prefix cache, and how the report shows them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.documents import token_details
from bench.endpoints.urls import metrics_url
from bench.load.components import source_of
from bench.metrics.cache_plan import CachePlan
from bench.records import Outcome, RequestRecord
from bench.server_metrics.exposition import read_page
from bench.server_metrics.prefix_cache import ComparedCache, PrefixCacheUse, use
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS
from promptset.tokens import load_tokenizer
from tests.support.golden_run import golden_summary
from tests.support.made_records import made_record
from tests.support.rendered import run_text, typed_summary
from tests.support.tables import table_of

PAGE = """\
# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1.25e+06
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 50.0
vllm:prefix_cache_queries_created{engine="0",model_name="m"} 1.7e+09
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 600.0
vllm:prefix_cache_hits_total{engine="1",model_name="m"} 0.0 1700000000
vllm:external_prefix_cache_hits_total{engine="0"} 7.0
"""


def counters(queries: float, hits: float) -> str:
    return f"vllm:prefix_cache_queries_total {queries}\nvllm:prefix_cache_hits_total {hits}\n"


def between(*pages: str) -> ServerSeries:
    found = ServerSeries(SERVERS)
    for second, content in enumerate(pages):
        page = read_page(content.encode())
        assert page is not None
        found.add(Scrape(t_ns=second * 10**9, asked_ns=second * 10**9, page=0, values=page.values))
    return found


@pytest.mark.parametrize("page", [PAGE, PAGE.replace("vllm:prefix", "vllm:gpu_prefix")])
def test_the_counters_of_all_engines_are_added_up(page: str) -> None:
    found = use(None, between(page, page.replace("} 50.0", "} 90.0").replace("} 600.0", "} 616.0")))
    assert found == ComparedCache(planned_share=None, measured_share=0.4, queried_tokens=40, hit_tokens=16)


BEFORE, AFTER = counters(1000, 500), counters(3000, 1500)


@pytest.mark.parametrize(
    ("planned", "pages", "expected"),
    [
        (0.6, [BEFORE, AFTER], (0.6, 0.5, 2000, 1000)),
        (None, [BEFORE, AFTER], (None, 0.5, 2000, 1000)),
        (0.6, [], (0.6, None, None, None)),
        (0.6, [BEFORE.replace("hits", "hats"), AFTER.replace("hits", "hats")], (0.6, None, None, None)),
        (0.6, [AFTER, BEFORE], (0.6, None, None, None)),  # The server restarted in between.
        (0.6, [BEFORE, BEFORE], (0.6, None, 0, 0)),
        (None, [BEFORE, counters(3000, 500)], None),  # Without planned or actual hits there is nothing to report.
        (None, [], None),
    ],
)
def test_what_happened_between_is_told(
    planned: float | None, pages: list[str], expected: tuple[Any, ...] | None
) -> None:
    stored = None if planned is None else PrefixCacheUse(planned_share=planned)
    found = use(stored, between(*pages))
    assert (None if found is None else tuple(asdict(found).values())[:4]) == expected


def test_a_run_of_an_older_version_has_what_its_manifest_measured() -> None:
    stored = PrefixCacheUse(planned_share=0.6, measured_share=0.25, queried_tokens=400, hit_tokens=100)
    assert use(stored, between()) == ComparedCache(**asdict(stored))


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_metrics_lie_beside_the_root_of_the_api(tail: str) -> None:
    assert metrics_url(f"http://h:1{tail}") == "http://h:1/metrics"
    assert metrics_url(f"http://h:1/a{tail}") == "http://h:1/a/metrics"


def planned(flags: dict[str, Any], requests: int = 200) -> float | None:
    config = resolve({"url": "http://h", **flags})
    tally = source_of(config, load_tokenizer()).planned_sharing(requests)
    return None if tally is None else tally.share


def test_the_plan_of_a_run_is_that_of_its_prompts(tmp_path: Path) -> None:
    assert planned({}) is None
    # 256 of 512 tokens and the template's head are shared: 16 whole blocks, by all prompts except the first.
    assert planned({"prefix": "tokens=256", "input_tokens": "512"}) == pytest.approx(0.5 * 199 / 200)
    rate = planned({"prefix": "hit_rate=0.7", "input_tokens": "uniform:900..1100"}, 2000)
    assert rate == pytest.approx(0.7, abs=0.005)
    assert planned({"prefix": "system=160,tokens=96", "input_tokens": "512"}) == pytest.approx(0.5 * 199 / 200)
    trace = tmp_path / "trace.jsonl"
    rows = [{"timestamp": 0, "input_length": 1024, "output_length": 1, "hash_ids": [0, i]} for i in (1, 2, 3)]
    trace.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert planned({"dataset": str(trace)}, 3) == pytest.approx(2 * 512 / 3072)
    (tmp_path / "plain.jsonl").write_text('{"prompt": "a"}\n')
    assert planned({"dataset": str(tmp_path / "plain.jsonl")}, 3) is None


def test_the_report_has_a_line_where_there_is_something_to_tell() -> None:
    summary = golden_summary()
    assert "Prefix cache" not in [fact.name for fact in token_details.tokens(typed_summary(summary))]
    shares = use(PrefixCacheUse(planned_share=0.6), between(BEFORE, AFTER))
    assert shares is not None
    summary["prefix_cache"] = asdict(shares)
    (fact,) = [fact for fact in token_details.tokens(typed_summary(summary)) if fact.name == "Prefix cache"]
    assert fact.value == "planned 60% · measured 50% of the prompt tokens"
    words = "Prefix cache planned 60% · measured 50% of the prompt tokens"
    assert words in " ".join(run_text(summary).split())
    assert "Prefix cache planned" not in " ".join(run_text(golden_summary()).split())


def session(k: int, *, planned: int | None, said: int | None, tokens: int = 1000, **fields: Any) -> RequestRecord:
    return made_record(k, input_tokens=tokens, cached_tokens=said, cached_tokens_planned=planned, **fields)


def plan_of(*records: RequestRecord) -> CachePlan:
    plan = CachePlan()
    plan.add(table_of(*records))
    return plan


def test_what_replies_say_is_held_against_the_plan_of_the_same_requests() -> None:
    plan = plan_of(
        session(0, planned=0, said=0),
        session(1, planned=900, said=896),
        session(2, planned=800, said=None),  # Requests without a reported count are left out of the difference.
        session(3, planned=700, said=0, outcome=Outcome.RESET),
        session(4, planned=900, said=0, phase="warmup"),
    )
    found = use(None, between(BEFORE, AFTER), plan)
    assert found is not None
    assert (found.planned_share, found.said_share, found.measured_share) == (pytest.approx(1700 / 3000), 0.448, 0.5)
    assert (found.counted_by, found.off_share) == ("replies", pytest.approx((896 - 900) / 2000))
    assert found.rounding_share == pytest.approx(2 * 16 / 2000)
    assert found.off_beyond_rounding == 0.0


def test_without_replies_that_say_it_the_counters_are_held_against_the_plan_of_the_whole_load() -> None:
    records = [session(0, planned=0, said=None, phase="warmup"), session(1, planned=900, said=None)]
    found = use(None, between(BEFORE, AFTER), plan_of(*records))
    assert found is not None
    assert (found.counted_by, found.off_share) == ("metrics", pytest.approx(0.5 - 0.45))
    assert found.off_beyond_rounding == pytest.approx(0.05 - 0.016)
    nobody = use(None, between(), plan_of(*records))
    assert nobody is not None
    assert (nobody.counted_by, nobody.off_share, nobody.off_beyond_rounding) == (None, None, None)
    # If some requests have no plan, the counters include unplanned ones.
    mixed = use(None, between(BEFORE, AFTER), plan_of(*records, session(2, planned=None, said=None)))
    assert mixed is not None
    assert mixed.counted_by is None


def test_the_report_tells_three_shares_and_the_difference() -> None:
    summary = golden_summary()
    found = use(None, between(BEFORE, AFTER), plan_of(session(0, planned=900, said=800)))
    assert found is not None
    summary["prefix_cache"] = asdict(found)
    said = "planned 90% · by replies 80% · measured 50% of the prompt tokens · -10.00 points off the plan"
    (fact,) = [fact for fact in token_details.tokens(typed_summary(summary)) if fact.name == "Prefix cache"]
    assert fact.value.startswith(said)
    assert "by replies 80%" in run_text(summary)
