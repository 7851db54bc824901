"""Combinations of settings: which are refused, with the whole sentence, and which similar ones are accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.configurations import problems, resolved

SESSIONS = {"mode": "sessions", "concurrency": "1"}
HTTP_HAS = "ttfb, e2el, e2el_from_intended, error_rate, goodput, requests_per_s"
NO_TEXT = "is about generated text, and the endpoint embeddings generates none"
CLIPS = "and --endpoint transcriptions sends audio clips"


def with_files(flags: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The flags with ROWS, TOOLS and API as files."""
    contents = {
        "ROWS": ("rows.jsonl", '{"prompt": "a"}\n'),
        "TOOLS": ("tools.json", '[{"type": "function", "function": {"name": "look"}}]'),
        "API": ("api.yaml", '{path: /, body: {q: "{{ prompt }}"}, reply: chunks}'),
    }
    for name, content in contents.values():
        (folder / name).write_text(content)
    places = {word: str(folder / name) for word, (name, _) in contents.items()}
    return {key: places.get(str(value), value) for key, value in flags.items()}


def mixed(*classes: dict[str, Any]) -> dict[str, Any]:
    return {"classes": [{"name": name, **settings} for name, settings in zip("abc", classes, strict=False)]}


@pytest.mark.parametrize(
    ("flags", "sentences"),
    [
        ({"tool_choice": "auto"}, ["--tool-choice needs tools: give a list of them with --tools"]),
        ({"tool_choice": "auto", "dataset": "chatbot"}, ["--tool-choice needs tools: give a list of them with --tools"]),
        ({"columns": "prompt=a", "dataset": "chatbot"}, ["--columns needs a file in --dataset"]),
        ({"input_tokens": "5", "dataset": "chatbot"},
         ["--input-tokens shapes simulated prompts, and --dataset has its own: leave --input-tokens out"]),
        ({"endpoint": "transcriptions", "video": "n=1", "audio": "length=1s"},
         ["--video needs --endpoint chat, and the endpoint is transcriptions"]),
        ({"endpoint": "transcriptions", "images": "n=1", "audio": "length=1s"},
         ["--images need a chat, but the endpoint is transcriptions"]),
        ({"endpoint": "responses", "audio": "length=1s"},
         ["--audio needs --endpoint chat, transcriptions or realtime, and the endpoint is responses"]),
        ({"endpoint": "gemini", "audio": "length=1s", "video": "n=1"},
         ["--audio needs --endpoint chat, transcriptions or realtime, and the endpoint is gemini",
          "--video needs --endpoint chat, and the endpoint is gemini"]),
        ({"endpoint": "responses", "websocket": True, "transport": "httpx"},
         ["--websocket needs --transport wire: httpx has no WebSocket"]),
        ({"probes": "tool"},
         ["--probes says which answers are checked: add --check-answers 5%, their share of the requests"]),
        ({"dataset": "chatbot", **SESSIONS},
         ["--dataset: the recipe chatbot makes single requests, and no sessions: there is coding-agent"]),
        ({"rate": "5", "mode": "sessions", "concurrency": "5"},
         ["--rate and --concurrency cannot be combined: use only one of them"]),
        ({"rate": "5", "concurrency": "5"},
         ["--rate and --concurrency cannot be combined: to cap a rate, use --max-concurrency"]),
        ({"rate": "5", "mode": "trace", "dataset": "ROWS"},
         ["--rate cannot be combined with --mode trace: use only one of them"]),
        ({"workers_per_node": "2", "workers": "2"},
         ["--workers-per-node is for a cluster: add --cluster, or use --workers",
          "--workers and --workers-per-node cannot be combined: use only one of them"]),
        ({"trace_share": "5%"}, ["--trace-share needs a collector for its spans: add --otlp URL"]),
        ({"balance": "weighted", "resolve_all": True}, ["--balance weighted needs weights: write --url URL=3"]),
        ({"affinity": "none", "resolve_all": True, "history": "stored", "endpoint": "responses", **SESSIONS},
         ["--affinity none cannot be combined with --history stored: the address keeps the conversation"]),
        ({"mode": "rate", "steps": "1,2:5s", "ramp": "1..2:5s"},
         ["--steps and --ramp cannot be combined: use only one of them"]),
        ({"mode": "concurrency", "steps": "1,2:5s", "ramp_up": "5s"},
         ["--ramp-up starts users one by one, but with --steps they start at the steps: leave --ramp-up out"]),
        ({"mode": "sessions", "steps": "1,2:5s"},
         ["--steps is for --mode concurrency and rate, and this is mode sessions"]),
        ({"mode": "rate", "steps": "1000000:1001s"}, ["--steps plans 1,001,000,000 requests: give at most 1,000,000,000"]),
        ({"mode": "rate", "steps": "1,2:5s", "warmup": "auto"},
         ["--steps needs a --warmup in time, such as 20s: the first segment begins when it is over"]),
        ({"until": ["ttft:p90=10%"], "mode": "trace", "dataset": "ROWS"},
         ["--until needs a constant load (--mode concurrency, rate, sessions), and this is mode trace"]),
        ({"until": ["ttft:p90=10%", "tpot:p90=10%"], "stream": False},
         [f'--until "{metric}:p90=10%": with --no-stream there is no {metric}, only e2el: leave --no-stream out, or use e2el'
          for metric in ("ttft", "tpot")]),
        ({"rat": "4"}, ["--rat is not known: did you mean --rate?"]),
        ({"xyzzy": "4"},
         ["--xyzzy is not known: keys are the names of flags, which python -m bench run --help-all lists"]),
        ({"request_rate": "5"},
         ["--request-rate is not known: write --rate 5. Arrivals are Poisson; --arrivals constant sends at equal "
          "intervals."]),
        ({"name": "a\0b"}, ["--name contains a zero byte"]),
        ({"header": ["a: b\0c"]}, ["--header contains a zero byte"]),
        ({"url": "http://h", "client_cert": "ROWS", "client_key": "ROWS"}, ["--client-cert is for https:// URLs"]),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(
    flags: dict[str, Any], sentences: list[str], tmp_path: Path
) -> None:
    assert problems(**with_files(flags, tmp_path)) == sentences


@pytest.mark.parametrize(
    "flags",
    [
        {"tool_choice": "auto", "dataset": "ROWS"},
        {"tool_choice": "look", "tools": "TOOLS"},
        {"endpoint": "API", "model": "a"},
        {"endpoint": "API", "ignore_eos": False},
        {"dataset": "chatbot", "images": "n=1"},
        {"dataset": "ROWS", "columns": "prompt=prompt", "bad_rows": "skip"},
        {"probes": "tool", "check_answers": "5%", **SESSIONS},
        {"extra_body": {"n": True}, **SESSIONS},
        {"tokenizer": "server", "prompt_ids": True, "endpoint": "completions"},
        {"url": "http://h/v1/completions", "endpoint": "completions"},
        {"url": "http://h/v1/completions", "endpoint": "API"},
        {"cluster": "ray", "workers_per_node": "2"},
        {"cluster": "ray", "workers_per_node": "2", "workers": "auto"},
        {"cluster": "ray", "runtime_env": "ROWS"},
        {"session_header": "X-S", "dataset": "ROWS"},
        {"session_header": "X-S", **SESSIONS},
        # The number of requests ends the load long before its time.
        {"rate": "1000", "duration": "1000001s", "requests": "5"},
        {"url": "https://h", "insecure": True},
        {"url": ["https://a", "http://b"], "insecure": True},
        {"watch_scale": True},
        {"metrics_linger": "5s", "metrics_port": "1"},
        {"gpu_hour_cost": "2", "gpus": "1"},
        {"trace_share": "5%", "otlp": "env"},
        {"affinity": "session", "resolve_all": True, "history": "stored", "endpoint": "responses", **SESSIONS},
        {"mode": "concurrency", "ramp": "1..2:5s", "ramp_up": "5s"},
        {"mode": "rate", "steps": "1000000:1000s"},
        {"mode": "concurrency", "steps": "1000000:1001s"},
        {"warmup": "auto", "dataset": "ROWS", "until": ["ttft:p90=10%"]},
        {"warmup": "auto", "dataset": "chatbot"},
        {"until": ["ttft:p90=10%"], **SESSIONS},
        {"stream": "yes"},
        {"insecure": "1", "url": "https://h"},
        {"slo": ["jobs_per_hour_per_gpu>5"], "gpus": "2", **SESSIONS},
        {"slo": ["ttft{model=x}<1s"], "dataset": "ROWS"},
        {"slo": ["error_rate<1%", "requests_per_s>1"], "stream": False},
        {"slo": ["ttft<5ms"], "output_tokens": "1"},
        {"mix": mixed({"rate": 1, "arrivals": "gamma", "burstiness": 2})},
        {"endpoint": "http", "body_template": "{{ a }}", "dataset": "ROWS"},
        {"endpoint": "http", "method": "HEAD", "expect": ["status=200"]},
        {"endpoint": "http", "method": "GET", "expect": ["text:ok"]},
        {"endpoint": "http", "rows": "auto"},
        {"endpoint": "http", "rows": "columns", "dataset": "ROWS", "body_template": "{{ prompt }}"},
        {"endpoint": "rerank", "batch_inputs": "4", "dataset": "chatbot"},
        {"endpoint": "speech", "play_after": "1s", "slo": ["ttfa<1s", "rtf<1"], "until": ["ttfa:p50=5%"]},
    ],
)
def test_settings_that_go_together_are_taken(flags: dict[str, Any], tmp_path: Path) -> None:
    assert resolved(**with_files(flags, tmp_path)).url


@pytest.mark.parametrize(
    ("flags", "sentences"),
    [
        ({"endpoint": "http", "body": "a", "body_template": "b"},
         ["--body and --body-template cannot be combined: use only one of them"]),
        ({"endpoint": "http", "body": "a", "dataset": "ROWS"},
         ["--body and --dataset cannot be combined: rows are bodies; --body-template puts columns into one"]),
        ({"endpoint": "http", "dataset": "chatbot"},
         ["--dataset chatbot: a recipe makes prompts, and --endpoint http sends requests of a file"]),
        ({"endpoint": "http", "method": "HEAD", "expect": ["status=200,text:ok"]},
         ["--expect looks into a body, and a response to HEAD has none: expect a status alone"]),
        ({"endpoint": "http", "rows": "bodies"}, ["--rows says what --dataset holds: name the file with --dataset"]),
        ({"endpoint": "http", "rows": "columns", "dataset": "ROWS"},
         ["--rows columns needs --body-template, which puts the columns into a body"]),
        ({"endpoint": "http", "rows": "targets", "dataset": "ROWS", "body_template": "{{ prompt }}"},
         ["--rows targets and --body-template cannot be combined: a template takes the columns of --dataset"]),
        ({"endpoint": "http", "stream": False, "model": "a"},
         [f"--{name} is about prompts or models, and --endpoint http has neither: leave it out"
          for name in ("model", "stream")]),
        ({"endpoint": "http", "slo": ["ttft<1s", "ttfb<1s"], "until": ["tpot:p50=5%", "e2el:p50=5%"]},
         [f'--slo "ttft<1s": the endpoint http generates no text, so there is no ttft: use {HTTP_HAS}',
          '--until "tpot:p50=5%": the endpoint http generates no text, so there is no tpot: use e2el:STATISTIC']),
        ({"method": "GET", "body": "a", "expect": ["status=200"]},
         [f"--{name} is for --endpoint http, and the endpoint is chat" for name in ("method", "body", "expect")]),
        ({"endpoint": "transcriptions", "dataset": "ROWS", "audio": "length=1s"},
         ["--audio and --dataset cannot be combined: the rows of a data set name their clips"]),
        ({"endpoint": "transcriptions", "dataset": "chatbot"}, [f"--dataset chatbot: a recipe makes prompts, {CLIPS}"]),
        ({"endpoint": "transcriptions", "audio": "length=1s", "output_tokens": "5", "input_tokens": "4"},
         [f"--{name}-tokens is about prompts, {CLIPS}: leave it out" for name in ("output", "input")]),
        ({"endpoint": "chat", "slo": ["ttfa<1s"], "until": ["ttfa:p50=5%"]},
         ['--slo "ttfa<1s": the endpoint chat has no ttfa', '--until "ttfa:p50=5%": the endpoint chat has no ttfa']),
        ({"endpoint": "embeddings", "store_texts": True}, [f"--store-texts {NO_TEXT}: leave it out"]),
        ({"endpoint": "embeddings", "tools": "TOOLS"}, [f"--tools {NO_TEXT}: leave it out"]),
        ({"endpoint": "embeddings", "tools": "TOOLS", "output_tokens": "5", "ignore_eos": True},
         ["--output-tokens, --ignore-eos and --tools are about generated text, and the endpoint embeddings generates none: "
          "leave them out"]),
        ({"endpoint": "embeddings", "extra_body": {"stream": True}}, [f"--extra-body: stream {NO_TEXT}"]),
        ({"endpoint": "rerank", "batch_inputs": "4", "dataset": "ROWS"},
         ["--batch-inputs is for simulated inputs, and the rows of --dataset say how many they have"]),
        ({"endpoint": "images", "batch_inputs": "4"},
         ["--batch-inputs is for embeddings, rerank and tei-rerank, and the endpoint is images: --extra-body has its own "
          "fields"]),
    ],
)  # fmt: skip
def test_each_endpoint_refuses_what_its_requests_do_not_have(
    flags: dict[str, Any], sentences: list[str], tmp_path: Path
) -> None:
    assert problems(**with_files(flags, tmp_path)) == sentences


@pytest.mark.parametrize(
    ("flags", "sentences"),
    [
        ({"slo": ["job:p90<1s"]},
         ['--slo "job:p90<1s": jobs are what sessions consist of, and this is mode concurrency: use --mode sessions, or a '
          "latency of requests"]),
        ({"slo": ["job:p90{model=m}<1s", "jobs_per_hour_per_gpu>5"], **SESSIONS},
         ['--slo "job:p90{model=m}<1s": a job may go to several models: leave {...} out',
          '--slo "jobs_per_hour_per_gpu>5": say how many GPUs the server has, with --gpus']),
        ({"slo": ["accuracy>90%"]}, ['--slo "accuracy>90%": answers are checked with --check-answers 5%: add it']),
        ({"slo": ["accuracy{model=m}>90%"], "check_answers": "5%"},
         ['--slo "accuracy{model=m}>90%": probes are of no class and no model: leave {...} out']),
        ({"slo": ["ttft{class=a}<1s"]},
         ["--slo \"ttft{class=a}<1s\": no request is of the class 'a': name the classes of the run with --mix"]),
        ({"slo": ["ttft{class=a}<1s", "ttft{class=z}<1s"], "mix": mixed({"share": 1}, {"share": 1})},
         ["--slo \"ttft{class=z}<1s\": no request is of the class 'z': --mix has a, b"]),
        ({"slo": ["ttft{model=m}<1s"]},
         ["--slo \"ttft{model=m}<1s\": no request goes to the model 'm': name the models of the run with --model a=3,b=1"]),
        ({"slo": ["ttft{model=m}<1s", "ttft{model=b}<1s"], "model": "a=1,b=2"},
         ["--slo \"ttft{model=m}<1s\": no request goes to the model 'm': --model names a, b"]),
        ({"slo": ["itl<5ms"], "output_tokens": "1"},
         ['--slo "itl<5ms": replies of one token have no itl: ask for more --output-tokens']),
        ({"slo": ["ttft<5ms"], "stream": False},
         ['--slo "ttft<5ms": with --no-stream there is no ttft, only e2el: leave --no-stream out, or use e2el']),
        ({"mix": mixed({"share": 1, "endpoint": "embeddings"}, {"share": 1})},
         ["--mix: class a: endpoint: one run cannot mix endpoints with and without generated text, or with different inputs, "
          "and that of the run is chat"]),
        ({"mix": mixed({"share": 1, "arrivals": "gamma", "burstiness": 2})},
         [f"--mix: class a: {key} needs a class with a rate, and this one has a share"
          for key in ("arrivals", "burstiness")]),
        ({"mix": mixed({"rate": 1}), "mode": "concurrency"},
         ["--mix: rates of classes are for --mode rate, and this is mode concurrency: give the classes shares"]),
        ({"mix": mixed({"rate": 1}), "mode": "rate", "steps": "1,2:5s"},
         ["--mix: --steps sets the rate: give the classes shares"]),
        ({"mix": mixed({"share": 1}), **SESSIONS},
         ["--mix: classes are for --mode concurrency, rate, throughput, and this is mode sessions"]),
        ({"mix": mixed({"share": 1, "model": "m", "slo": ["ttft{model=m}<1s"]})},
         ['--mix: class a: slo "ttft{model=m}<1s": an objective of a class covers the whole class']),
        # The flags in sentences become the keys of a class.
        ({"mix": mixed({"share": 1, "columns": "prompt=a", "slo": ["tpot<1s"], "output_tokens": "1"})},
         ["--mix: class a: columns needs a file in dataset",
          '--mix: class a: slo "tpot<1s": replies of one token have no tpot: ask for more output_tokens']),
        ({"seed": "x", "mix": mixed({"share": 1, "input_tokens": "0"})},
         ["--seed: must be a whole number (given: 'x')",
          "--mix: class a: input_tokens: '0' is too small: give at least 1"]),
    ],
)  # fmt: skip
def test_objectives_and_classes_are_refused_with_what_to_do(flags: dict[str, Any], sentences: list[str]) -> None:
    assert problems(**flags) == sentences


def test_a_class_has_an_endpoint_of_trueload_itself() -> None:
    (sentence,) = problems(mix=mixed({"share": 1, "endpoint": "gemini"}))
    assert sentence.startswith("--mix: class a: endpoint: a class has one of chat, completions, ")
    assert sentence.endswith("; a file or a package is for the whole run")


@pytest.mark.parametrize(
    ("settings", "arrivals", "burstiness"),
    [
        ({}, "constant", 1.0),
        ({"burstiness": 2}, "gamma", 2.0),
        ({"arrivals": "poisson"}, "poisson", 1.0),
        ({"arrivals": "gamma", "burstiness": 0.5}, "gamma", 0.5),
    ],
)
def test_a_class_arrives_as_the_run_does_unless_it_has_its_own_way(
    settings: dict[str, Any], arrivals: str, burstiness: float
) -> None:
    first, second = resolved(arrivals="constant", mix=mixed({"rate": 3, **settings}, {"rate": 2})).classes
    assert (first.config.arrivals, first.config.burstiness, first.config.rate) == (arrivals, burstiness, 3)
    assert (second.config.arrivals, second.config.burstiness, second.config.rate) == ("constant", 1.0, 2)
    assert first.config.seed != second.config.seed
