"""Embeddings, tokenization and metrics, through ASGI, and their ledger lines."""

from __future__ import annotations

import asyncio
import base64
import math
import struct
from itertools import pairwise
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mockserver.cli import read_arguments
from mockserver.dialect.embeddings import parse_embedding, vector
from mockserver.dialect.refusals import Refusal
from mockserver.http.app import create_app
from tests.support.mock_asgi import through_asgi

MS = 1_000_000
EMBEDDINGS = "/v1/embeddings"


def test_an_embedding_is_due_when_a_first_token_would_be_and_has_its_line() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        body = {"input": ["hello world", "good morning"], "model": "mock-model"}
        response = await client.post(EMBEDDINGS, json=body, headers={"x-request-id": "e-1"})
        answer = response.json()
        assert (answer["object"], answer["model"], [row["index"] for row in answer["data"]]) == (
            "list",
            "mock-model",
            [0, 1],
        )
        assert [len(row["embedding"]) for row in answer["data"]] == [16, 16]
        tokens = [(await client.post("/tokenize", json={"prompt": text})).json()["count"] for text in body["input"]]
        assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] == sum(tokens)

    (line,) = through_asgi(call, "--ttft", "30ms")
    assert (line["id"], line["status"], line["chunk_kind"], line["write_ns"]) == ("e-1", 200, "", [])
    assert line["planned"] == {"ttft_ns": 30 * MS, "gaps_ns": [], "output_tokens": 0, "fault": None}
    assert line["end_ns"] - line["received_ns"] >= 30 * MS - 100_000
    assert line["input_tokens"] > 0
    assert line["bytes_out"] > 100


def test_the_same_input_gives_the_same_vector_in_both_encodings_and_fewer_dimensions() -> None:
    answers: list[Any] = []

    async def call(client: httpx.AsyncClient) -> None:
        for more in ({}, {}, {"encoding_format": "base64"}, {"dimensions": 4}, {"input": "other"}):
            response = await client.post(EMBEDDINGS, json={"input": "hello", **more})
            answers.append(response.json()["data"][0]["embedding"])

    through_asgi(call)
    once, again, packed, short, other = answers
    assert once == again != other
    assert list(struct.unpack("<16f", base64.b64decode(packed))) == once
    assert math.fsum(x * x for x in once) == pytest.approx(1, rel=1e-6)
    scale = math.sqrt(math.fsum(x * x for x in once[:4]))
    assert short == pytest.approx([x / scale for x in once[:4]], rel=1e-5)


def test_token_ids_are_taken_one_list_or_several() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        one = await client.post(EMBEDDINGS, json={"input": [5, 6, 7]})
        assert (len(one.json()["data"]), one.json()["usage"]["prompt_tokens"]) == (1, 3)
        two = await client.post(EMBEDDINGS, json={"input": [[5, 6, 7], [8]]})
        assert (len(two.json()["data"]), two.json()["usage"]["prompt_tokens"]) == (2, 4)
        assert two.json()["data"][0]["embedding"] == one.json()["data"][0]["embedding"]

    through_asgi(call)


