"""What the sources of requests say of themselves: their first body, their destinations, and what they repeat."""

from __future__ import annotations

import importlib.util
import json
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.load import worker
from bench.load.components import source_of, tokenizer_of
from bench.load.worker import feed_ahead, needs_feed
from bench.sources.agents import AgentSpec
from bench.sources.changed import Changed
from promptset import recipes
from promptset.samples import HttpRequest, Sample
from promptset.tokens import DEFAULT, load_tokenizer
from tests.support.made_mix import mixed


def source(**flags: Any) -> Any:
    return source_of(resolve({"url": "http://h", **flags}), load_tokenizer())


def tokens(text: str) -> int:
    return load_tokenizer().count_plain([text])[0]


def test_each_source_says_what_the_load_has_to_know_of_it(tmp_path: Path) -> None:
    def file(name: str, *lines: object) -> dict[str, str]:
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return {"dataset": str(tmp_path / name)}

    chat = {"turns": [{"content": "a"}, {"content": "b"}]}
    named = {"turns": [{"content": "a"}], "model": "small"}
    agents = {"turns": [{"content": "a"}, {"after": [], "continues": None, "content": "b"}]}
    target = {"method": "GET", "url": "http://h/1", "session": "s"}
    of_sessions = {"mode": "sessions"}
    media = {"images": "n=1,size=8x8"}
    # The settings; whether sharing is planned, the items are in memory, and each names its model; and how many requests
    # of an item may be in flight at once.
    sources: list[tuple[dict[str, Any], tuple[bool, bool, bool, int]]] = [
        ({}, (True, False, False, 1)),
        (media, (True, False, False, 1)),
        ({"endpoint": "embeddings"}, (True, False, False, 1)),
        (file("prompts.jsonl", {"prompt": "a"}), (False, False, False, 1)),
        ({"endpoint": "http", "body": "a"}, (False, True, True, 1)),
        ({"endpoint": "http", "body_template": "{{ number }}"}, (False, False, True, 1)),
        (file("targets.jsonl", target) | {"endpoint": "http"}, (False, True, True, 1)),
        (file("targets.jsonl", target) | {"endpoint": "http"} | of_sessions, (False, True, True, 1)),
        ({"endpoint": "transcriptions"}, (False, False, False, 1)),
        (of_sessions, (False, False, False, 1)),
        (file("chats.jsonl", chat, named) | of_sessions, (False, True, False, 1)),
        (file("named.jsonl", named) | of_sessions, (False, True, True, 1)),
        (file("agents.jsonl", agents) | of_sessions, (False, True, False, 2)),
        ({"dataset": "coding-agent"} | of_sessions, (False, False, False, 1)),
        ({"check_answers": "100%"}, (True, True, False, 1)),
    ]  # fmt: skip
    for flags, expected in sources:
        config = resolve({"url": "http://h", **flags})
        made = source_of(config, load_tokenizer())
        found = (config.data.plans_sharing, made.in_memory, made.names_models, made.at_once)
        assert found == expected, flags


def test_the_probe_tries_twenty_models_of_sessions_at_most(tmp_path: Path) -> None:
    sessions = [{"turns": [{"content": "a"}], "model": f"m{number}"} for number in range(25)]
    ways = rows(tmp_path, *sessions, mode="sessions").ways
    assert {way.model for way in ways} <= {f"m{number}" for number in range(25)}
    assert len(ways) == 20


# Texts and documents


@pytest.mark.parametrize("flags", [{"endpoint": "embeddings"}, {"endpoint": "rerank"}])
def test_inputs_have_their_number_and_their_lengths(flags: dict[str, str]) -> None:
    made = source(**flags, batch_inputs="3", input_tokens="20")
    sample = made.at(0)
    query = flags["endpoint"] == "rerank"
    assert (sample.query is not None) is query
    # A query is one more input.
    assert [tokens(text) for text in sample.texts] == [20] * (3 if not query else len(sample.texts))
    assert sample.input_tokens == 20 * (len(sample.texts) + query)
    assert [next(made) for _ in range(2)] == [made.at(0), made.at(1)]
    assert made.at(0) != made.at(1)
    assert made.planned_sharing(10) is None or made.planned_sharing(10).cached == 0


def test_one_text_and_many_documents_are_the_default() -> None:
    assert len(source(endpoint="embeddings").at(0).texts) == 1
    assert len(source(endpoint="rerank").at(0).texts) > 1


def test_inputs_share_what_the_prefix_says() -> None:
    def common(made: Any) -> int:
        """The tokens of what the first two texts have in common."""
        first, second = (made.at(number).texts[0] for number in (0, 1))
        return tokens(
            "".join(
                letter for letter, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
            )
        )

    shared = source(endpoint="embeddings", input_tokens="64", prefix="tokens=48")
    assert common(shared) >= 47
    assert common(source(endpoint="embeddings", input_tokens="64")) < 10
    # Three whole blocks of 16 tokens of every prompt but the first.
    tally = shared.planned_sharing(10)
    assert (tally.tokens, tally.cached) == (640, 9 * 48)


