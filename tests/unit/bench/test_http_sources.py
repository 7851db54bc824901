"""Requests of any HTTP service: one body, rows, templates; and valid combinations of settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.load.components import source_of, target_of, tokenizer_of
from bench.sources.http import HttpSpec
from bench.sources.http_sessions import HttpSessionSpec
from bench.sources.http_template import parse_template
from bench.transport.interface import Destination
from bench.workload import RequestDraft, Route
from promptset.errors import SpecError
from promptset.samples import HttpRequest

URL = "http://h:1/any?q=1"


def opened(**spec: object) -> object:
    return HttpSpec(**spec).open(None, seed=1, salt=None, chat=False, first=0, step=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "row", "body"),
    [
        ('{"q":"{{ q }}"}', {"q": 'a "b"\n'}, {"q": 'a "b"\n'}),
        ('{"q":{{ q }},"n":"{{ n }}"}', {"q": "a", "n": 5}, {"q": "a", "n": "5"}),
        ('{"q":{{ q }}}', {"q": [1, {"a": None}]}, {"q": [1, {"a": None}]}),
        ('{"q":"{{ my column }}!"}', {"my column": "é"}, {"q": "é!"}),
        ('{"i":{{ int 7 7 }},"c":"{{ choice x }}","n":{{ number }}}', {}, {"i": 7, "c": "x", "n": 3}),
    ],
)
def test_a_template_of_json_stays_json(template: str, row: dict[str, object], body: object) -> None:
    assert json.loads(parse_template(template).body(row, 3, 1, None)) == body


def test_a_template_that_is_no_json_takes_values_as_text() -> None:
    assert parse_template("q={{ q }}&n={{ n }}").body({"q": 'a"b', "n": 1.5}, 0, 1, None) == b'q=a"b&n=1.5'


def test_what_is_drawn_depends_on_seed_salt_and_number_alone() -> None:
    template = parse_template("{{ uuid }} {{ hex 4 }} {{ int 1 1000000 }}")
    drawn = {template.body({}, number, seed, salt) for number in (0, 1) for seed in (1, 2) for salt in (None, "s")}
    assert len(drawn) == 8
    assert template.body({}, 1, 2, "s") in drawn
    uuid, digits, _ = template.body({}, 0, 1, None).decode().split()
    assert [len(part) for part in uuid.split("-")] == [8, 4, 4, 4, 12]
    assert uuid[14] == "4"
    assert uuid[19] in "89ab"
    assert len(digits) == 4


def test_a_drawn_number_has_both_of_its_ends_and_a_choice_each_word() -> None:
    template = parse_template("{{ int 5 7 }} {{ choice a b }}")
    drawn = [template.body({}, number, 1, None).decode().split() for number in range(100)]
    assert {number for number, _ in drawn} == {"5", "6", "7"}
    assert {word for _, word in drawn} == {"a", "b"}


@pytest.mark.parametrize("words", ["int 1", "int 2 1", "int a b", "choice", "hex", "hex x", "uuid 4", "number 1"])
def test_a_function_that_is_written_wrongly_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=rf"{words} \}}\}} is not understood"):
        parse_template(f"{{{{ {words} }}}}")


def test_rows_come_again_and_columns_fill_a_template(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("q,n\na,1\nb,2\n")
    source = opened(path=path, template='{"q":"{{ q }}","n":{{ n }}}')
    bodies = [source.at(number).http.body for number in range(3)]  # type: ignore[attr-defined]
    assert bodies == [b'{"q":"a","n":"1"}', b'{"q":"b","n":"2"}', b'{"q":"a","n":"1"}']
    assert source.repeats(range(3)) == 1  # type: ignore[attr-defined]
    with pytest.raises(SpecError, match=r"\{\{ gone \}\} is a column, and row 1 of .* has none"):
        opened(path=path, template="{{ gone }}")
    with pytest.raises(SpecError, match="there is no --dataset"):
        opened(template="{{ q }}")


def test_one_body_repeats_on_purpose_and_rows_of_a_file_do_not(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("a\nb\n")
    assert opened(body="x").repeats(range(9)) == 0  # type: ignore[attr-defined]
    assert opened(path=path).repeats(range(9)) == 7  # type: ignore[attr-defined]
    assert opened(path=path).notes == ("the file of requests is read as bodies (--rows bodies)",)  # type: ignore[attr-defined]


def test_a_body_may_be_the_content_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "body.bin"
    path.write_bytes(b"\xff@b")
    assert opened(body=f"@{path}").at(0).http.body == b"\xff@b"  # type: ignore[attr-defined]
    assert opened(body="b@c").at(0).http.body == b"b@c"  # type: ignore[attr-defined]
    path.write_text("{{ number }}!")
    assert opened(template=f"@{path}").at(7).http.body == b"7!"  # type: ignore[attr-defined]
    path.unlink()
    with pytest.raises(ValueError, match=rf"^the file {path} cannot be read \(No such file or directory\)$"):
        opened(body=f"@{path}")


def test_a_recording_is_sent_in_the_order_of_its_times(tmp_path: Path) -> None:
    entries = [
        {"startedDateTime": f"2026-01-01T00:00:0{second}Z", "request": {"method": "GET", "url": f"http://h/{second}"}}
        for second in (3, 1)
    ]
    path = tmp_path / "a.har"
    path.write_text(json.dumps({"log": {"entries": entries}}))
    source = opened(path=path, by_time=True)
    assert [source.at(number).http.path for number in (0, 1)] == ["/1", "/3"]  # type: ignore[attr-defined]
    assert list(source.times_s()) == [0.0, 2.0]  # type: ignore[attr-defined]
    assert source.untimed() is None  # type: ignore[attr-defined]
    assert opened(body="x").untimed() == "row 1 has none"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "method"),
    [({}, "GET"), ({"body": "x"}, "POST"), ({"body_template": "x"}, "POST"), ({"method": "put"}, "PUT")],
)
def test_the_method_follows_from_the_body_unless_it_is_given(given: dict[str, str], method: str) -> None:
    config = resolve({"url": URL, "endpoint": "http", **given})
    assert target_of(config).usual == Destination(URL, (), method)
    assert config.stream is False
    assert tokenizer_of(config) is None


def test_a_row_has_its_own_method_path_and_headers() -> None:
    target = target_of(resolve({"url": URL, "endpoint": "http", "header": ["X-A: run", "X-B: run"]}))
    route = Route(None, (("x-a", "row"),), "PUT", "//a/b?c=d")
    assert target.destination(route) == Destination("http://h:1//a/b?c=d", (("X-B", "run"), ("x-a", "row")), "PUT")


def test_a_request_with_a_route_survives_its_way_between_processes() -> None:
    draft = RequestDraft(b"\x00b", False, None, None, None, route=Route(None, (("a", "b"),), "PUT", "/p", "m"))
    assert RequestDraft.unpack(draft.pack()) == draft


def test_simulated_bodies_come_from_the_settings() -> None:
    config = resolve({"url": URL, "endpoint": "http", "body": "x"})
    assert next(iter(source_of(config, None))).http == HttpRequest(b"x", "POST")


def test_each_class_of_traffic_has_its_own_requests_and_method(tmp_path: Path) -> None:
    (tmp_path / "targets.jsonl").write_text('{"method": "DELETE", "url": "http://h/b"}')
    classes = [
        {"name": "read", "share": 50},
        {"name": "write", "share": 25, "body_template": '{"n": {{ number }}}', "method": "put"},
        {"name": "file", "share": 25, "dataset": str(tmp_path / "targets.jsonl"), "rows": "targets"},
    ]
    config = resolve({"url": URL, "endpoint": "http", "mix": {"classes": classes}})
    source = iter(source_of(config, None))
    names = [config.class_of(number) for number in range(20)] if config.class_of is not None else []
    made = [(name, next(source).http) for name in names]
    assert sorted({(name, way.method, way.path) for name, way in made if way is not None}) == [
        ("file", "DELETE", "/b"), ("read", "GET", None), ("write", "PUT", None)
    ]  # fmt: skip
    written = [way.body for name, way in made if name == "write" and way is not None]
    assert written == [b'{"n": %d}' % number for number in range(names.count("write"))]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "m"}, "--model is about prompts or models"),
        ({"output_tokens": 5}, "--output-tokens is about prompts or models"),
        ({"body": "a", "body_template": "b"}, "--body and --body-template cannot be combined"),
        ({"body": "a", "dataset": __file__}, "--body and --dataset cannot be combined"),
        ({"rows": "har"}, "--rows says what --dataset holds"),
        ({"dataset": __file__, "rows": "columns"}, "--rows columns needs --body-template"),
        ({"dataset": "chatbot"}, "a recipe makes prompts"),
        ({"slo": ["ttft<1s"]}, "so there is no ttft: use ttfb, e2el"),
        ({"until": ["ttft:p90=10%"]}, "so there is no ttft"),
        (
            {"mix": {"classes": [{"name": "a", "share": 1, "body": "x", "input_tokens": 5}]}},
            "class a: input_tokens is about",
        ),
        ({"mode": "sessions"}, "--mode sessions with --endpoint http needs a file"),
        (
            {"mode": "sessions", "dataset": "t.jsonl", "history": "real"},
            "--history: requests of --endpoint http carry no",
        ),
        ({"mode": "sessions", "dataset": "t.jsonl", "body_template": "{}"}, "--body-template cannot be combined with"),
        ({"mode": "sessions", "dataset": "t.jsonl", "rows": "curl"}, "--rows curl has no sessions"),
        ({"method": "HEAD", "expect": ["status=200,json:$.a"]}, "--expect looks into a body, and a response to HEAD"),
        ({"body": "@/nowhere"}, "the file /nowhere cannot be read"),
        ({"expect": ["ok"]}, "write status=200"),
        ({"rows": "hars"}, "did you mean har?"),
    ],
)
def test_what_does_not_go_with_any_http_service_is_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": URL, "endpoint": "http", **given})
    assert any(words in problem for problem in refused.value.problems), refused.value.problems


def test_only_the_flags_that_were_given_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"method": "GET", "url": "http://h/", "session": "a"}')
    given = {"mode": "sessions", "dataset": str(tmp_path / "t.jsonl"), "history": "real"}
    with pytest.raises(UsageError) as refused:
        resolve({"url": URL, "endpoint": "http", **given})
    assert refused.value.problems == ["--history: requests of --endpoint http carry no history"]


def test_what_is_for_http_is_refused_elsewhere() -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://h", "body": "x", "expect": ["status=200"]})
    assert refused.value.problems == [
        "--body is for --endpoint http, and the endpoint is chat",
        "--expect is for --endpoint http, and the endpoint is chat",
    ]


def test_sessions_are_the_rows_with_the_same_name_and_a_row_without_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"method": "GET", "url": f"http://h/{n}", "session": n % 2, "think_time_s": n} for n in range(4)]
    path.write_text("\n".join(map(json.dumps, rows)))
    source = HttpSessionSpec(path=path).open(None, seed=1, salt=None, chat=False, first=0, step=1)
    assert source.size == 2
    for number in (0, 1):
        session = source.at(number)
        assert session.id == str(number)
        assert [sample.http and sample.http.path for sample in session.requests] == [f"/{number}", f"/{number + 2}"]
        assert [turn.think_time_s for turn in session.turns] == [number, number + 2]
    path.write_text(json.dumps({"method": "GET", "url": "http://h/"}))
    with pytest.raises(SpecError, match="the session of each request, and that of row 1 is missing"):
        HttpSessionSpec(path=path).open(None, seed=1, salt=None, chat=False, first=0, step=1)


@pytest.mark.parametrize("wrong", [{"session": ""}, {"session": [1]}, {"think_time_s": -1}, {"think_time_s": "2"}])
def test_a_session_that_is_not_a_name_and_a_wrong_pause_are_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"method": "GET", "url": "http://h/", **wrong}))
    with pytest.raises(SpecError, match=r"its session is not a name|its think_time_s is not a number of seconds"):
        HttpSessionSpec(path=path, rows="targets").open(None, seed=1, salt=None, chat=False, first=0, step=1)
