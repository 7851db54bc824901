"""`mockserver --profile`: the configuration from a profile of `bench fit`, and the refusal of an invalid one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

import bench.fit
from mockserver import cli
from mockserver.combinations import step_cost_of
from mockserver.config import MockConfig
from mockserver.errors import UsageError
from mockserver.presets import settings_of
from mockserver.profiles import settings_of_profile

PROFILE = Path(__file__).parents[2] / "support" / "made_profile.json"
MADE: dict[str, Any] = json.loads(PROFILE.read_text())


def written(tmp_path: Path, **changes: Any) -> str:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({**MADE, **changes}))
    return str(path)


def test_a_profile_sets_engine_cost_limits_and_model() -> None:
    config = cli.read_arguments(["--profile", str(PROFILE)])
    cost = step_cost_of(config)
    assert (config.engine, config.model, config.max_model_len) == ("batching", "made-model", 64_000)
    assert (cost.b0, cost.b1, cost.b2, cost.a0) == tuple(MADE["step_cost"][name] for name in ("b0", "b1", "b2", "a0"))
    assert (cost.max_num_seqs, cost.max_num_batched_tokens, cost.kv_blocks) == (64, 2048, 4000)
    assert str(config.step_cost) == cost.source == str(PROFILE)


@pytest.mark.parametrize(("kv_blocks", "context"), [(8_191, 131_056), (8_192, None)])
def test_a_cache_that_holds_the_default_context_does_not_set_it(
    kv_blocks: int, context: int | None, tmp_path: Path
) -> None:
    """A block has 16 tokens, the context 131,072. What a preset sets then remains."""
    name = written(tmp_path, step_cost={**MADE["step_cost"], "kv_blocks": kv_blocks})
    assert settings_of_profile(name).get("max_model_len") == context


def test_the_made_profile_keeps_the_schema() -> None:
    schema = json.loads((Path(bench.fit.__file__).parent / "profile.schema.json").read_text())
    Draft202012Validator(schema).validate(MADE)
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate({**MADE, "step_cost": {}})


def test_defaults_then_preset_then_profile_then_file_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "mock.yaml"
    file.write_text(f"preset: qwen3-14b-h100\nprofile: {PROFILE}\nmax_num_seqs: 9\n")
    config = cli.read_arguments(["--config", str(file), "--model", "mine"])
    assert (config.model, step_cost_of(config).max_num_seqs) == ("mine", 9)
    assert step_cost_of(config).b0 == MADE["step_cost"]["b0"] != settings_of("qwen3-14b-h100")


def test_other_settings_of_a_profile_are_taken(tmp_path: Path) -> None:
    name = written(tmp_path, settings={"num_speculative_tokens": 3, "acceptance_rate": 0.6})
    config = cli.read_arguments(["--profile", name])
    assert (config.num_speculative_tokens, config.acceptance_rate) == (3, 0.6)


def test_a_profile_of_sampled_times_sets_that_engine(tmp_path: Path) -> None:
    times = {"ttft_ms": [40, 60], "ttft_per_input_token_us": 100, "gap_ms": [8, 12], "between": 0.3, "follows": 0.5,
             "load": [[1, 1, 1], [9, 3, 2]]}  # fmt: skip
    config = cli.read_arguments(["--profile", written(tmp_path, engine="sampled", sampled_times=times)])
    assert (config.engine, config.model) == ("sampled", "made-model")
    assert config.sampled_times is not None
    assert config.sampled_times.ttft(0.5, 100) == 60_000_000
    # `--sampled-times` takes a profile too: GET /truth makes the configuration again from its JSON.
    again = MockConfig(**config.model_dump(mode="json"))
    assert again.sampled_times == config.sampled_times
    wrong = written(tmp_path, engine="sampled", sampled_times={**times, "between": 2, "gap_ms": [3]})
    with pytest.raises(UsageError, match=r"gap_ms: write two or more times.*between=2: write a number from 0 to 1"):
        cli.read_arguments(["--profile", wrong])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "trueload/profile/9"}, "its schema is 'trueload/profile/9'"),
        ({"engine": "sampled"}, "sampled_times is missing"),
        ({"schema": None}, "it has no schema"),
        ({"engine": "magic"}, "engine 'magic' is not known"),
        ({"step_cost": None}, "step_cost is missing"),
        ({"step_cost": {"b0": 1, "b9": 2}}, "no coefficient is called 'b9'"),
        ({"settings": {"ttft": "1ms"}}, "no setting of a profile is called 'ttft'"),
        ({"settings": []}, "settings is not an object"),
        ({"settings": 5, "engine": "x"}, "settings is not an object"),
    ],
)
def test_a_bad_profile_is_refused_with_a_sentence(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    name = written(tmp_path, **changes)
    with pytest.raises(UsageError, match=said) as caught:
        cli.read_arguments(["--profile", name])
    assert [problem.startswith(f"--profile: {name!r}: ") for problem in caught.value.problems] == [True]


def test_a_file_that_is_missing_is_refused_beside_other_problems() -> None:
    with pytest.raises(UsageError) as caught:
        cli.read_arguments(["--profile", "nowhere.json", "--port", "99999"])
    assert len(caught.value.problems) == 2


def test_what_a_profile_does_not_set_is_the_presets(tmp_path: Path) -> None:
    name = written(tmp_path, step_cost={**MADE["step_cost"], "kv_blocks": 8_192})
    config = cli.read_arguments(["--preset", "qwen3-14b-h100", "--profile", name])
    assert (config.model, config.max_model_len) == ("made-model", 40_960)
