"""Requests with their own endpoint, model, headers and priority: as values, between processes, and in bodies and heads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from bench.endpoints import ENDPOINTS, encode
from bench.endpoints.interface import BodyOptions
from bench.records import Outcome, from_line, to_line
from bench.target.models import choose_model, unlisted
from bench.target.probe import samples_to_ask
from bench.transport.exchange import Exchange
from bench.transport.interface import Destination, Reading, Target
from bench.workload import Encoded, Request, RequestDraft, Route, draft_of
from bench.workload.turns import Conversations, History
from promptset.answers import Answer
from promptset.samples import Sample
from promptset.sessions import read_session

CHAT = BodyOptions(endpoint="chat", model="m")


def encoded(sample: Sample, options: BodyOptions = CHAT) -> tuple[dict[str, Any], str | None]:
    made = encode(sample, options)
    return orjson.loads(made.body), made.model


@pytest.mark.parametrize("route", [None, Route("completions"), Route(None, (("x-a", "b"), ("x-c", "d")))])
@pytest.mark.parametrize(("session", "model"), [(None, None), ("s", "a=b"), (None, "")])
def test_a_draft_survives_the_way_between_processes(
    route: Route | None, session: str | None, model: str | None
) -> None:
    draft = RequestDraft(b"body", True, 3, None, session, None, route, model)
    assert RequestDraft.unpack(draft.pack()) == draft


def test_an_ordinary_draft_is_not_longer_for_what_others_say() -> None:
    ordinary, own = RequestDraft(b"body", True, 3, None, None), RequestDraft(b"body", True, 3, None, None, model="m")
    assert len(own.pack()) - len(ordinary.pack()) == len(b'[null,"m"]')


def test_a_sample_has_its_own_model_and_priority_in_its_body_and_goes_to_its_own_endpoint() -> None:
    body, model = encoded(Sample(prompt="hi", endpoint="completions", model="own", priority=0))
    assert (body["prompt"], body["model"], body["priority"], model) == ("hi", "own", 0, "own")
    body, model = encoded(Sample(prompt="hi"))
    assert (body["messages"][0]["content"], body["model"], model) == ("hi", "m", None)
    assert "priority" not in body


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_that_generates_sends_the_model_and_priority_of_a_sample(endpoint: str) -> None:
    if ENDPOINTS[endpoint].inputs_are is None and not ENDPOINTS[endpoint].takes_audio and endpoint != "realtime":
        body, model = encoded(Sample(prompt="hi", endpoint=endpoint, model="own", priority=-3))
        assert (body["model"], body["priority"], model) == ("own", -3, "own")


def test_the_model_of_a_whole_body_is_replaced_where_the_user_named_one_and_kept_otherwise() -> None:
    whole = Sample(body={"messages": [], "model": "own"})
    assert encoded(whole)[0]["model"] == "m"
    body, model = encoded(whole, BodyOptions(endpoint="chat", model="m", keep_models=True))
    assert (body["model"], model) == ("own", "own")
    none = Sample(body={"messages": []})
    assert encoded(none, BodyOptions(endpoint="chat", model="m", keep_models=True))[0]["model"] == "m"


def test_a_route_has_headers_besides_those_of_the_run_and_wins_where_they_have_one_name() -> None:
    there = Destination("http://h/v1/completions", (("x-api-key", "k"),))
    target = Target(
        url="http://h/v1/chat/completions", headers=(("Authorization", "Bearer k"),), others={"completions": there}
    )
    assert target.destination(Route("completions")) == there
    mine = Route(None, (("authorization", "Bearer mine"), ("x-user", "7")))
    assert target.destination(mine) == Destination(target.url, mine.headers)


def test_the_credentials_of_the_url_go_to_every_endpoint() -> None:
    others = {"completions": Destination("http://u:p@h/v1/completions")}
    target = Target(url="http://u:p@h/v1/chat/completions", others=others).without_credentials()
    assert target.others["completions"].url == "http://h/v1/completions"
    assert target.others["completions"].headers == target.headers
    assert target.headers[0][0] == "authorization"


def test_the_record_says_endpoint_and_model_and_no_header() -> None:
    request = Request(
        id="r", index=0, body=b"{}", stream=False, input_tokens_asked=None, output_tokens_asked=None,
        route=Route("completions", (("authorization", "Bearer s3cret-key"),)), model="own",
    )  # fmt: skip
    exchange = Exchange(request, 1, 1, Reading(), clock="user")
    exchange.sent_ns = 2
    exchange.head(401, "application/json", "", None)
    exchange.feed(b'{"error": {"message": "the key s3cret-key is wrong"}}', 3, 3)
    record = exchange.close(4)
    assert (record.outcome, record.endpoint, record.model) == (Outcome.HTTP_ERROR, "completions", "own")
    assert record.error == "the key *** is wrong"
    assert "s3cret" not in repr(request)
    assert from_line(to_line(record)) == record


def test_a_reply_is_read_as_its_own_endpoint_reads_it() -> None:
    def text_of(route: Route | None) -> str:
        heard: list[Answer] = []
        request = Request(
            id="r", index=0, body=b"{}", stream=False, input_tokens_asked=None, output_tokens_asked=None, route=route,
            on_answer=heard.append,
        )  # fmt: skip
        exchange = Exchange(request, 1, 1, Reading(), clock="user")
        exchange.head(200, "application/json", "", None)
        exchange.feed(b'{"choices": [{"text": "hello", "finish_reason": "stop"}]}', 3, 3)
        exchange.close(4)
        return heard[0].content

    assert (text_of(Route("completions")), text_of(None)) == ("hello", "")


def test_the_turns_of_a_session_go_where_it_says() -> None:
    row = {"turns": [{"content": "a", "answer": "b"}, {"content": "c"}], "model": "own", "headers": {"x-user": "7"}}
    sessions = iter([read_session(row, "s")])
    made = Conversations(sessions, lambda sample: encode(sample, CHAT), "run", History(False))
    conversation = made.begin()
    first = made.request(conversation, 0, "run")
    conversation.answered(0)
    second = made.request(conversation, 1, "run")
    assert first.route == second.route == Route(None, (("x-user", "7"),))
    assert [orjson.loads(request.body)["model"] for request in (first, second)] == ["own", "own"]
    assert first.model == "own"


def test_the_probe_asks_for_each_way_and_greets_where_it_has_no_body() -> None:
    whole, other = Sample(body={"model": "a", "messages": []}), Sample(prompt="long", model="b", headers=(("x", "y"),))
    asked = samples_to_ask(ENDPOINTS["chat"], [whole, other], None)
    assert [(sample.prompt, sample.model) for sample in asked] == [
        ("Say hello.", None),
        (None, None),
        ("Say hello.", "b"),
    ]
    assert asked[2].headers == (("x", "y"),)
    assert samples_to_ask(ENDPOINTS["chat"], [whole, other], whole, all_named=True) == asked[1:]


def test_a_server_of_several_models_needs_no_choice_where_every_row_names_one() -> None:
    assert choose_model(None, ["a", "b"], all_named=True) is None
    assert choose_model(None, ["a"], all_named=True) == "a"
    with pytest.raises(Exception, match="choose one with --model"):
        choose_model(None, ["a", "b"], all_named=False)


@pytest.mark.parametrize(
    ("asked", "listed", "names"),
    [
        (["other"], ["mock"], "model 'other', but lists only mock:"),
        (["other", "mock", "other", "b"], ["mock", "lora"], "models 'other', 'b', but lists only mock, lora:"),
        (["x"], [f"m{k}" for k in range(12)], "lists only m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 2 more:"),
        (["lora"], ["mock", "lora"], None),
        (["llama3", "gemini"], ["llama3:latest", "models/gemini"], None),
        ([None], ["mock"], None),
        (["other"], [], None),
        (["other"], None, None),
    ],
)
def test_a_model_that_the_server_answers_for_and_does_not_list_has_a_note(
    asked: list[str | None], listed: list[str] | None, names: str | None
) -> None:
    notes = unlisted(asked, listed)
    assert len(notes) == (names is not None)
    assert names is None or names in notes[0]


def test_a_draft_of_a_sample_has_its_route() -> None:
    def encode_it(sample: Sample) -> Encoded:
        return Encoded(b"{}", True, None, None, sample.model)

    samples: Iterator[Sample] = iter([Sample(prompt="a", model="m", headers=(("x", "y"),)), Sample(prompt="a")])
    drafts = [draft_of(sample, encode_it) for sample in samples]
    assert [(draft.route, draft.model) for draft in drafts] == [(Route(None, (("x", "y"),)), "m"), (None, None)]
