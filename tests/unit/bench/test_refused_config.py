"""Configuration: which settings are refused, and the place of each problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.errors import UsageError
from tests.support.configurations import URL, problems, resolved
from tests.support.literal_server import CERTIFICATE

SECRET = "sk-very-secret-1234"


def test_all_problems_are_named_at_once() -> None:
    found = problems(
        concurrency="0", rate="fast", duration="5 parsecs", input_tokens="normal:mean=5", header=["nonsense"], sed="1"
    )
    text = "\n".join(found)
    for flag in ("--concurrency", "--rate", "--duration", "--input-tokens", "--header", "--sed"):
        assert flag in text
    assert len(found) >= 6


def test_of_a_long_value_only_the_begin_is_quoted() -> None:
    for length, shown in ((200, f"'{'x' * 198}'"), (201, f"'{'x' * 196}...")):
        (problem,) = problems(seed="x" * (length - 2))
        assert problem == f"--seed: must be a whole number (given: {shown})"


def test_several_problems_of_one_flag_are_several_and_each_names_it() -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://h", "input_tokens": "lognormal:mean=3,foo=4"})
    assert len(refused.value.problems) == 2
    assert all(problem.startswith("--input-tokens: 'lognormal:") for problem in refused.value.problems)


def test_a_wrong_url_does_not_hide_the_other_problems() -> None:
    found = problems(url="localhost:8000", concurrency="0", rate="5")
    assert [p.split(":")[0] for p in found][:2] == ["--url", "--concurrency"]


def test_a_missing_url_says_how_to_give_one() -> None:
    with pytest.raises(UsageError) as raised:
        resolve({"rate": "5", "concurrency": "5"})
    assert "--url is missing: give the server's URL, for example --url http" in raised.value.problems[0]
    assert any("cannot be combined" in p for p in raised.value.problems)


def test_an_unknown_key_of_a_file_is_named_with_the_nearest_known_one() -> None:
    assert problems({"conccurrency": 5}, "load.yaml") == [
        "load.yaml: conccurrency is not known: did you mean concurrency?"
    ]
    of_yaml: dict[Any, Any] = {10: None, "concurrency": 4, "zzzz": 1}
    assert [problem.partition(" is not known")[0] for problem in problems(of_yaml, "load.yaml")] == [
        "load.yaml: 10", "load.yaml: zzzz"
    ]  # fmt: skip


def test_a_problem_inside_a_nested_key_has_its_whole_path() -> None:
    (wrong,) = problems({"limits": {"errors": {"suspect": "much"}}}, "load.yaml")
    assert wrong.startswith("load.yaml: limits.errors.suspect: ")
    (unknown,) = problems({"limits": {"erors": {"suspect": 1}}}, "load.yaml")
    assert unknown == "load.yaml: limits.erors is not known"


def test_a_problem_is_blamed_on_the_flag_that_overrode_the_file() -> None:
    assert problems({"concurrency": 5}, "load.yaml", concurrency="x")[0].startswith("--concurrency:")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"input_tokens": "lognormal:mean=200ms,cv=0.5"}, "--input-tokens:"),
        ({"output_tokens": "uniform:9..1"}, "--output-tokens:"),
        ({"url": "ftp://host"}, "does not begin with http:// or https://"),
        (
            {"url": "http://[::1:80"},
            "--url: 'http://[::1:80' is not a URL: write an IPv6 address as in http://[::1]:8000",
        ),
        ({"url": "http://user:key@[::1"}, "--url: 'http://***@[::1' is not a URL"),
        ({"url": "http://a..b/"}, "--url: 'http://a..b/': not a valid host name"),
        ({"url": f"http://{'a' * 64}.x/"}, "not a valid host name (a part of it is empty, or over 63 characters)"),
        ({"url": "http://h\u00e9llo.x/"}, "write the name of the host in its ASCII form (xn--...): xn--hllo-bpa.x"),
        ({"url": "http://stra\u00dfe.x/"}, "write the name of the host in its ASCII form (xn--...)"),
        ({"url": "http://127.0.0.1\t.a/"}, "the name of a host has no spaces and no control characters"),
        ({"url": "http://a b/"}, "'http://a b/': the name of a host has no spaces"),
        ({"url": "http://h/\u4e2d/v1"}, "'\u4e2d' is not allowed in a URL: write it percent-encoded, %E4%B8%AD"),
        ({"url": "http://h/a b/v1"}, "' ' is not allowed in a URL: write it percent-encoded, %20"),
        ({"url": "http://h/\ud800"}, "is not allowed in a URL: write it percent-encoded"),
        (
            {"url": "http://h/v1?key=\u00fcber"},
            "'http://h/v1?key=***': the query has characters that are not allowed in",
        ),
        (
            {"server_metrics": ["http://\u4e2d.x/metrics"]},
            "--server-metrics: 'http://\u4e2d.x/metrics': write the name",
        ),
        ({"out": ""}, "--out: it is empty: name a directory, or leave it out"),
        ({"concurrency": True}, "--concurrency: must be a number, not yes, no, true or false (given: true)"),
        ({"rate": False}, "--rate: must be a number, not yes, no, true or false (given: false)"),
        ({"header": ["X-Request-ID: a"]}, "the header X-Request-ID identifies each request"),
        ({"url": "http://"}, "names no host"),
        ({"url": "http:/host"}, "'http:/host' names no host; for example http://host"),
        ({"url": "https:host:80/v1"}, "'https:host:80/v1' names no host; for example https://host:80/v1"),
        ({"url": "http://host:99999"}, "--url:"),
        ({"header": ["no-colon"]}, "a header is written NAME:VALUE"),
        ({"header": ["Content-Length: 5"]}, "the header Content-Length gives the length of a body"),
        ({"header": ["transfer-encoding:chunked"]}, "the header transfer-encoding gives the length of a body"),
        ({"header": ["bad name: x"]}, "a header is written NAME:VALUE"),
        ({"header": ["X-A: a\nb"]}, "characters that a header cannot carry"),
        ({"extra_body": "{'top_p': 1}"}, "not JSON"),
        ({"extra_body": "[1]"}, "--extra-body:"),
        ({"slo": ["ttft:p99<fast"]}, "--slo:"),
        ({"slo": ["nonsense"]}, "--slo:"),
        ({"warmup": "a while"}, "neither a number of requests (20), a time (20s) nor auto"),
        ({"max_errors": "few"}, "neither a number of requests (10) nor a share (5%)"),
        ({"arrivals": "pigeon", "rate": "1"}, "'pigeon' is not one of poisson, gamma, constant"),
        ({"transport": "pigeon"}, "'pigeon' is not one of"),
        ({"mode": "warp"}, "--mode:"),
        ({"endpoint": "pictures"}, "--endpoint:"),
        ({"name": "a/b"}, "cannot be part of a directory's name"),
        ({"dataset": "/nowhere.jsonl"}, "there is no file /nowhere.jsonl"),
        ({"ca_file": "/nowhere.pem", "url": "https://h"}, "there is no file /nowhere.pem"),
        ({"prefix": "tokens=x"}, "--prefix:"),
        ({"text": "jason"}, "--text: no text of the kind 'jason': did you mean json?"),
        ({"repeated_text": "1"}, "--repeated-text"),
        ({"timeout": "0"}, "must be more than 0"),
        ({"seed": "-1"}, "--seed:"),
        ({"ramp_up": "-1s"}, "--ramp-up:"),
        ({"requests": "1.5"}, "--requests: must be a whole number (given: '1.5')"),
        ({"requests": "0"}, "--requests: must be at least 1 (given: '0')"),
        ({"requests": "99999999999999999999"}, "--requests: 99,999,999,999,999,999,999 requests take weeks"),
        ({"warmup": "99999999999999999999"}, "--warmup: 99,999,999,999,999,999,999 requests are too many"),
        ({"warmup": "9999999h"}, "--warmup: '9999999h' is more than a year"),
        ({"seed": "99999999999999999999"}, "--seed: must be at most 9.22337e+18"),
        ({"concurrency": "100000000"}, "--concurrency: 100,000,000 need as many open sockets: give at most 1,000,000"),
        ({"rate": "1e9"}, "--rate: 1,000,000,000 requests a second are more than a machine sends"),
        ({"rate": "inf"}, "--rate inf: to send everything at once, write --mode throughput"),
        ({"rate": "nan"}, "--rate: must be more than 0"),
        ({"rate": "1e-9"}, "--rate: must be at least 1e-05"),
        ({"rate": "fast"}, "--rate: must be a number (given: 'fast')"),
        ({"input_tokens": "0"}, "--input-tokens: '0' is too small: give at least 1"),
        ({"mode": "sessions", "turns": "0"}, "--turns: '0' is too small: give at least 1"),
        ({"output_tokens": "0"}, "--output-tokens: '0' is too small"),
        ({"input_tokens": "100000000"}, "--input-tokens: '100000000' needs about 0.5 GB of text for every request"),
        ({"output_tokens": "uniform:1..1e9"}, "--output-tokens: 'uniform:1..1e9' needs about 2.5 GB"),
        ({"input_tokens": "lognormal:mean=1e17,cv=1"}, "needs about more than any disk"),
        ({"workers": "5000"}, "--workers: 5,000 processes are too many for one machine: give at most 1,024, or auto"),
        ({"workers": "00"}, "neither a number of processes (4) nor auto"),
        ({"duration": "1000000h"}, "--duration: '1000000h' is more than a year"),
        ({"duration": "-5s"}, "--duration: '-5s' is negative, and a time cannot be"),
        ({"max_errors": "500%"}, "--max-errors: '500%' is more than all requests: give at most 100%"),
        ({"slo": ["ttft:p99<500"]}, '--slo: "ttft:p99<500": ttft needs a unit: write 500ms, 500s or 500us'),
        ({"slo": ["tttft:p99<5ms"]}, "--slo: \"tttft:p99<5ms\": no metric is called 'tttft'; did you mean 'ttft'?"),
        ({"tools": "a\0b"}, "--tools contains a zero byte"),
        ({"dataset": "/"}, "--dataset: / is a directory: name a file in it"),
        ({"ca_file": "/", "url": "https://h"}, "--ca-file: / is a directory: name a file"),
        ({"ca_file": __file__, "url": "https://h"}, "has no certificate in PEM"),
        ({"extra_body": {"seed": 10**30}}, "--extra-body: cannot be sent as JSON: integer exceeds 64-bit range"),
        ({"extra_body": '{"api_key": "***"}'}, "--extra-body: it was stored without its secrets (***): give it again"),
        ({"extra_body": f'{{"seed": {2**64}}}'}, f"--extra-body: the number {2**64} has more than 64 bits"),
        *(
            ({"extra_body": '{"a":' * levels + "1" + "}" * levels}, "--extra-body: nested too deep to be sent")
            for levels in (240, 253, 300, 1100)  # can be read and written, only written, only read, and neither
        ),
        (
            {"extra_body": {"n": 2}, "mode": "sessions", "concurrency": 1},
            "--extra-body asks for 2 choices (n), but a session",
        ),
        ({"burstiness": "0", "rate": "1"}, "--burstiness: must be at least 0.001"),
        ({"stream": "maybe"}, "--stream: must be true or false"),
        ({"check_answers": "x"}, "--check-answers: 'x' is not a share of the requests: write 5% or 0.05"),
        ({"check_answers": "0%"}, "--check-answers: '0%' is not a share"),
        ({"check_answers": "101%"}, "--check-answers: '101%' is not a share"),
        ({"until": ["ttft:p90=10%", "ttft=x"]}, '--until: "ttft=x": not of the form METRIC:STATISTIC=SHARE%'),
        ({"mode": "warp"}, "--mode: 'warp' is not one of concurrency, rate, "),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(flags: dict[str, Any], sentence: str) -> None:
    found = problems(**flags)
    assert len(found) == 1
    assert sentence in found[0]
    assert found[0].startswith("--")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"rate": "5", "concurrency": "5"}, "to cap a rate, use --max-concurrency"),
        ({"mode": "rate"}, "--mode rate needs --rate"),
        ({"mode": "concurrency", "rate": "5"}, "--rate cannot be combined with --mode concurrency"),
        ({"mode": "throughput", "requests": "5", "concurrency": "5"}, "use --max-concurrency for its cap"),
        ({"mode": "throughput", "requests": "5", "rate": "5"}, "--rate cannot be combined with --mode throughput"),
        ({"concurrency": "5", "max_concurrency": "5"}, "--max-concurrency caps a --rate: for 5 users"),
        ({"burstiness": "2"}, "--burstiness is for --mode rate and sessions, and this"),
        ({"arrivals": "gamma"}, "--arrivals is for --mode rate and sessions"),
        ({"rate": "5", "arrivals": "constant", "burstiness": "2"}, "--arrivals constant has none"),
        ({"mode": "sessions", "rate": "5", "arrivals": "constant", "burstiness": "2"}, "--arrivals constant has none"),
        (
            {"mode": "sessions", "arrivals": "constant"},
            "--arrivals is about new sessions at a --rate, and none is given",
        ),
        ({"mode": "sessions", "rate": "5", "concurrency": "5"}, "--rate and --concurrency cannot be combined"),
        ({"mode": "sessions", "rate": "5", "max_concurrency": "5"}, "to limit the sessions, use --concurrency"),
        (
            {"mode": "sessions", "rate": "5", "ramp_up": "5"},
            "--ramp-up is for users, and sessions at a --rate have none",
        ),
        ({"mode": "sessions", "rate": "5", "sessions_begin": "middle"}, "--sessions-begin middle needs a number of"),
        ({"rate": "5", "sessions_begin": "middle"}, "--sessions-begin is for --mode sessions, and this is mode rate"),
        ({"rate": "5", "drop_late": True}, "--drop-late needs --max-concurrency"),
        ({"rate": "5", "ramp_up": "5s"}, "users, and mode rate has none: a rate that rises is --ramp 1..50:10m"),
        ({"mode": "throughput", "duration": "5s"}, "say how much with --requests"),
        ({"url": f"{URL}/v1/completions", "endpoint": "chat"}, "the URL names the endpoint completions"),
        ({"insecure": True}, "--ca-file and --insecure are for https:// URLs"),
        (
            {"stream": False, "slo": ["ttft:p99<5ms"]},
            '--slo "ttft:p99<5ms": with --no-stream there is no ttft, only e2el',
        ),
        ({"output_tokens": "1", "slo": ["tpot<5ms"]}, '--slo "tpot<5ms": replies of one token have no tpot'),
        ({"slo": ["accuracy>90%"]}, '--slo "accuracy>90%": answers are checked with --check-answers 5%: add it'),
        ({"slo": ["accuracy{model=m}>90%"], "check_answers": "5%"}, "probes are of no class and no model"),
        ({"slo": ["ttft{model=m}<1s"]}, "no request goes to the model 'm': name the models of the run with --model"),
        ({"slo": ["ttft{model=m}<1s"], "model": "a=1,b=2"}, "no request goes to the model 'm': --model names a, b"),
        ({"until": ["ttft:p90=10%"], "mode": "throughput", "requests": "5"}, "and this is mode throughput"),
        ({"metrics_linger": "15s"}, "--metrics-linger is for the page of metrics: add --metrics-port"),
        ({"gpu_hour_cost": "2"}, "--gpu-hour-cost needs --gpus, the number of GPUs that the server uses"),
        ({"session_header": "X-S"}, "--session-header names sessions, and simulated requests of mode concurrency have"),
        ({"header": ["X-Tag: a", "x-tag: b"]}, "--header: x-tag is given twice: write its values as one, with a comma"),
        (
            {"endpoint": "http", "dataset": __file__, "rows": "targets", "body_template": "{{ a }}"},
            "--rows targets and --body-template cannot be combined",
        ),
        ({"workers_per_node": "2"}, "--workers-per-node is for a cluster: add --cluster, or use --workers"),
        ({"workers_per_node": "2", "workers": "2", "cluster": "ray"}, "--workers and --workers-per-node cannot be"),
        ({"runtime_env": "env.yaml"}, "--runtime-env needs a cluster: add --cluster"),
        ({"watch_scale": True, "wait_for_server": "5s"}, "leave --wait-for-server out"),
        (
            {"resolve_all": True, "proxy": "http://p:1"},
            "--resolve-all cannot be combined with --proxy: the proxy resolves",
        ),
        (
            {"until": ["ttft:p90=10%"], "mode": "rate", "steps": "5,10:10s"},
            "needs a constant load, and --steps changes it",
        ),
        ({"play_after": "1s"}, "--play-after is for --endpoint speech and realtime, and the endpoint is chat"),
        ({"endpoint": "embeddings", "output_tokens": "5"}, "--output-tokens is about generated text, and"),
        (
            {"endpoint": "embeddings", "output_tokens": "5", "ignore_eos": True},
            "--output-tokens and --ignore-eos are about generated text, and the endpoint embeddings generates none",
        ),
        (
            {"endpoint": "embeddings", "extra_body": {"max_tokens": 3, "user": "u"}},
            "--extra-body: max_tokens is about generated text, and the endpoint embeddings generates none",
        ),
        (
            {"endpoint": "embeddings", "batch_inputs": "3", "dataset": __file__},
            "--batch-inputs is for simulated inputs",
        ),
        ({"rate": "1000", "duration": "1000001s"}, "is 1,000,001,000 requests: give at most 1,000,000,000"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_do(flags: dict[str, Any], sentence: str) -> None:
    found = problems(**flags)
    assert len(found) == 1, found
    assert sentence in found[0]


def test_objectives_that_whole_responses_can_meet_are_accepted() -> None:
    slo = ("e2el:p99<5s", "error_rate<1%", "requests_per_s>1")
    assert resolved(stream=False, slo=list(slo)).slo == slo


def test_a_data_set_and_the_shape_of_simulated_prompts_exclude_each_other(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    found = problems(dataset=str(rows), input_tokens="10", prefix="tokens=5", text="code", repeated_text="0.5")
    assert len(found) == 4
    assert all("--dataset has its own" in p for p in found)


def test_insecure_and_a_ca_file_exclude_each_other() -> None:
    found = problems(url="https://h", insecure=True, ca_file=str(CERTIFICATE))
    assert "use only one of them" in found[0]


def test_combinations_are_found_beside_wrong_values() -> None:
    found = problems(seed="x", rate="5", concurrency="5")
    assert len(found) == 2


def test_each_objective_is_looked_at_wherever_it_stands() -> None:
    wrong = ["job:p90<1s", "accuracy>90%", "ttft{model=m}<1s", "tpot<5ms"]
    for first in range(len(wrong)):
        slo = [*wrong[first:], *wrong[:first]]
        found = problems(slo=slo, output_tokens="1")
        assert [one.split(":")[0] for one in found] == [f'--slo "{text}"'.split(":")[0] for text in slo]


def test_values_of_classes_are_found_beside_wrong_values() -> None:
    classes = {"classes": [{"name": "a", "share": 1, "input_tokens": "0"}]}
    of_seed, of_class = problems(seed="x", mix=classes)
    assert of_seed.startswith("--seed: ")
    assert of_class == "--mix: class a: input_tokens: '0' is too small: give at least 1"


@pytest.mark.parametrize(
    "flags",
    [
        {"url": f"ftp://user:{SECRET}@host"},
        {"url": f"user:{SECRET}@host:80"},
        {"url": f"http://user:{SECRET}@host:99999"},
        {"url": f"http://user:{SECRET}@"},
        {"url": [[f"http://{SECRET}@h"]]},
        {"url": [f"http://{SECRET}@h:x", {"url": f"http://a:{SECRET}@h=0"}]},
        {"url": [f"http://{SECRET}@h", f"http://{SECRET}@h"]},
        {"api_key": [SECRET]},
        {"header": {"X-Key": SECRET}},
        {"header": [{"X-Key": SECRET}]},
        {"header": [SECRET]},
        {"url": f"ftp://user:{SECRET}@host/v1?key={SECRET}"},
        {"url": f"host/v1?key=a@{SECRET}"},
        {"url": f"ftp://[bad/v1?key={SECRET}"},
        {"extra_body": [{"api_key": SECRET}]},
    ],
)
def test_no_error_quotes_a_secret(flags: dict[str, Any]) -> None:
    assert SECRET not in "\n".join(problems(**flags))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"websocket": True}, "--websocket needs --endpoint responses: chat has no WebSocket"),
        (
            {"websocket": True, "endpoint": "responses", "stream": False},
            "--websocket and --no-stream cannot be combined",
        ),
        ({"websocket": True, "endpoint": "responses", "transport": "httpx"}, "--websocket needs --transport wire"),
        ({"mode": "sessions", "history": "stored"}, "--history stored needs --endpoint responses: chat keeps no"),
        (
            {"mode": "sessions", "history": "stored", "endpoint": "responses", "reasoning_in_history": "echo"},
            "--reasoning-in-history: with --history stored the server keeps its own reasoning",
        ),
        (
            {"mode": "sessions", "history": "planned", "reasoning_in_history": "echo"},
            "--reasoning-in-history echo needs --history real: planned answers have no reasoning",
        ),
        ({"mode": "sessions", "rate": 8.0, "concurrency": 3}, "cannot be combined: use only one of them"),
        ({"session_header": "X-Session: a"}, "give only the name of a header, for example X-Session-ID"),
        (
            {"session_header": "Content-Length"},
            "the header Content-Length is set for each request: name another header",
        ),
    ],
)
def test_ways_of_sending_a_history_that_cannot_be_are_refused(fields: dict[str, Any], problem: str) -> None:
    told = problems(url="http://127.0.0.1:1", **fields)
    assert [problem in one for one in told].count(True) == 1, told


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"endpoint": "completions"}, "--tools need a chat"),
        ({"url": "http://h/v1/completions"}, "--tools need a chat"),
        ({"dataset": __file__}, "the rows of --dataset bring their own"),
        ({"tools": __file__}, "is not JSON"),
        ({"tools": "nowhere.json"}, "cannot be read"),
        ({"tool_choice": "clock"}, "--tool-choice: clock is not one of auto, required, none, "),
        ({"endpoint": "completions"}, "use one of chat, messages, responses"),
    ],
)
def test_tools_that_no_chat_can_offer_are_refused(fields: dict[str, str], problem: str) -> None:
    tools = str(Path(__file__).with_name("two_tools.json"))
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://127.0.0.1:1", "requests": "5", "tools": tools, **fields})
    assert [problem in told for told in refused.value.problems].count(True) == 1
