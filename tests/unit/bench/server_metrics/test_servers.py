"""The samples of each kind of server have the right roles."""

from __future__ import annotations

import pytest

from bench.server_metrics.exposition import read_page
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.roles import COUNTERS, GPU_MEANS, GPU_SUMS, HISTOGRAMS, LEVELS, SHARES, TITLES, Role
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS

PAGES: dict[str, tuple[str, dict[Role, float]]] = {
    # The page before the load, and the value of each role. For counters and histograms: the rise from zero.
    "vLLM": (
        """vllm:num_requests_running{engine="0"} 3
vllm:num_requests_running{engine="1"} 4
vllm:num_requests_waiting{engine="0"} 2
vllm:kv_cache_usage_perc{engine="0"} 0.5
vllm:kv_cache_usage_perc{engine="1"} 0.7
vllm:prompt_tokens_total{engine="0"} 100
vllm:generation_tokens_total{engine="0"} 40
vllm:prefix_cache_queries_total{engine="0"} 90
vllm:prefix_cache_hits_total{engine="0"} 16
vllm:external_prefix_cache_hits_total{engine="0"} 4
vllm:spec_decode_num_drafts_total{engine="0"} 7
vllm:spec_decode_num_draft_tokens_total{engine="0"} 21
vllm:spec_decode_num_accepted_tokens_total{engine="0"} 12
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="0"} 6
vllm:num_preemptions_total{engine="0"} 1
vllm:request_success_total{engine="0",finished_reason="stop"} 5
vllm:request_success_total{engine="0",finished_reason="length"} 6
vllm:request_success_total{engine="0",finished_reason="abort"} 2
vllm:request_success_total{engine="0",finished_reason="error"} 1
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1"} 4
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf"} 5
vllm:time_to_first_token_seconds_sum{engine="0"} 0.5
vllm:time_to_first_token_seconds_count{engine="0"} 5
""",
        {
            Role.RUNNING: 7,
            Role.WAITING: 2,
            Role.KV_CACHE_USED: 0.6,
            Role.PROMPT_TOKENS: 100,
            Role.GENERATION_TOKENS: 40,
            Role.PREFIX_QUERIES: 90,
            Role.PREFIX_HITS: 16,
            Role.EXTERNAL_HITS: 4,
            Role.DRAFT_STEPS: 7,
            Role.DRAFT_TOKENS: 21,
            Role.ACCEPTED_TOKENS: 12,
            Role.PREEMPTIONS: 1,
            Role.FINISHED: 11,
            Role.ABORTED: 2,
            Role.TTFT: 5,
        },
    ),
    "vLLM, older": (
        "vllm:gpu_cache_usage_perc 0.25\nvllm:gpu_prefix_cache_hits_total 8\n",
        {Role.KV_CACHE_USED: 0.25, Role.PREFIX_HITS: 8},
    ),
    "SGLang": (
        """sglang:num_running_reqs{tp_rank="0"} 8
sglang:num_queue_reqs{tp_rank="0"} 1
sglang:token_usage{tp_rank="0"} 0.28
sglang:cache_hit_rate{tp_rank="0"} 0.1
sglang:prompt_tokens_total 70
sglang:generation_tokens_total 30
sglang:cached_tokens_total{cache_source="device"} 20
sglang:cached_tokens_total{cache_source="host"} 1
sglang:e2e_request_latency_seconds_bucket{le="1"} 2
sglang:e2e_request_latency_seconds_sum 1.5
sglang:e2e_request_latency_seconds_count 3
""",
        {
            Role.RUNNING: 8,
            Role.WAITING: 1,
            Role.KV_CACHE_USED: 0.28,
            Role.PROMPT_TOKENS: 70,
            Role.PREFIX_QUERIES: 70,
            Role.PREFIX_HITS: 21,
            Role.GENERATION_TOKENS: 30,
            Role.E2EL: 3,
        },
    ),
    "SGLang, with priorities": (
        """sglang:num_running_reqs{priority="",tp_rank="0"} 8
sglang:num_running_reqs{priority="1",tp_rank="0"} 5
sglang:num_running_reqs{priority="2",tp_rank="0"} 3
sglang:num_queue_reqs{priority="",tp_rank="0"} 4
sglang:num_queue_reqs{priority="1",tp_rank="0"} 4
""",
        {Role.RUNNING: 8, Role.WAITING: 4},
    ),
    "llama.cpp": (
        """llamacpp:requests_processing 2
llamacpp:requests_deferred 3
llamacpp:prompt_tokens_total 11
llamacpp:tokens_predicted_total 12
""",
        {Role.RUNNING: 2, Role.WAITING: 3, Role.PROMPT_TOKENS: 11, Role.GENERATION_TOKENS: 12},
    ),
    "TGI": (
        """tgi_batch_current_size 6
tgi_queue_size 2
tgi_request_input_length_sum 500
tgi_request_generated_tokens_sum 90
tgi_request_duration_bucket{le="1"} 2
tgi_request_duration_sum 1.5
tgi_request_duration_count 2
""",
        {Role.RUNNING: 6, Role.WAITING: 2, Role.PROMPT_TOKENS: 500, Role.GENERATION_TOKENS: 90, Role.E2EL: 2},
    ),
    "TensorRT-LLM": (
        """trtllm_kv_cache_utilization 0.4
trtllm_num_requests_running 6
trtllm_num_requests_waiting 2
trtllm_prompt_tokens_total 50
trtllm_generation_tokens_total 20
trtllm_request_success_total{finished_reason="stop"} 3
""",
        {
            Role.KV_CACHE_USED: 0.4,
            Role.RUNNING: 6,
            Role.WAITING: 2,
            Role.PROMPT_TOKENS: 50,
            Role.GENERATION_TOKENS: 20,
            Role.FINISHED: 3,
        },
    ),
    "Triton": (
        """nv_trt_llm_request_metrics{model="m",request_type="scheduled",version="1"} 5
nv_trt_llm_request_metrics{model="m",request_type="waiting",version="1"} 4
nv_trt_llm_request_metrics{model="m",request_type="max",version="1"} 512
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="m"} 0.5
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="m"} 6239
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="ensemble",version="1"} 6
nv_inference_request_success{model="preprocessing",version="1"} 6
nv_inference_request_success{model="tensorrt_llm",version="1"} 6
""",
        {Role.RUNNING: 5, Role.WAITING: 4, Role.KV_CACHE_USED: 0.5, Role.FINISHED: 6},
    ),
    "Triton, another model": (
        '# TYPE nv_inference_request_success counter\nnv_inference_request_success{model="llama",version="1"} 3\n',
        {Role.FINISHED: 3},
    ),
    "Dynamo": (
        """dynamo_frontend_inflight_requests{model="m"} 9
dynamo_frontend_queued_requests{model="m"} 1
dynamo_frontend_requests_total{model="m",status="success"} 4
dynamo_frontend_requests_total{model="m",status="error"} 2
""",
        {Role.RUNNING: 9, Role.FINISHED: 4},
    ),
}


