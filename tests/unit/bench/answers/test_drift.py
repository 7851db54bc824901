"""Log probabilities: read from replies, kept in records, and compared before the first token that differs."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.answers.compared import ThreePhases, compare
from bench.answers.probe_set import KeptAnswer, KeptAnswers
from bench.endpoints import ENDPOINTS
from bench.endpoints.interface import ReadOptions
from bench.records import StoredAnswer, from_line, to_line
from promptset.answers import Answer
from promptset.probes import make_probes, parse_probes
from tests.support.made_records import made_record

KEPT = ReadOptions(keep_answer=True)
TOKENS = (("The", -0.5), (" the", -0.25), (" the", -0.25), (".", -9999.0))


def _chunk(endpoint: str, token: str, value: float, end: str | None = None) -> bytes:
    choice: dict[str, Any] = {"index": 0, "finish_reason": end}
    if endpoint == "chat":
        choice |= {"delta": {"content": token}, "logprobs": {"content": [{"token": token, "logprob": value}]}}
    else:
        choice |= {"text": token, "logprobs": {"tokens": [token], "token_logprobs": [value]}}
    return orjson.dumps({"object": "x", "choices": [choice]})


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_stream_gives_every_token_with_its_log_probability(endpoint: str) -> None:
    reader = ENDPOINTS[endpoint].event_reader(KEPT)
    events = [_chunk(endpoint, token, value) for token, value in TOKENS[:-1]]
    for event in (*events, _chunk(endpoint, *TOKENS[-1], end="stop"), b"[DONE]"):
        reader.feed([event])
    reply = reader.close()
    assert reply.problem is None
    assert reply.content == "The the the."
    assert reply.answer is not None
    assert reply.answer.tokens == TOKENS


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_whole_reply_gives_them_too(endpoint: str) -> None:
    tokens, values = zip(*TOKENS, strict=True)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if endpoint == "chat":
        rows = [{"token": token, "logprob": value} for token, value in TOKENS]
        choice |= {"message": {"content": "The the the."}, "logprobs": {"content": rows}}
    else:
        choice |= {"text": "The the the.", "logprobs": {"tokens": tokens, "token_logprobs": values}}
    reply = ENDPOINTS[endpoint].read_whole(orjson.dumps({"choices": [choice]}), KEPT)
    assert reply.answer is not None
    assert reply.answer.tokens == TOKENS


def _delta(token: str, value: float | None) -> bytes:
    rows = [] if value is None else [{"token": token, "logprob": value, "top_logprobs": []}]
    event = {"type": "response.output_text.delta", "delta": token, "item_id": "i", "output_index": 0, "logprobs": rows}
    return orjson.dumps(event)


def _response(logprobs: object) -> dict[str, Any]:
    part = {"type": "output_text", "text": "The the the.", "logprobs": logprobs}
    item = {"type": "message", "id": "i", "content": [part]}
    return {"id": "r", "status": "completed", "output": [item]}


@pytest.mark.parametrize("repeated", [False, True])
def test_a_stream_of_responses_gives_them_once(repeated: bool) -> None:
    rows = [{"token": token, "logprob": value} for token, value in TOKENS]
    reader = ENDPOINTS["responses"].event_reader(KEPT)
    for token, value in TOKENS:
        reader.feed([_delta(token, value)])
    end = {"type": "response.completed", "response": _response(rows if repeated else None)}
    reader.feed([orjson.dumps(end)])
    reply = reader.close()
    assert (reply.problem, reply.content) == (None, "The the the.")
    assert reply.answer is not None
    assert reply.answer.tokens == TOKENS


@pytest.mark.parametrize(("logprobs", "tokens"), [("rows", TOKENS), ([], ()), (None, ()), ("x", ())])
def test_a_whole_reply_of_responses_gives_them_too(logprobs: object, tokens: tuple[object, ...]) -> None:
    rows = [{"token": token, "logprob": value} for token, value in TOKENS] if logprobs == "rows" else logprobs
    reply = ENDPOINTS["responses"].read_whole(orjson.dumps(_response(rows)), KEPT)
    assert reply.answer is not None
    assert reply.answer.tokens == tokens


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"content": [None, {"token": 1, "logprob": -1}, {"token": "a"}]},
        {"tokens": ["a"]},
        "x",
        {"tokens": ["a", "b"], "token_logprobs": [-(2**60), None]},
    ],
)
def test_what_is_no_list_of_tokens_is_passed_over(said: object) -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": "x"}, "logprobs": said}
    reply = ENDPOINTS["chat"].read_whole(orjson.dumps({"choices": [choice]}), KEPT)
    assert reply.answer is not None
    assert (reply.answer.tokens, reply.problem) == ((), None)


def test_a_record_keeps_them() -> None:
    record = made_record(probe=0, answer=StoredAnswer(content="The", tokens=TOKENS))
    assert from_line(to_line(record).rstrip()) == record


def _kept(*tokens: tuple[str, float]) -> KeptAnswers:
    answer = Answer(content="".join(token for token, _ in tokens), tokens=tokens)
    return KeptAnswers([KeptAnswer("r", 0, answer)])


def test_drift_counts_the_tokens_before_the_first_that_differs() -> None:
    probes = make_probes(parse_probes("canary=1"), seed=0)
    alone = _kept(("a", -1.0), ("b", -2.0), ("c", -3.0))
    loaded = _kept(("a", -1.25), ("b", -2.0), ("d", -8.0), ("c", -9.0))
    back = _kept(("a", -1.0), ("b", -2.125), ("c", -3.0))
    drift = compare(ThreePhases(probes, alone, loaded, back)).drift
    assert drift is not None
    assert (drift.tokens, drift.median, drift.most) == (2, 0.125, 0.25)
    assert (drift.alone_median, drift.alone_most) == (0.0, 0.125)


def test_answers_without_log_probabilities_have_no_drift() -> None:
    probes = make_probes(parse_probes("canary=1"), seed=0)
    plain = KeptAnswers([KeptAnswer("r", 0, Answer(content="x"))])
    assert compare(ThreePhases(probes, plain, plain, plain)).drift is None
