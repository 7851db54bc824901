"""Rerank, score and one model, through ASGI: the replies, the refusals, and the ledger."""

from __future__ import annotations

from typing import Any, cast

import httpx
import pytest

from mockserver.dialect.refusals import Refusal
from mockserver.dialect.rerank import parse_rerank, parse_score, score
from tests.support.mock_asgi import through_asgi

MS = 1_000_000
QUERY = "what is a goat"
DOCUMENTS = ["a goat is an animal", "a boat floats", "the sky is blue"]


def test_a_rerank_has_every_document_in_the_order_of_its_score_and_a_line_in_the_ledger() -> None:
    tokens: list[int] = []

    async def call(client: httpx.AsyncClient) -> None:
        body = {"query": QUERY, "documents": [DOCUMENTS[0], {"text": DOCUMENTS[1]}, DOCUMENTS[2]]}
        response = await client.post("/v1/rerank", json=body, headers={"x-request-id": "r-4"})
        answer = response.json()
        assert (answer["id"], answer["model"], "meta" in answer) == ("rerank-r-4", "mock-model", False)
        scores = [row["relevance_score"] for row in answer["results"]]
        assert scores == sorted(scores, reverse=True)
        for row in answer["results"]:
            assert row["document"]["text"] == DOCUMENTS[row["index"]]
            assert row["relevance_score"] == score(0, QUERY, DOCUMENTS[row["index"]])
        for text in (QUERY, *DOCUMENTS):
            tokens.append((await client.post("/tokenize", json={"prompt": text})).json()["count"])
        assert answer["usage"] == {"prompt_tokens": 3 * tokens[0] + sum(tokens[1:]), "total_tokens": _total(tokens)}
        assert (await client.post("/rerank", json=body)).json()["results"] == answer["results"]

    first, _ = through_asgi(call, "--ttft", "30ms", "--ttft-per-input-token", "1ms")
    assert (first["id"], first["status"], first["chunk_kind"], first["input_tokens"]) == (
        "r-4",
        200,
        "",
        _total(tokens),
    )
    # The plan includes the engine's time for the input tokens, and the answer did not come earlier.
    assert first["planned"]["ttft_ns"] == (30 + _total(tokens)) * MS
    assert (first["planned"]["gaps_ns"], first["planned"]["output_tokens"]) == ([], 0)
    assert first["end_ns"] - first["received_ns"] >= first["planned"]["ttft_ns"] - 100_000


def test_text_embeddings_inference_has_texts_and_answers_with_a_bare_list() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        body = {"query": QUERY, "texts": DOCUMENTS}
        ranks = (await client.post("/rerank", json=body)).json()
        assert [row["score"] for row in ranks] == sorted((score(0, QUERY, text) for text in DOCUMENTS), reverse=True)
        assert [row.keys() for row in ranks] == [{"index", "score"}] * 3
        with_texts = (await client.post("/rerank", json={**body, "return_text": True})).json()
        assert [row["text"] for row in with_texts] == [DOCUMENTS[row["index"]] for row in ranks]

    through_asgi(call)


def _total(tokens: list[int]) -> int:
    return 3 * tokens[0] + sum(tokens[1:])


def test_a_rerank_gives_the_best_n_without_documents_if_asked_so_and_bills_as_cohere_does() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        many = [f"text {i}" for i in range(101)]
        body = {"query": QUERY, "documents": many}
        every = (await client.post("/v2/rerank", json=body)).json()
        assert every["meta"]["billed_units"] == {"search_units": 2}
        assert len(every["results"]) == 101
        best = (await client.post("/v2/rerank", json={**body, "top_n": 2, "return_documents": False})).json()
        assert [row.keys() for row in best["results"]] == [{"index", "relevance_score"}] * 2
        assert [row["index"] for row in best["results"]] == [row["index"] for row in every["results"][:2]]
        absent = {"top_n": 0, "return_documents": None}
        assert (await client.post("/v2/rerank", json={**body, **absent})).json()["results"] == every["results"]

    through_asgi(call)