def rises(text: str) -> ServerSeries:
    page = read_page(text.encode())
    assert page is not None
    zero = dict.fromkeys(page.values, 0.0)
    series = ServerSeries(SERVERS)
    series.add(Scrape(t_ns=0, asked_ns=0, page=0, values=zero))
    series.add(Scrape(t_ns=1_000, asked_ns=1_000, page=0, values=page.values))
    return series


def read(series: ServerSeries, role: Role) -> float | None:
    if role in COUNTERS:
        return series.rise(role, 0, 1_000)
    if role in HISTOGRAMS:
        found = series.histogram(role, 0, 1_000)
        return None if found is None else found.count
    return series.level_at(role, 1_000)


@pytest.mark.parametrize("name", PAGES)
def test_each_sample_has_its_role_and_no_other(name: str) -> None:
    text, expected = PAGES[name]
    series = rises(text)
    assert {table.name for table in series.found} == {name.partition(",")[0]}
    found = {role: value for role in Role if (value := read(series, role)) is not None}
    assert found == pytest.approx(expected)


def test_of_an_engine_behind_dynamo_each_role_is_the_engines() -> None:
    series = rises(PAGES["vLLM"][0] + PAGES["Dynamo"][0])
    assert [table.name for table in series.found] == ["vLLM", "Dynamo"]
    assert (read(series, Role.RUNNING), read(series, Role.FINISHED)) == (7, 11)


def test_every_role_has_a_kind_and_a_title() -> None:
    assert sorted((*LEVELS, *SHARES, *COUNTERS, *HISTOGRAMS, *GPU_SUMS, *GPU_MEANS)) == sorted(Role)
    assert set(TITLES) == set(Role)
