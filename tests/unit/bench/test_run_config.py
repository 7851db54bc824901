"""What follows from a complete configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.clock import NS_PER_S
from bench.config import RunConfig, resolve
from bench.config.settings import Settings
from tests.support.configurations import problems, resolved

S = NS_PER_S
STEPS = {"steps": "5,20:10s"}


@pytest.mark.parametrize(
    ("flags", "per_s", "users"),
    [
        ({"rate": "5"}, 5, None),
        ({"concurrency": "4"}, None, 4),
        ({"mode": "rate", **STEPS}, 20, None),
        ({"mode": "concurrency", **STEPS}, None, 20),
        ({"mode": "concurrency", "ramp": "30..2:10s"}, None, 30),
        ({"mode": "sessions", "rate": "3"}, None, None),
        ({"mode": "sessions", "concurrency": "4"}, None, 4),
        ({"mode": "throughput", "requests": "4"}, None, None),
    ],
)
def test_the_greatest_load_is_a_rate_or_a_number_of_users(
    flags: dict[str, Any], per_s: float | None, users: int | None
) -> None:
    config = resolved(**flags)
    assert (config.most_per_s, config.most_users) == (per_s, users)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"rate": "4"}, None),
        ({"concurrency": "4"}, None),
        ({"mode": "sessions", "concurrency": "4"}, None),
        ({"mode": "throughput", "requests": "4"}, "mode throughput has no load that can be set while it runs"),
        ({"mode": "rate", **STEPS}, "--steps already plans how this load changes"),
        ({"mode": "rate", "ramp": "1..9:10s"}, "--ramp already plans how this load changes"),
        ({"concurrency": "4", "ramp_up": "5s"}, "--ramp-up 5s already plans when users start"),
        ({"mode": "sessions", "concurrency": "4", "sessions_begin": "middle"}, "--sessions-begin middle plans how"),
        ({"rate": "4", "until": "ttft:p50=5%", "duration": "100s"}, "--until needs a constant load"),
    ],
)
def test_a_load_that_something_else_plans_cannot_be_changed(flags: dict[str, Any], why: str | None) -> None:
    found = resolved(**flags).fixed_load
    assert (found is None) if why is None else str(found).startswith(why)


@pytest.mark.parametrize(
    ("tokenizer", "counts"),
    [(None, False), ("server", True), ("http://h", True), ("https://h", True), ("https-like/model", False)],
)
def test_a_server_counts_the_tokens_of_prompts_only_where_it_is_asked_to(tokenizer: str | None, counts: bool) -> None:
    config = resolved().model_copy(update={"tokenizer": tokenizer})
    assert config.server_counts is counts


@pytest.mark.parametrize(
    ("given", "address"),
    [(None, None), ("9100", ("127.0.0.1", 9100)), ("0.0.0.0:9100", ("0.0.0.0", 9100))],
)
def test_the_page_of_metrics_is_at_this_machine_unless_a_host_is_given(
    given: str | None, address: tuple[str, int] | None
) -> None:
    assert resolved(metrics_port=given).metrics_address == address


@pytest.mark.parametrize(
    ("flags", "warmup_ns", "ends_ns"),
    [
        ({"mode": "rate", **STEPS, "warmup": "3s"}, 3 * S, 23 * S),
        ({"concurrency": "4", "warmup": "3s", "duration": "9s"}, 3 * S, None),
        ({"concurrency": "4"}, 60 * S, None),  # A detected warm-up ends after a minute at the latest.
        ({"concurrency": "4", "ramp_up": "90s"}, 90 * S, None),  # Or once all users are there.
    ],
)
def test_a_load_has_its_warm_up_and_its_end(flags: dict[str, Any], warmup_ns: int, ends_ns: int | None) -> None:
    length = resolved(**flags).length
    assert (length.warmup_ns, length.ends_ns) == (warmup_ns, ends_ns)


@pytest.mark.parametrize(
    ("flags", "lasts_s"),
    [
        ({"mode": "rate", **STEPS}, 20.0),
        ({"mode": "rate", "ramp": "1..9:7.5s"}, 7.5),
        ({"duration": "9s"}, 9.0),
        ({"requests": "5"}, None),
    ],
)
def test_a_load_lasts_as_long_as_its_segments_or_its_duration(flags: dict[str, Any], lasts_s: float | None) -> None:
    assert resolved(**flags).lasts_s == lasts_s


def test_only_an_api_of_a_file_is_kept_in_the_configuration(tmp_path: Path) -> None:
    api = tmp_path / "api.yaml"
    api.write_text('{path: /, body: {q: "{{ prompt }}"}, reply: chunks}')
    config = resolved(endpoint=str(api))
    assert config.api is not None
    assert config.api["body"] == {"q": "{{ prompt }}"}
    assert [resolved(endpoint=name).api for name in (None, "chat", "gemini")] == [None, None, None]
    # A stored run has its API, whatever became of the file.
    api.unlink()
    again = Settings.model_validate({"url": "http://h", "api": config.api, "endpoint": str(api)})
    assert (again.api, again.endpoint) == (config.api, str(api))
    assert RunConfig.stored(config.public()).api == config.api


@pytest.mark.parametrize(
    ("flags", "output", "inputs"),
    [
        ({}, "128", None),
        ({"output_tokens": "5"}, "5", None),
        ({"dataset": "chatbot"}, None, None),
        ({"endpoint": "images"}, None, None),
        ({"endpoint": "speech"}, None, None),
        ({"endpoint": "http"}, None, None),
        ({"endpoint": "transcriptions", "audio": "length=1s"}, None, None),
        ({"endpoint": "rerank"}, None, "10"),
        ({"endpoint": "embeddings"}, None, "1"),
        ({"endpoint": "embeddings", "batch_inputs": "4"}, None, "4"),
        ({"endpoint": "embeddings", "dataset": "chatbot"}, None, "1"),
    ],
)
def test_only_replies_of_text_have_a_length_and_only_batches_a_size(
    flags: dict[str, Any], output: str | None, inputs: str | None
) -> None:
    config = resolved(**flags)
    assert (config.output_tokens, config.batch_inputs) == (output, inputs)


@pytest.mark.parametrize(
    ("flags", "tokens"),
    [
        ({"endpoint": "images"}, "64"),
        ({"endpoint": "images", "input_tokens": "9"}, "9"),
        ({"endpoint": "speech"}, "1024"),
    ],
)
def test_prompts_of_images_are_short_unless_their_length_is_given(flags: dict[str, Any], tokens: str) -> None:
    assert resolved(**flags).input_tokens == tokens


def test_a_template_that_cannot_be_filled_is_refused_at_once() -> None:
    assert problems(endpoint="http", body_template="{{ int 9 1 }}") == [
        "--body-template: {{ int 9 1 }} is not understood: write {{ int LOW HIGH }}"
    ]


def test_a_load_is_of_a_kind_that_certificates_cover() -> None:
    config = resolved(rate="5")
    kind = config.kind_for(3)
    assert (kind.loop, kind.transport, kind.stream, kind.tls, kind.workers, kind.endpoint) == (
        "open loop", config.transport, "streamed", False, 3, "chat",
    )  # fmt: skip
    other = resolved(url="https://h", concurrency="5", stream=False, endpoint="completions").kind_for(1)
    assert (other.loop, other.stream, other.tls, other.endpoint) == ("closed loop", "whole", True, "completions")


def test_settings_that_were_asked_for_make_the_same_configuration_again() -> None:
    config = resolved(url=["http://a=3", "http://b"], concurrency="4", seed="5")
    asked = config.asked_for()
    assert asked["url"] == ["http://a=3", "http://b"]
    assert "targets" not in asked
    assert (asked["concurrency"], asked["seed"]) == (4, 5)
    assert resolve(asked).addresses == config.addresses
    changed = config.with_values(seed=6, concurrency=7)
    assert (changed.seed, changed.most_users, changed.addresses) == (6, 7, config.addresses)


def test_a_recipe_is_no_file_with_columns_and_takes_batches_and_tools(tmp_path: Path) -> None:
    assert problems(dataset="chatbot", columns="prompt=a", bad_rows="skip") == [
        "--columns needs a file in --dataset", "--bad-rows needs a file in --dataset",
    ]  # fmt: skip
    assert resolved(endpoint="embeddings", dataset="summarization", batch_inputs="4").batch_inputs == "4"
    tools = tmp_path / "tools.json"
    tools.write_text('[{"type": "function", "function": {"name": "look"}}]')
    assert resolved(dataset="chatbot", tools=str(tools)).tools == str(tools)


def test_what_is_not_given_has_the_defaults_of_the_documentation() -> None:
    fields = {
        name: field for name, field in Settings.model_fields.items() if not field.is_required() and name != "limits"
    }
    assert {name: field.default for name, field in fields.items() if field.default not in (None, (), False, "")} == {
        "affinity": "session", "stream": True, "burstiness": 1.0, "trace_speed": 1.0, "warmup": "0",
        "sessions_begin": "first", "input_tokens": "1024", "bad_rows": "fail", "text": "words", "history": "real",
        "reasoning_in_history": "drop", "rows": "auto", "timeout": 600.0, "connect_timeout": 10.0, "probe_timeout": 30.0,
        "gpu_metrics": "auto", "transport": "wire", "workers": "auto", "cpu_priority": "auto", "metrics_linger": 15.0,
        "name": "run", "format": "text",
    }  # fmt: skip
    assert {name for name in ("seed", "ramp_up", "repeated_text") if fields[name].default == 0} == {
        "seed", "ramp_up", "repeated_text",
    }  # fmt: skip


def test_replies_are_streamed_and_every_other_switch_is_off_unless_it_is_asked_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if field.default is True] == ["stream"]
