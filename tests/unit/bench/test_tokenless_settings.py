"""Settings of endpoints without generated text: meaningless ones are refused, all at once."""

from __future__ import annotations

from typing import Any

import pytest

from bench.config import resolve
from bench.config.run_config import RunConfig
from bench.endpoints import ENDPOINTS
from bench.errors import UsageError
from bench.modes.interface import prompts_or_rows
from bench.sources.inputs import InputSpec

URL = {"url": "http://127.0.0.1:1"}


def refusals(**given: Any) -> list[str]:
    with pytest.raises(UsageError) as refused:
        resolve({**URL, **given})
    return list(refused.value.problems)


def test_what_is_about_generated_text_is_refused_in_one_sentence_each() -> None:
    assert refusals(
        endpoint="embeddings",
        output_tokens="5",
        ignore_eos=True,
        extra_body={"stream": True, "max_tokens": 4, "user": "u"},
        slo=("ttft:p99<1s", "e2el:p99<1s", "output_tokens_per_s>5"),
        until=("tpot:p90=10%",),
    ) == [
        "--output-tokens and --ignore-eos are about generated text, and the endpoint embeddings generates none: "
        "leave them out",
        "--extra-body: stream, max_tokens are about generated text, and the endpoint embeddings generates none",
        '--slo "ttft:p99<1s": the endpoint embeddings generates no text, so there is no ttft: use e2el, e2el_from_intended, '
        "error_rate, goodput, requests_per_s, inputs_per_s, input_tokens_per_s",
        '--slo "output_tokens_per_s>5": the endpoint embeddings generates no text, so there is no output_tokens_per_s: use '
        "e2el, e2el_from_intended, error_rate, goodput, requests_per_s, inputs_per_s, input_tokens_per_s",
        '--until "tpot:p90=10%": the endpoint embeddings generates no text, so there is no tpot: use e2el:STATISTIC',
    ]


def test_a_setting_of_prompts_that_is_left_empty_is_none() -> None:
    assert resolve({**URL, "endpoint": "http", "model": None, "prefix": None}).model is None
    assert refusals(endpoint="http", model="m", prefix=None) == [
        "--model is about prompts or models, and --endpoint http has neither: leave it out"
    ]
    assert (
        resolve({**URL, "endpoint": "transcriptions", "prefix": None, "ignore_eos": False, "audio": "length=1s"}).prefix
        is None
    )
    assert refusals(endpoint="transcriptions", prefix=None, ignore_eos=True, audio="length=1s") == [
        "--ignore-eos is about prompts, and --endpoint transcriptions sends audio clips: leave it out"
    ]


OF_INPUTS = " and ".join(
    ", ".join([name for name, api in ENDPOINTS.items() if api.inputs_are in ("texts", "documents")]).rsplit(", ", 1)
)
"""The endpoints that take batches of inputs, as listed in a sentence."""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"endpoint": "rerank", "ignore_eos": True}, "--ignore-eos is about generated text, and the endpoint rerank"),
        ({"endpoint": "rerank", "mode": "sessions"}, "--mode sessions needs an endpoint of chats"),
        (
            {"endpoint": "rerank", "batch_inputs": "uniform:0..3"},
            "--batch-inputs: 'uniform:0..3' draws requests without",
        ),
        ({"endpoint": "rerank", "batch_inputs": "4", "dataset": __file__}, "--batch-inputs is for simulated inputs"),
        ({"batch_inputs": "4"}, f"--batch-inputs is for --endpoint {OF_INPUTS}, and the endpoint is chat"),
        ({"slo": ("inputs_per_s>3",)}, f'--slo "inputs_per_s>3": inputs are what {OF_INPUTS} have'),
        ({"url": "http://h/v1/embeddings", "ignore_eos": True}, "--ignore-eos is about generated text"),
    ],
)
def test_each_refusal_says_what_is_wrong(given: dict[str, Any], words: str) -> None:
    problems = refusals(**given)
    assert any(problem.startswith(words) for problem in problems), problems


def test_objectives_on_what_there_is_are_taken() -> None:
    slo = ("e2el:p99<1s", "error_rate<1%", "requests_per_s>3", "inputs_per_s>9", "input_tokens_per_s>9")
    assert resolve({**URL, "endpoint": "rerank", "slo": slo, "until": ("e2el:p90=10%",)}).slo == slo


@pytest.mark.parametrize(("endpoint", "inputs"), [("embeddings", "1"), ("rerank", "10")])
def test_a_complete_configuration_has_no_stream_and_no_output_tokens(endpoint: str, inputs: str) -> None:
    config = resolve({**URL, "endpoint": endpoint, "input_tokens": "32"})
    assert (config.stream, config.output_tokens, config.batch_inputs) == (False, None, inputs)
    assert prompts_or_rows(config) == InputSpec(
        batch_inputs=inputs,
        input_tokens="32",
        query=endpoint == "rerank",
        prefix=None,
        text="words",
        repeat=0.0,
        recipe=None,
    )
    # The stored configuration can repeat the run.
    again = RunConfig.stored(config.public())
    assert (again.endpoint, again.stream, again.batch_inputs) == (endpoint, False, inputs)
    assert resolve({k: v for k, v in config.changed().items() if v is not None}).batch_inputs == inputs