def test_a_long_answer_is_made_beside_the_streams_and_is_whole() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        response = await client.post(EMBEDDINGS, json={"input": [f"text {i}" for i in range(300)]})
        assert len(response.json()["data"]) == 300

    (line,) = through_asgi(call)
    assert line["planned"]["output_tokens"] == 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "input must be"),
        ({"input": []}, "input must be"),
        ({"input": ["a", 5]}, "input must be"),
        ({"input": [[]]}, "input must be"),
        ({"input": ["a"] * 2049}, "the limit is 2048"),
        ({"input": "a", "encoding_format": "hex"}, "float or base64"),
        ({"input": "a", "dimensions": 17}, "from 1 to 16"),
        ({"input": "a", "dimensions": True}, "from 1 to 16"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_request_for_embeddings_is_a_400(body: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_embedding(body, 16)
    assert caught.value.status == 400
    assert says in caught.value.body.decode()


def test_faults_the_context_and_the_engines_hold_for_embeddings_too() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        refused = await client.post(EMBEDDINGS, json={"input": "a"}, headers={"x-mock-fault": "429"})
        assert refused.status_code == 429
        failed = await client.post(EMBEDDINGS, json={"input": "a"}, headers={"x-mock-fault": "error_in_stream"})
        assert failed.status_code == 500
        bare = await client.post(EMBEDDINGS, json={"input": "a"}, headers={"x-mock-fault": "usage_missing"})
        assert bare.json().keys() == {"id", "object", "created", "model", "data"}
        late = await client.post(EMBEDDINGS, json={"input": "a"}, headers={"x-mock-ttft": "40ms"})
        assert late.status_code == 200
        long = await client.post(EMBEDDINGS, json={"input": [[1], list(range(101))]})
        assert (long.status_code, "input 1 has 101 tokens" in long.text) == (400, True)
        # The inputs exceed the context together, but it applies to each of them, and each just fits.
        assert (await client.post(EMBEDDINGS, json={"input": [list(range(100))] * 3})).status_code == 200

    lines = through_asgi(call, "--max-model-len", "100")
    assert [(line["status"], line["fault"]) for line in lines] == [
        (429, "429"), (500, "error_in_stream"), (200, "usage_missing"), (200, None), (400, None), (200, None),
    ]  # fmt: skip
    assert lines[3]["planned"]["ttft_ns"] == 40 * MS

    async def batching(client: httpx.AsyncClient) -> None:
        assert (await client.post(EMBEDDINGS, json={"input": [list(range(80))] * 3})).status_code == 200

    (line,) = through_asgi(batching, "--engine", "batching", "--max-model-len", "100", "--kv-blocks", "7")
    assert line["input_tokens"] == 240


def test_vectors_depend_on_the_seed_and_on_the_kind_of_input() -> None:
    assert vector(1, "a", 8) != vector(2, "a", 8)
    assert vector(1, [5], 8) != vector(1, "[5]", 8)
    with_ends = vector(1, "\ud800", 8)  # A lone surrogate must not cause a failure.
    assert len(with_ends) == 8


def test_the_official_client_reads_embeddings_and_every_key_opens() -> None:
    import openai

    async def main() -> None:
        flags = ["--ttft", "1ms", "--embedding-size", "8", "--api-key", "a", "--api-key", "b"]
        app = create_app(read_arguments(flags))
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            for key in ("a", "b"):
                async with httpx.AsyncClient(transport=transport) as http:
                    client = openai.AsyncOpenAI(
                        base_url="http://localhost/v1", api_key=key, http_client=cast(Any, http), max_retries=0
                    )
                    answer = await client.embeddings.create(model="mock-model", input="hello")  # base64 on the wire
                    assert len(answer.data[0].embedding) == 8
            async with httpx.AsyncClient(transport=transport) as http:
                client = openai.AsyncOpenAI(
                    base_url="http://localhost/v1", api_key="c", http_client=cast(Any, http), max_retries=0
                )
                with pytest.raises(openai.AuthenticationError):
                    await client.embeddings.create(model="mock-model", input="hello")

    asyncio.run(main())


def test_tokenize_and_detokenize_are_each_others_inverse_and_know_vllms_options() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        async def tokenize(**row: Any) -> Any:
            return (await client.post("/tokenize", json=row)).json()

        plain = await tokenize(prompt="hello world", add_special_tokens=False)
        assert plain["token_strs"] is None
        back = await client.post("/detokenize", json={"tokens": plain["tokens"]})
        assert back.json() == {"prompt": "hello world"}
        special = await tokenize(prompt="hello world")
        assert special["count"] >= plain["count"]
        named = await tokenize(prompt="hello world", add_special_tokens=False, return_token_strs=True)
        assert [s.replace("Ġ", " ") for s in named["token_strs"]] == ["hello", " world"]

        messages = [{"role": "user", "content": "hello"}]
        opened = await tokenize(messages=messages)
        closed = await tokenize(messages=messages, add_generation_prompt=False)
        assert 0 < closed["count"] < opened["count"]
        assert opened["tokens"][: closed["count"]] == closed["tokens"]
        assert (await tokenize(messages=messages, add_special_tokens=True))["count"] >= opened["count"]
        whole = await client.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 1})
        assert whole.json()["usage"]["prompt_tokens"] == opened["count"]
        for path, row in (
            ("/tokenize", {"prompt": 5}),
            ("/tokenize", {"prompt": "a", "return_token_strs": 1}),
            ("/tokenize", {"messages": messages, "tools": {}}),
            ("/tokenize", {"messages": messages, "add_generation_prompt": "no"}),
            ("/detokenize", {"tokens": "a"}),
            ("/detokenize", {"tokens": [-1]}),
            ("/detokenize", {"tokens": [2**32]}),
            ("/detokenize", {"tokens": [True]}),
            ("/detokenize", {"tokens": None}),
            ("/tokenize", {"prompt": "a", "add_special_tokens": "no"}),
        ):
            assert (await client.post(path, json=row)).status_code == 400, row
        for tokens in ([], [0], [0, 0]):
            assert (await client.post("/detokenize", json={"tokens": tokens})).status_code == 200

    through_asgi(call)


