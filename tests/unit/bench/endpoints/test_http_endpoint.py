"""Any HTTP service: the expected responses, and the bodies sent."""

from __future__ import annotations

import pytest

from bench.endpoints import ENDPOINTS, expectations
from bench.endpoints.decoding import Json
from bench.endpoints.http import Http
from bench.endpoints.interface import BodyOptions, ReadOptions
from bench.endpoints.json_path import parse_path
from bench.endpoints.urls import endpoint_of, url_of
from bench.records import Outcome
from promptset.samples import HttpRequest, Sample

OPTIONS = BodyOptions(endpoint="http", model=None)
DOCUMENT: Json = {"a": {"b c": [1, {"d": None, "e": "x"}, 3]}, "list": [{"t": "p"}, {"t": 5}, {"t": "q"}], "zero": 0}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$", [DOCUMENT]),
        ("$.zero", [0]),
        ("$.a['b c'][0]", [1]),
        ('$.a["b c"][-1]', [3]),
        ("$.a['b c'][1].d", [None]),
        ("$.a['b c'][3]", []),
        ("$.a['b c'][-4]", []),
        ("$.list[*].t", ["p", 5, "q"]),
        ("$.list.t", []),
        ("$.nothing[*].t", []),
        ("$.zero.a", []),
    ],
)
def test_a_path_finds_what_is_there(path: str, values: list[object]) -> None:
    assert parse_path(path).values(DOCUMENT) == values


def test_a_path_joins_texts_and_skips_null() -> None:
    assert parse_path("$.list[*].t").text_in(DOCUMENT) == "pq"
    assert parse_path("$.a['b c'][1].d").first(DOCUMENT) is None
    assert parse_path("$.zero").first(DOCUMENT) == 0


@pytest.mark.parametrize("path", ["", "a.b", "$a", "$.", "$.a[", "$.a[x]", "$..a", "$.a b", "$.a['b]"])
def test_a_path_that_is_not_understood_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path of JSON"):
        parse_path(path)


BODY = b'{"ok":true,"id":"x1","n":2,"empty":null,"one":1}'


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ((), None),
        (("status=200",), None),
        (("json:$.ok=true",), None),
        (("json:$.ok=false",), "$.ok of the reply is true, not false"),
        (("json:$.n=2,json:$.id=x1",), None),
        (("json:$.n=3",), "$.n of the reply is 2, not 3"),
        (('json:$.id="x1"', "text:x1"), None),
        (("json:$.id",), None),
        (("json:$.empty",), "the reply has no $.empty"),
        (("json:$.gone=1",), "the reply has no $.gone"),
        (("json:$.gone=null,json:$.empty=null",), None),
        (("json:$.id=null",), '$.id of the reply is "x1", not null'),
        (("json:$.one=true",), "$.one of the reply is 1, not true"),
        (("json:$.ok=1",), "$.ok of the reply is true, not 1"),
        (("text:ready",), "the reply does not contain 'ready'"),
    ],
)
def test_a_body_is_checked(spec: tuple[str, ...], problem: str | None) -> None:
    reply = Http("POST", expectations.parse(spec)).read_whole(BODY, ReadOptions())
    if problem is None:
        assert reply.problem is None
        assert reply.complete
    else:
        assert reply.problem is not None
        assert reply.problem.outcome is Outcome.MALFORMED
        assert problem in reply.problem.message


def test_a_body_that_is_no_json_fails_only_if_json_is_expected() -> None:
    assert Http().read_whole(b"<p>", ReadOptions()).problem is None
    problem = Http("GET", expectations.parse(["json:$.a"])).read_whole(b"<p>", ReadOptions()).problem
    assert problem is not None
    assert "the body is not JSON" in problem.message


@pytest.mark.parametrize(
    ("spec", "accepted", "refused"),
    [
        ((), (200, 204, 299), (199, 301, 404, 500)),
        (("status=200|404",), (200, 404), (201, 403)),
        (("status=2xx", "status=301"), (200, 299, 301), (302,)),
    ],
)
def test_statuses_are_those_that_are_expected(
    spec: tuple[str, ...], accepted: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    http = Http("GET", expectations.parse(spec))
    assert all(map(http.accepts, accepted))
    assert not any(map(http.accepts, refused))


@pytest.mark.parametrize(
    "spec", ["", "status=", "status=20", "status=600", "ok", "json:ok=1", "text:", "status=2xx, x"]
)
def test_an_expectation_that_is_not_understood_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="write"):
        expectations.parse([spec])


def test_a_comma_in_a_value_divides_only_before_another_expectation() -> None:
    assert expectations.parse(["text:a,b,status=201"]) == expectations.parse(["text:a,b", "status=201"])


def test_bodies_are_sent_as_they_are() -> None:
    encoded = ENDPOINTS["http"].encode(Sample(http=HttpRequest(b"\x00raw")), OPTIONS)
    assert (encoded.body, encoded.stream, encoded.output_tokens_asked) == (b"\x00raw", False, None)
    assert ENDPOINTS["http"].encode(Sample(prompt="Say hello."), OPTIONS).body == b""


@pytest.mark.parametrize("url", ["http://h:1/", "http://h:1", "http://h/any?a=1&b=", "https://h/v1/chat/completions"])
def test_the_url_is_used_as_it_is(url: str) -> None:
    assert url_of(url, ENDPOINTS["http"]) == url


def test_no_url_names_the_endpoint_of_any_service() -> None:
    assert endpoint_of("http://h/any") is None
    assert endpoint_of("http://h/v1/chat/completions") == "chat"