@pytest.mark.parametrize(
    "names", [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")]
)
def test_a_score_compares_one_with_several_or_pairs(names: tuple[str, str]) -> None:
    first, second = names

    async def call(client: httpx.AsyncClient) -> None:
        one = (await client.post("/score", json={first: QUERY, second: DOCUMENTS})).json()
        assert (one["object"], [row["index"] for row in one["data"]]) == ("list", [0, 1, 2])
        assert [row["score"] for row in one["data"]] == [score(0, QUERY, text) for text in DOCUMENTS]
        pairs = (await client.post("/v1/score", json={first: DOCUMENTS, second: DOCUMENTS[::-1]})).json()
        assert pairs["data"][1]["score"] == score(0, DOCUMENTS[1], DOCUMENTS[1])
        assert pairs["usage"]["total_tokens"] == pairs["usage"]["prompt_tokens"] > 0

    through_asgi(call)


@pytest.mark.parametrize(
    ("parse", "body", "says"),
    [
        (parse_rerank, {}, "query must be a text"),
        (parse_rerank, {"query": ["a"], "documents": ["b"]}, "query must be a text"),
        (parse_rerank, {"query": "a"}, "documents must be"),
        (parse_rerank, {"query": "a", "documents": []}, "documents must be"),
        (parse_rerank, {"query": "a", "documents": [5]}, "documents must be"),
        (parse_rerank, {"query": "a", "documents": [{"title": "b"}]}, "documents must be"),
        (parse_rerank, {"query": "a", "documents": ["b"] * 10_001}, "the limit is 10000"),
        (parse_rerank, {"query": "a", "documents": ["b"], "top_n": -1}, "top_n must be"),
        (parse_rerank, {"query": "a", "documents": ["b"], "top_n": True}, "top_n must be"),
        (parse_rerank, {"query": "a", "documents": ["b"], "return_documents": 1}, "return_documents must be"),
        (parse_rerank, {"query": "a", "texts": []}, "texts must be"),
        (parse_rerank, {"query": "a", "texts": ["b"], "return_text": 1}, "return_text must be"),
        (parse_score, {"text": "a"}, "text_1 must be"),
        (parse_score, {"text_1": "a"}, "text_2 must be"),
        (parse_score, {"queries": ["a", "b"], "items": ["c", "d", "e"]}, "queries has 2 texts and items 3"),
    ],
    ids=lambda value: str(value)[:70] if isinstance(value, dict) else "",
)
def test_a_bad_request_for_scores_is_a_400_that_names_the_field(parse: Any, body: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse(body, 16)
    assert caught.value.status == 400
    assert says in caught.value.body.decode()


def test_faults_and_the_context_hold_for_scores() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        body = {"query": "a " * 60, "documents": ["b", "c " * 60]}
        long = await client.post("/rerank", json=body)
        assert (long.status_code, "documents 1 has" in long.text) == (400, True)
        body = {"query": "a", "documents": ["b"]}
        for fault, status in (("429", 429), ("error_in_stream", 500), ("malformed", 200)):
            response = await client.post("/rerank", json=body, headers={"x-mock-fault": fault})
            assert response.status_code == status
        assert (await client.post("/rerank", json={**body, "model": "other"})).status_code == 404
        bare = await client.post(
            "/score", json={"text_1": "a", "text_2": "b"}, headers={"x-mock-fault": "usage_missing"}
        )
        assert "usage" not in bare.json()

    lines = through_asgi(call, "--max-model-len", "100", "--ttft", "1ms", "--tpot", "1ms")
    assert [(line["status"], line["fault"]) for line in lines] == [
        (400, None), (429, "429"), (500, "error_in_stream"), (200, "malformed"), (404, None), (200, "usage_missing"),
    ]  # fmt: skip


def test_the_batching_engine_takes_time_for_each_input_token_of_a_rerank() -> None:
    async def call(client: httpx.AsyncClient) -> None:
        for documents in (["one two"], ["one two"] * 40):
            assert (await client.post("/rerank", json={"query": "a b", "documents": documents})).status_code == 200

    short, long = through_asgi(call, "--engine", "batching", "--step-cost", "b0=1000,b1=100,b2=1,a0=0")
    more = long["input_tokens"] - short["input_tokens"]
    assert long["engine"]["prefill_ns"] - short["engine"]["prefill_ns"] == more * 100_000


def test_a_model_is_found_by_its_id_and_another_is_a_404_in_openais_words() -> None:
    import openai

    async def call(client: httpx.AsyncClient) -> None:
        listed = (await client.get("/v1/models")).json()["data"][0]
        found = await client.get("/v1/models/org/the-model")
        assert (found.json(), found.status_code) == (listed, 200)
        missing = await client.get("/v1/models/gpt-9")
        assert (missing.status_code, missing.json()["error"]) == (
            404,
            {
                "message": "The model 'gpt-9' does not exist",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            },
        )
        sdk = openai.AsyncOpenAI(api_key="x", base_url="http://localhost/v1", http_client=cast(Any, client))
        with pytest.raises(openai.NotFoundError):
            await sdk.models.retrieve("gpt-9")
        assert (await sdk.models.retrieve("org/the-model")).id == "org/the-model"

    through_asgi(call, "--model", "org/the-model")
