"""The largest and smallest value that a setting accepts, and the next value that it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bench.config import resolve, values
from bench.config.addresses import MOST, MOST_WEIGHT, TargetAddress, places_of
from bench.config.other_tools import _rank, about_value
from tests.support.configurations import URL, problems, resolved


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        ({"concurrency": "1000000"}, 1_000_000),
        ({"requests": "1000000000"}, 1_000_000_000),
        ({"rate": "1000000", "duration": "1s"}, 1e6),
        ({"rate": "0.00001"}, 1e-5),
        ({"input_tokens": "10000000"}, "10000000"),
        ({"output_tokens": "1"}, "1"),
        ({"warmup": "1000000000", "duration": "1s"}, "1000000000"),
        ({"workers": "1024", "concurrency": "1024"}, "1024"),
        ({"workers": "1"}, "1"),
        ({"max_errors": "100%"}, "100%"),
        ({"duration": "8784h"}, 366 * 24 * 3600.0),
        ({"burstiness": "0.001", "rate": "1"}, 0.001),
        ({"seed": "9223372036854775807"}, 2**63 - 1),
        ({"seed": "0"}, 0),
    ],
)
def test_the_last_value_before_a_limit_is_taken(flags: dict[str, Any], value: object) -> None:
    assert getattr(resolved(**flags), next(iter(flags))) == value


YEAR_S = 366 * 24 * 3600


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"concurrency": "1000001"}, "1,000,001 need as many open sockets: give at most 1,000,000"),
        ({"concurrency": "0"}, "must be at least 1 (given: '0')"),
        (
            {"requests": "1000000001"},
            "1,000,000,001 requests take weeks and terabytes of records: give at most 1,000,000,000",
        ),
        ({"rate": "1000001", "duration": "1s"}, "1,000,001 requests a second are more than a machine sends"),
        ({"rate": "0.0000099"}, "must be at least 1e-05: one request a day is 0.0000116 a second"),
        (
            {"input_tokens": "10000001"},
            "'10000001' needs about 0.1 GB of text for every request: give at most 10,000,000",
        ),
        (
            {"output_tokens": "10000001"},
            "'10000001' needs about 0.1 GB of text for every request: give at most 10,000,000",
        ),
        ({"warmup": "1000000001"}, "1,000,000,001 requests are too many to send: give at most 1,000,000,000"),
        (
            {"workers": "1025", "concurrency": "2000"},
            "1,025 processes are too many for one machine: give at most 1,024, or",
        ),
        ({"workers": "0"}, "'0' is neither a number of processes (4) nor auto"),
        ({"duration": f"{YEAR_S + 1}"}, f"'{YEAR_S + 1}' is more than a year: give at most 8784h"),
        ({"seed": f"{2**63}"}, f"must be at most 9.22337e+18 (given: '{2**63}')"),
        ({"seed": "-1"}, "must be at least 0 (given: '-1')"),
        ({"gpu_hour_cost": "0", "gpus": "1"}, "must be more than 0 (given: '0')"),
        ({"gpus": "0"}, "must be at least 1 (given: '0')"),
        ({"workers_per_node": "0", "cluster": "ray"}, "must be at least 1 (given: '0')"),
        ({"burstiness": "0.00099", "rate": "1"}, "must be at least 0.001 (given: '0.00099')"),
        ({"burstiness": "1000001", "rate": "1"}, "must be at most 1e+06 (given: '1000001')"),
        ({"trace_speed": "0.0000009", "mode": "sessions"}, "must be at least 1e-06 (given: '0.0000009')"),
        ({"trace_speed": "1000001", "mode": "sessions"}, "must be at most 1e+06 (given: '1000001')"),
        ({"max_concurrency": "0", "rate": "1"}, "must be at least 1 (given: '0')"),
        ({"max_errors": "100.1%"}, "'100.1%' is more than all requests: give at most 100%"),
        ({"repeated_text": "1"}, "must be less than 1"),
        ({"repeated_text": "-0.1"}, "must be at least 0 (given: '-0.1')"),
        ({"timeout": "0"}, "must be more than 0"),
    ],
)
def test_the_first_value_beyond_a_limit_is_refused(flags: dict[str, Any], says: str) -> None:
    (problem, *_) = problems(**flags)
    name = next(iter(flags)).replace("_", "-")
    assert problem.startswith(f"--{name}: {says}")


@pytest.mark.parametrize(
    "flags",
    [
        {"gpu_hour_cost": "0.01", "gpus": "1"},
        {"workers_per_node": "1", "cluster": "ray"},
        {"burstiness": "1000000", "rate": "1"},
        {"max_concurrency": "1", "rate": "1"},
        {"repeated_text": "0.999"},
        {"repeated_text": "0"},
        {"concurrency": "1"},
        {"timeout": "0.001"},
    ],
)
def test_a_value_inside_its_limits_is_taken(flags: dict[str, Any]) -> None:
    name, text = next(iter(flags.items()))
    assert getattr(resolved(**flags), name) == float(text)


def test_the_most_addresses_with_the_largest_weight_are_taken() -> None:
    config = resolve({"url": [f"http://h{i}={MOST_WEIGHT:g}" for i in range(MOST)]})
    assert (len(config.addresses), {one.weight for one in config.addresses}) == (256, {1e6})
    assert problems(url=["http://a=1000001", "http://b"]) == [
        "--url: the weight of http://a must be more than 0 and at most 1e+06"
    ]


@pytest.mark.parametrize(
    ("names", "words"),
    [("a", "http://a"), ("ab", "http://a and 1 more address"), ("abc", "http://a and 2 more addresses")],
)
def test_addresses_are_named_in_a_few_words(names: str, words: str) -> None:
    assert places_of([TargetAddress(url=f"http://{name}") for name in names]) == words


def test_a_rate_and_a_length_may_plan_a_billion_requests() -> None:
    assert resolved(rate="1000000", duration="1000s").rate == 1e6
    (problem,) = problems(rate="1000000", duration="1001s")
    assert "1,001,000,000" in problem


@pytest.mark.parametrize(
    ("text", "taken"),
    [("9400", True), ("65535", True), ("65536", False), ("0.0.0.0:9400", True), ("a b:1", False), ("host:", False),
     ("my-host.x:0", True), (":80", True), ("[::1]:80", False)],
)  # fmt: skip
def test_an_address_to_listen_at_is_a_port_or_a_host_and_a_port(text: str, taken: bool) -> None:
    if taken:
        assert values.listening_address(f" {text} ") == text
    else:
        with pytest.raises(ValueError, match="is neither a port"):
            values.listening_address(text)


@pytest.mark.parametrize(
    ("text", "taken"),
    [("ray", True), ("ray://head:10001", True), ("10.0.0.1:6379", True), ("head", False), ("http://h:1", False),
     ("head:100000", False), ("u@h:1", False)],
)  # fmt: skip
def test_a_cluster_is_ray_or_an_address(text: str, taken: bool) -> None:
    if taken:
        assert values.cluster(f" {text} ") == text
    else:
        with pytest.raises(ValueError, match="is neither ray nor"):
            values.cluster(text)


@pytest.mark.parametrize(
    ("given", "pages"),
    [((), ()), (("auto",), ()), (("off",), ("off",)), (("http://a/m", "http://b/m"), ("http://a/m", "http://b/m")),
     (("auto", "http://a/m"), None), (("http://a/m", "off"), None), (("off", "off"), None)],
)  # fmt: skip
def test_server_metrics_are_auto_off_or_pages(given: tuple[str, ...], pages: tuple[str, ...] | None) -> None:
    if pages is not None:
        assert values.server_metrics(given) == pages
    else:
        with pytest.raises(ValueError, match="give auto, off, or one URL or more"):
            values.server_metrics(given)


@pytest.mark.parametrize(
    ("text", "taken"),
    [("http://proxy:3128", True), ("http://user:pw@proxy:3128/", True), ("https://proxy:3128", False),
     ("http://proxy/path", False), ("http://proxy?a=b", False)],
)  # fmt: skip
def test_a_proxy_is_a_host_and_a_port_over_http(text: str, taken: bool) -> None:
    if taken:
        assert values.proxy(text) == text
    else:
        with pytest.raises(ValueError, match="write it as http://HOST:PORT"):
            values.proxy(text)


def test_a_collector_is_taken_from_the_environment_or_has_a_url_without_a_user() -> None:
    assert [values.otlp(given) for given in ("env", "http://c:4318")] == ["env", "http://c:4318"]
    key = "give its key in OTEL_EXPORTER_OTLP_HEADERS"
    for wrong, part in (
        ("http://user:pw@c:4318", "user"),
        ("http://c:4318?key=k", "query"),
        ("http://u@c?key=k", "query"),
    ):
        with pytest.raises(ValueError, match="a collector's URL") as refused:
            values.otlp(wrong)
        assert str(refused.value) == f"a collector's URL has no {part}: {key}"
    assert [values.gpu_metrics(given) for given in ("auto", "off", "http://g/m")] == ["auto", "off", "http://g/m"]
    with pytest.raises(ValueError, match="does not begin with http"):
        values.gpu_metrics("on")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("9000", "http://127.0.0.1:9000"),
        (":9000", "http://127.0.0.1:9000"),
        ("123456", "http://123456"),
        ("host.example/v1", "http://host.example/v1"),
        ("htp://h:9/v1", "http://h:9/v1"),
        ("ftp:/h", "http://h"),
        ("a b", "http://127.0.0.1:8000"),
    ],
)
def test_a_url_without_its_scheme_is_answered_with_what_was_meant(written: str, meant: str) -> None:
    with pytest.raises(ValueError, match="does not begin with http") as refused:
        values.url(written)
    assert str(refused.value).endswith(f"; for example {meant}")


@pytest.mark.parametrize(
    ("text", "negative"),
    [("-5s", True), (" -0.5 ", True), ("-5", True), ("x5", False), ("-fast", False), ("--5", False)],
)
def test_a_time_is_only_negative_if_a_time_follows_its_sign(text: str, negative: bool) -> None:
    with pytest.raises(ValueError, match="is negative, and a time cannot be" if negative else "is not a time: write"):
        values.seconds(text)


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("100%", 1.0), ("1", 1.0), ("0.05", 0.05), ("0.5%", 0.005), (" 7 % ", 0.07)]
)
def test_a_share_is_written_in_percent_or_as_a_part(text: str, share: float) -> None:
    assert values.part(text) == share
    for wrong in ("0", "0%", "100.1%", "1.01", "-1%", "all", "%"):
        with pytest.raises(ValueError, match=r"is not a share of the requests: write 5% or 0\.05$"):
            values.part(wrong)


@pytest.mark.parametrize(
    ("written", "header"),
    [("X-A:b", "X-A: b"), (" X-A :  b ", "X-A: b"), ("X-A: b: c", "X-A: b: c"), ("X-A:", "X-A: ")],
)
def test_a_header_is_kept_in_one_spelling(written: str, header: str) -> None:
    assert values.header(written) == header


def test_a_mean_of_half_a_token_is_the_least() -> None:
    assert values.token_lengths("uniform:0..1") == "uniform:0..1"
    with pytest.raises(ValueError, match="'constant:0' is too small: give at least 1"):
        values.token_lengths("constant:0")


@pytest.mark.parametrize("value", ["", "-a", ".a", "a b", "a/b"])
def test_a_name_becomes_part_of_a_directorys_name(value: str) -> None:
    assert values.directory_name("a.B-3_") == "a.B-3_"
    with pytest.raises(ValueError, match="use letters, digits, dot, dash, underscore"):
        values.directory_name(value)


def test_places_in_object_stores_are_for_the_command_line() -> None:
    assert problems(dataset="s3://b/k?v") == [
        "--dataset: s3://b/k?*** is no file: addresses of object stores (s3://) go on the command line"
    ]
    assert problems(out="s3://b/k") == [
        "--out: s3://b/k is no directory: addresses of object stores (s3://) go on the command line"
    ]
    assert problems(dataset="/dev/null") == [
        "--dataset: /dev/null is not a plain file, and rows are read more than once: save them to a file first"
    ]


def test_json_that_cannot_be_sent_says_why() -> None:
    assert values.json_object('{"a": 1}') == {"a": 1}
    assert values.json_object({"a": [1]}) == {"a": [1]}
    with pytest.raises(
        ValueError, match=r"^not JSON \(.*\); in a shell put it in single quotes: '\{\"top_p\": 0.9\}'$"
    ):
        values.json_object("{a: 1}")
    with pytest.raises(ValueError, match=r"^cannot be sent as JSON: integer exceeds 64-bit range"):
        values.json_object({"a": 2**70})


def test_goals_are_named_once_and_each_wrong_one_is_told() -> None:
    assert values.precision_goals(("ttft:p90=10%,e2el:mean=5%", "ttft:p90=10%")) == ("ttft:p90=10%", "e2el:mean=5%")
    with pytest.raises(ValueError, match="x=y") as refused:
        values.precision_goals(("x=y", "ttft:p90=10%", "z=1"))
    assert [line[:6] for line in str(refused.value).splitlines()] == ['"x=y":', '"z=1":']


@pytest.mark.parametrize(
    ("value", "text"), [(5.0, "5"), (0.1, "0.1"), (1e-7, "1e-07"), (3, "3"), ("a", "a"), (1 / 3, "0.333333333333333")]
)
def test_a_value_is_written_as_on_a_command_line(value: object, text: str) -> None:
    assert values.as_text(value) == text


def test_a_path_that_cannot_even_be_looked_for_is_named() -> None:
    with pytest.raises(ValueError, match=r"cannot be checked: File name too long"):
        values.existing_file("a" * 300)


@pytest.mark.parametrize(
    ("key", "value", "typed"),
    [("header", "a=b=c", "a=..."), ("header", ["X: 1", "key=secret"], "key=..."), ("mode", " closed ", "closed"),
     ("mode", "rate", None), ("rate", "inf", "inf")],
)  # fmt: skip
def test_a_value_of_another_tool_is_quoted_without_what_may_be_secret(
    key: str, value: object, typed: str | None
) -> None:
    answer = about_value(key, value)
    assert (None if answer is None else answer[0]) == typed


def test_a_goal_on_gaps_needs_replies_of_several_tokens() -> None:
    assert resolved(output_tokens="2", until=["tpot:mean=5%"]).until == ("tpot:mean=5%",)
    (problem,) = problems(output_tokens="1", until=["tpot:mean=5%"])
    assert problem.startswith('--until "tpot:mean=5%": ')


def test_what_was_read_from_a_file_is_not_changed_later() -> None:
    address = TargetAddress(url=URL)
    with pytest.raises(ValidationError, match="frozen"):
        address.weight = 2.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        TargetAddress.model_validate({"url": URL, "wieght": 2})


def test_addresses_with_weights_may_be_balanced_by_them() -> None:
    assert resolve({"url": ["http://a=3", "http://b"], "balance": "weighted"}).balancing == "weighted"


def test_nothing_of_a_prompt_is_repeated_unless_it_is_asked_for() -> None:
    assert (resolved().repeated_text, resolved(repeated_text="0.5").repeated_text) == (0.0, 0.5)


def test_token_ids_need_completions_and_the_tokenizer_of_the_model() -> None:
    found = problems(prompt_ids=True)
    assert [problem.partition(":")[0] for problem in found] == [
        "--prompt-ids is for --endpoint completions", "--prompt-ids needs the model's own tokenizer",
    ]  # fmt: skip
    assert len(problems(prompt_ids=True, endpoint="completions")) == 1
    assert resolved(prompt_ids=True, endpoint="completions", check_usage=True).prompt_ids is True


@pytest.mark.parametrize(
    ("wanted", "value", "rank"),
    [(None, None, 1), ("N", None, 2), ("word", None, 4), (None, "x", 3), ("N", "5", 1), ("N", "x", 4), ("URL", "a://b", 1),
     ("URL", "localhost:1", 1), ("URL", "x", 4), ("word", "word", 0), ("word", "kind=word", 0), ("word", "kind=word,a", 0),
     ("word", "words", 4), ("FILE", "x", 2)],
)  # fmt: skip
def test_the_row_that_fits_a_value_best_comes_first(wanted: str | None, value: str | None, rank: int) -> None:
    assert _rank(wanted, value) == rank