def test_inputs_of_a_recipe_come_at_its_times() -> None:
    timed = next(name for name in recipes.names() if recipes.load(name).gaps is not None)
    made = source(endpoint="embeddings", dataset=timed, seed="7", mode="trace", requests="5")
    times_s = recipes.load(timed).times_s(7)
    assert times_s is not None
    assert [*islice(made.times_s(), 5)] == [*islice(times_s, 5)]
    assert made.untimed() is None
    assert source(endpoint="embeddings").untimed() is not None


# Rows of a file


def rows(folder: Path, *lines: object, **flags: Any) -> Any:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return source(dataset=str(path), **flags)


def test_rows_that_are_whole_bodies_are_the_probe_and_prompts_are_not(tmp_path: Path) -> None:
    body = {"body": {"messages": [{"role": "user", "content": "a"}]}}
    whole = rows(tmp_path, body)
    assert whole.own_body is not None
    assert whole.own_body.body == body["body"]
    assert rows(tmp_path, {"prompt": "a"}).own_body is None


def test_each_endpoint_and_model_that_rows_name_is_a_destination(tmp_path: Path) -> None:
    made = rows(
        tmp_path,
        {"prompt": "a"},
        {"prompt": "b", "model": "small"},
        {"prompt": "c", "model": "small"},
        {"prompt": "d", "endpoint": "completions"},
    )
    assert [(way.prompt, way.model, way.endpoint) for way in made.ways] == [
        ("b", "small", None),
        ("d", None, "completions"),
    ]
    assert not made.names_models
    named = rows(tmp_path, {"prompt": "b", "model": "small"}, {"prompt": "c", "model": "large"})
    assert named.names_models
    assert [way.model for way in named.ways] == ["small", "large"]
    plain = rows(tmp_path, {"prompt": "a"})
    assert (plain.ways, plain.names_models) == ((), False)


# Requests of any HTTP service


def test_requests_to_other_hosts_are_left_out_with_a_note(tmp_path: Path) -> None:
    urls = ("http://h/1", "http://other/2", "http://h/3", "http://another/4")
    entries = [{"startedDateTime": "2026-01-01T00:00:00Z", "request": {"method": "GET", "url": url}} for url in urls]
    path = tmp_path / "a.har"
    path.write_text(json.dumps({"log": {"entries": entries}}))
    made = source(endpoint="http", dataset=str(path))
    assert [made.at(number).http.path for number in range(3)] == ["/1", "/3", "/1"]
    assert made.notes == (
        "the file of requests is read as har (--rows har)",
        "2 requests of the file go to other hosts than h, and are left out",
    )
    assert source(endpoint="http", dataset=str(path), rows="har").notes == made.notes[1:]