def folded(lines: list[dict[str, Any]], bounds: dict[str, list[float]]) -> dict[str, float]:
    """The metrics, recomputed from the lines of the ledger."""
    values: dict[str, list[float]] = {name: [] for name in bounds}
    counts = {"prompt_tokens": 0, "generation_tokens": 0}
    reasons = {"stop": 0, "length": 0, "abort": 0, "error": 0}
    for line in lines:
        refused = line["planned"]["output_tokens"] == 0 and line["status"] != 200
        if refused:
            continue
        stamps = [at for at, kind in zip(line["write_ns"], line["chunk_kind"], strict=True) if kind == "c"]
        out = sum(line["chunk_tokens"]) if line["chunk_kind"] else line["planned"]["output_tokens"]
        counts["prompt_tokens"] += line["input_tokens"]
        counts["generation_tokens"] += out
        reasons["error" if line["fault"] == "error_in_stream" else "length"] += 1
        values["request_prompt_tokens"].append(line["input_tokens"])
        values["request_generation_tokens"].append(out)
        if stamps:
            values["time_to_first_token_seconds"].append((stamps[0] - line["received_ns"]) / 1e9)
            values["e2e_request_latency_seconds"].append((stamps[-1] - line["received_ns"]) / 1e9)
            values["request_decode_time_seconds"].append((stamps[-1] - stamps[0]) / 1e9)
            values["inter_token_latency_seconds"] += [(b - a) / 1e9 for a, b in pairwise(stamps)]
            if out > 1:
                values["request_time_per_output_token_seconds"].append((stamps[-1] - stamps[0]) / 1e9 / (out - 1))
    told: dict[str, float] = {f"vllm:{name}_total": number for name, number in counts.items()}
    told |= {f"vllm:request_success_total[{reason}]": number for reason, number in reasons.items()}
    for name, seen in values.items():
        told[f"vllm:{name}_count"] = len(seen)
        told[f"vllm:{name}_sum"] = sum(seen)
        for bound in bounds[name]:
            told[f"vllm:{name}_bucket[{bound}]"] = sum(value <= bound for value in seen)
    return told


HISTOGRAMS = (
    "time_to_first_token_seconds", "inter_token_latency_seconds", "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds", "request_decode_time_seconds", "request_prompt_tokens", "request_generation_tokens",
)  # fmt: skip


def test_the_metrics_are_those_that_the_ledger_gives() -> None:
    shown: dict[str, float] = {}

    async def call(client: httpx.AsyncClient) -> None:
        chat = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
        for i in range(12):
            headers = {"x-request-id": f"m-{i}", **({"x-mock-fault": "error_in_stream:after=1"} if i == 4 else {})}
            await client.post("/v1/chat/completions", json={**chat, "max_tokens": 1 + i % 4}, headers=headers)
        await client.post("/v1/chat/completions", json={**chat, "stream": False, "max_tokens": 3})
        await client.post("/v1/chat/completions", json=chat, headers={"x-mock-fault": "429"})
        text = (await client.get("/metrics")).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                bound = sample.labels.get("le")
                extra = sample.labels.get("finished_reason", None if bound is None else float(bound))
                shown[sample.name + ("" if extra is None else f"[{extra}]")] = sample.value

    lines = through_asgi(call, "--ttft", "exp:mean=3ms", "--itl", "exp:mean=2ms")
    assert len(lines) == 14
    bounds = {
        name: [float(key.split("[")[1][:-1]) for key in shown if key.startswith(f"vllm:{name}_bucket[")]
        for name in HISTOGRAMS
    }
    assert all(len(of) > 5 for of in bounds.values())
    expected = folded(lines, bounds)
    for name, value in expected.items():
        assert shown[name] == pytest.approx(value, rel=1e-9), name
