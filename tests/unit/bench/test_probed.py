"""Probes among the requests of a load: how many, which, and the content of their bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import Any

import orjson
import pytest

from bench.config import RunConfig, resolve
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from bench.errors import UsageError
from bench.load.components import source_of, tokenizer_of
from bench.modes.interface import Numbering
from bench.modes.share import divide
from bench.sources.probed import probe_sample
from bench.workload import Request
from bench.workload.turns import Conversations
from promptset.probes import make_probe

RATED = {"url": "http://h", "requests": 400, "input_tokens": "8", "output_tokens": "4"}


def config(**settings: object) -> RunConfig:
    return resolve({**RATED, "check_answers": "5%", **settings})


def requests(of: RunConfig, count: int, worker: int = 0, workers: int = 1) -> list[Request]:
    """The first requests of one of several workers."""
    share = divide(10, workers, of.length)[worker]
    source = source_of(of, tokenizer_of(of), share)
    options = BodyOptions(endpoint=of.endpoint, model="m", ignore_eos=True, extra={"temperature": 0.7, "min_tokens": 4})
    numbering = Numbering("run", worker, workers, cancel=of.cancel_of, class_of=of.class_of, probe_of=of.probe_of)
    supply = numbering.supply(source, lambda sample: encode(sample, options))
    return [supply.take("run") for _ in range(count)]


def body_of(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(request.body)
    return body


def test_probes_are_the_asked_share_and_come_in_their_order() -> None:
    made = requests(config(probes="canary=7"), 400)
    probes = [request for request in made if request.probe is not None]
    assert [request.probe for request in probes] == list(range(20))
    codes = [body_of(request)["messages"][-1]["content"] for request in probes]
    assert codes[:7] == codes[7:14]
    assert len(set(codes)) == 7
    # Probes are at random places in each block of a hundred, not every twentieth request.
    gaps = {after.index - before.index for before, after in pairwise(probes)}
    assert len(gaps) > 3


def test_workers_send_the_probes_of_one() -> None:
    alone = {r.index: (r.probe, r.body) for r in requests(config(probes="sort=5", same_prompts=True), 100)}
    shared = [r for worker in (0, 1) for r in requests(config(probes="sort=5", same_prompts=True), 50, worker, 2)]
    assert {r.index: (r.probe, r.body) for r in shared} == alone


def test_a_probe_ends_by_itself_at_temperature_zero_and_the_load_is_as_ever() -> None:
    made = requests(config(probes="tool=3,schema=3"), 200)
    probes = [request for request in made if request.probe is not None]
    for request in probes:
        body = body_of(request)
        assert (body["temperature"], body.keys() & {"ignore_eos", "min_tokens"}) == (0, set())
        assert body["max_tokens"] == 128
        assert ("tools" in body) != ("response_format" in body)
        assert request.output_tokens_asked is None
    other = body_of(next(request for request in made if request.probe is None))
    assert (other["temperature"], other["ignore_eos"], other["min_tokens"]) == (0.7, True, 4)


def test_a_probe_has_no_class_and_its_user_stays() -> None:
    mix = {"classes": [{"name": "a", "share": 1, "input_tokens": "8"}, {"name": "b", "share": 1, "input_tokens": "9"}]}
    made = requests(config(mix=mix, cancel="share=100%,after=1s", probes="canary=3"), 100)
    probes = [request for request in made if request.probe is not None]
    assert {(request.traffic_class, request.cancel_after_ns) for request in probes} == {(None, None)}
    others = [request for request in made if request.probe is None]
    assert {request.traffic_class for request in others} == {"a", "b"}
    assert all(request.cancel_after_ns is not None for request in others)


def test_a_probe_among_sessions_is_a_session_of_one_turn_and_no_job() -> None:
    of = config(
        mode="sessions",
        check_answers="50%",
        probes="tool=2,schema=2",
        turns="2",
        history="planned",
        cancel="share=100%,after=1s",
    )
    options = BodyOptions(endpoint=of.endpoint, model="m", ignore_eos=True)
    share = divide(4, 1, of.length)[0]
    numbering = Numbering("run", 0, 1, cancel=of.cancel_of, probe_of=of.probe_of)
    made = of.load.worker_load(source_of(of, tokenizer_of(of), share), lambda s: encode(s, options), numbering, share)
    conversations = made.backlog
    assert isinstance(conversations, Conversations)
    made_beside = source_of(of, tokenizer_of(of), share)
    for _ in range(8):
        conversations.add(made_beside.pack_next(lambda sample: encode(sample, options)))
    begun = [conversations.begin() for _ in range(8)]
    asked = [conversations.request(one, 0, "run") for one in begun]
    probes = [request for request in asked if request.probe is not None]
    assert [request.probe for request in probes] == list(range(len(probes)))
    assert 2 <= len(probes) <= 6
    for request, conversation in zip(asked, begun, strict=True):
        assert request.place is not None
        is_probe = request.probe is not None
        assert (request.place.turns, request.place.job is None) == ((1, True) if is_probe else (2, False))
        assert len(conversation.after) == request.place.turns
        assert (request.cancel_after_ns is None) is is_probe
    body = body_of(probes[0])
    assert (body["temperature"], body["max_tokens"], "tools" in body) == (0, 128, True)
    assert "response_format" in body_of(probes[-1])


def test_all_requests_can_be_probes_and_then_no_prompt_is_made() -> None:
    of = config(check_answers="100%", probes="arithmetic=3")
    assert tokenizer_of(of) is None
    assert [request.probe for request in requests(of, 6)] == list(range(6))


@pytest.mark.parametrize(
    ("endpoint", "place", "missing"),
    [
        ("chat", ("response_format", "json_schema", "schema"), "text"),
        ("responses", ("text", "format", "schema"), "response_format"),
        ("messages", (), "response_format"),
        ("completions", (), "response_format"),
    ],
)
def test_a_schema_is_asked_for_in_the_words_of_the_endpoint(
    endpoint: str, place: tuple[str, ...], missing: str
) -> None:
    probe = make_probe("schema", 0, seed=0, options={})
    sample = probe_sample(probe, endpoint, takes_messages=endpoint != "completions")
    body: Any = orjson.loads(encode(sample, BodyOptions(endpoint=endpoint, model="m")).body)
    assert (body["temperature"], missing in body) == (0, False)
    found: Mapping[str, Any] = body
    for key in place:
        found = found[key]
    assert not place or found == probe.schema
    assert str(probe.messages[-1]["content"]) in str(body)


def test_an_endpoint_without_tools_gets_the_other_kinds() -> None:
    kinds = {probe.kind for probe in islice(config(endpoint="completions").make_probes(), 100)}
    assert kinds == {"canary", "retrieve", "arithmetic", "sort", "schema"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mode": "sessions", "check_answers": "100%"}, "--check-answers 100% leaves no session to hold"),
        ({"endpoint": "embeddings", "output_tokens": None}, "--check-answers needs an endpoint that answers"),
        ({"endpoint": "completions", "probes": "tool=5"}, "the kind tool needs an endpoint with tools"),
        ({"check_answers": None, "probes": "5"}, "add --check-answers 5%"),
        ({"check_answers": "0%"}, "'0%' is not a share of the requests"),
        ({"check_answers": "200%"}, "'200%' is not a share of the requests"),
        ({"probes": "canaries=5"}, "did you mean canary?"),
    ],
)
def test_what_cannot_be_checked_is_told(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        config(**settings)