def test_rows_are_in_memory_and_bodies_of_a_template_are_made(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("a\nb\n")
    kept = source(endpoint="http", dataset=str(path))
    made = source(endpoint="http", body_template="{{ number }}")
    assert (kept.in_memory, made.in_memory) == (True, False)
    assert (kept.own_body.http, made.own_body.http) == (HttpRequest(b"a", "POST"), HttpRequest(b"0", "POST"))
    flags = {"url": "http://h", "endpoint": "http", "requests": "9000"}
    assert needs_feed(resolve({**flags, "body_template": "{{ number }}"}))
    assert not needs_feed(resolve({**flags, "body": "a"}))
    assert not needs_feed(resolve({**flags, "body_template": "{{ number }}", "requests": "5000"}))


@pytest.mark.parametrize(("requests", "starts"), [("5000", False), ("5001", True)])
def test_a_process_that_makes_prompts_is_started_if_they_are_not_all_made_before(
    requests: str, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FeedProcess", lambda config: ("started", config))
    config = resolve({"url": "http://h", "requests": requests})
    assert feed_ahead(config) == (("started", config) if starts else None)


# Audio


def test_the_probe_sends_the_first_clip(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.mp3").write_bytes(b"ID3" + name.encode())
    made = rows(tmp_path, {"audio": "a.mp3"}, {"audio": "b.mp3"}, endpoint="transcriptions")
    assert made.own_body == made.at(0)
    assert made.own_body.audio.name == "a.mp3"


def test_a_row_that_is_sent_at_the_start_comes_first(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"ID3")
    clips = [{"audio": "a.mp3", "at_s": at_s, "text": str(at_s)} for at_s in (0.5, 0, 0.75)]
    made = rows(tmp_path, *clips, endpoint="transcriptions", mode="trace")
    assert [made.at(number).audio.reference for number in range(3)] == ["0", "0.5", "0.75"]
    assert [*made.times_s()] == [0, 0.5, 0.75]
    entries = [
        {"startedDateTime": f"2026-01-01T00:00:00.{ms:03d}Z", "request": {"method": "GET", "url": f"http://h/{ms}"}}
        for ms in (500, 0, 750)
    ]
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": entries}}))
    made = source(endpoint="http", dataset=str(tmp_path / "a.har"), mode="trace")
    assert [made.at(number).http.path for number in range(3)] == ["/0", "/500", "/750"]


def test_the_audio_of_a_transcription_is_no_part_of_a_chat() -> None:
    made = source(endpoint="transcriptions", audio="length=250ms")
    assert not isinstance(made, Changed)
    assert made.at(0).audio.length_ns == 250_000_000


@pytest.mark.parametrize("value", ["soon", -1, "-0.5", [1], "nan", 1e9])
def test_a_time_of_a_clip_that_is_no_number_of_seconds_is_refused(value: object, tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"ID3")
    with pytest.raises(UsageError) as refused:
        rows(tmp_path, {"audio": "a.mp3", "at_s": value}, endpoint="transcriptions")
    assert f"at_s must be a number of seconds, not {value!r}" in str(refused.value)


# Classes of traffic


def test_prompts_that_are_made_for_classes_repeat_nothing_and_have_the_first_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n')
    own = {"name": "own", "share": 50, "dataset": str(tmp_path / "rows.jsonl")}
    made = {"name": "made", "share": 50, "input_tokens": 40}
    tokenizer = load_tokenizer()
    both = source_of(mixed(own, made), tokenizer)
    assert both.tokenizer is tokenizer
    assert both.repeats(range(100)) == 49
    assert source_of(mixed(made), tokenizer).repeats(range(100)) == 0
    assert source_of(mixed(own), tokenizer).tokenizer is None


# Sessions of agents


@pytest.mark.parametrize(
    ("sub_agents", "at_once"),
    [
        ("", 1),
        ("sub_agents: {share: 0%, agents: '5', turns: '2', first_context: '150'}", 1),
        ("sub_agents: {share: 40%, agents: '5', turns: '2', first_context: '150'}", 5),
        ("sub_agents: {share: 40%, agents: uniform:1..3, turns: '2', first_context: '150'}", 3),
    ],
)
def test_as_many_requests_of_a_session_are_in_flight_as_it_has_sub_agents(
    sub_agents: str, at_once: int, tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"like: coding-agent\nturns: '6'\n{sub_agents or 'sub_agents: null'}\n")
    spec = AgentSpec(recipe=str(path))
    made = spec.open(load_tokenizer(), seed=3, salt=None, chat=True, first=0, step=1)
    assert made.at_once == at_once


# Tokenizers


def default_folder() -> str:
    """The directory of the embedded tokenizer."""
    package = importlib.util.find_spec(DEFAULT.replace("-", "_"))
    assert package is not None
    assert package.submodule_search_locations is not None
    return package.submodule_search_locations[0]


@pytest.mark.parametrize(
    ("flags", "named", "needed"),
    [
        ({}, False, True),
        ({"rows": {"prompt": "a"}}, False, False),
        # The texts of a file are counted if a tokenizer is named.
        ({"rows": {"prompt": "a"}}, True, True),
        ({"dataset": "chatbot"}, False, True),
        ({"endpoint": "http", "body": "a"}, False, False),
        ({"endpoint": "transcriptions"}, False, False),
        ({"check_answers": "100%"}, False, False),
    ],
)
def test_a_tokenizer_is_loaded_if_texts_are_made_or_counted(
    flags: dict[str, Any], named: bool, needed: bool, tmp_path: Path
) -> None:
    given = {name: value for name, value in flags.items() if name != "rows"}
    if "rows" in flags:
        (tmp_path / "rows.jsonl").write_text(json.dumps(flags["rows"]))
        given["dataset"] = str(tmp_path / "rows.jsonl")
    if named:
        given["tokenizer"] = default_folder()
    assert (tokenizer_of(resolve({"url": "http://h", **given})) is not None) is needed


# Changes


def test_a_load_with_a_session_header_and_ids_has_them_in_every_request(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "session": "s"}\n')
    made = source(dataset=str(path), session_header="X-Session-Id")
    assert isinstance(made, Changed)
    assert [made.at(number).headers for number in (0, 1)] == [(("x-session-id", "s"),), (("x-session-id", "s.2"),)]
    text: Any = made.at(0)
    assert text.prompt_ids is None
    of_ids = source(endpoint="completions", prompt_ids=True, check_usage=True, input_tokens="12")
    sample = of_ids.at(0)
    assert sample.prompt_ids == tuple(load_tokenizer().encode(sample.prompt, add_special_tokens=True))
    assert not isinstance(source(input_tokens="12"), Changed)
    assert isinstance(source(input_tokens="12").at(0), Sample)
