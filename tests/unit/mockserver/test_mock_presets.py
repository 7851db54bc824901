"""Presets: each is a complete configuration with a source. A preset overrides the defaults; the file overrides it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mockserver import cli
from mockserver.config import MockConfig
from mockserver.errors import UsageError
from mockserver.presets import PRESETS, at_objective
from mockserver.step_cost import STEP_COSTS
from promptset.distributions import parse

MS = 1e6


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_is_a_configuration_with_its_source(name: str) -> None:
    config = cli.read_arguments(["--preset", name])
    assert config.preset == name
    for field, value in PRESETS[name].settings.items():
        assert str(getattr(config, field)) == str(value), field
    assert len(PRESETS[name].source.split()) > 5
    assert config != MockConfig(preset=name)


def test_every_fitted_pair_of_gpu_and_model_is_a_preset() -> None:
    assert {str(p.settings["step_cost"]) for p in PRESETS.values() if "step_cost" in p.settings} == set(STEP_COSTS)


def test_defaults_then_preset_then_file_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "mock.yaml"
    file.write_text("preset: gpt-4o-openai\ntpot: 7ms\nmodel: from-file\n")
    config = cli.read_arguments(["--config", str(file), "--model", "from-flag"])
    assert str(config.ttft) == "lognormal:median=390ms,sigma=0.4"  # the preset's
    assert (str(config.tpot), config.model, str(config.output_tokens)) == ("7ms", "from-flag", "128")
    config = cli.read_arguments(["--config", str(file), "--preset", "gpt-4o-azure"])
    assert (config.preset, str(config.ttft), str(config.tpot)) == (
        "gpt-4o-azure", "lognormal:median=770ms,sigma=0.4", "7ms",
    )  # fmt: skip


@pytest.mark.parametrize("objective_ms", [15, 30, 450, 2000])
def test_a_service_at_its_objective_has_its_p99_there(objective_ms: float) -> None:
    assert parse(at_objective(objective_ms), "time").quantile(0.99) == pytest.approx(objective_ms * MS, rel=1e-5)


def test_the_published_medians_are_the_medians() -> None:
    config = cli.read_arguments(["--preset", "gpt-4o-openai"])
    assert config.ttft.quantile(0.5) == pytest.approx(390 * MS)
    assert 1000 / (config.tpot.quantile(0.5) / MS) == pytest.approx(81, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "ttft_ms", "tpot_ms"),
    [("llama-3.1-8b-server", 2000, 100), ("llama-3.1-8b-interactive", 500, 30), ("llama-2-70b-server", 2000, 200),
     ("llama-2-70b-interactive", 450, 40), ("deepseek-r1-server", 2000, 80), ("deepseek-r1-interactive", 1500, 15)],
)  # fmt: skip
def test_the_objectives_of_mlperf_are_the_p99(name: str, ttft_ms: float, tpot_ms: float) -> None:
    config = cli.read_arguments(["--preset", f"mlperf-{name}"])
    assert config.ttft.quantile(0.99) == pytest.approx(ttft_ms * MS, rel=1e-5)
    assert config.tpot.quantile(0.99) == pytest.approx(tpot_ms * MS, rel=1e-5)


def test_an_unknown_preset_is_told_with_the_other_problems(tmp_path: Path) -> None:
    file = tmp_path / "mock.yaml"
    file.write_text("preset: gpt-4o-opnai\n")
    with pytest.raises(UsageError) as caught:
        cli.read_arguments(["--config", str(file), "--ttft", "5"])
    assert caught.value.problems[0] == (
        f"{file}: preset: no preset is called 'gpt-4o-opnai'; did you mean gpt-4o-openai? (--preset list describes them)"
    )
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("arguments", [["--preset", "list"], ["--preset=list"]])
def test_the_list_shows_each_with_its_source_and_ends_well(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name, preset in PRESETS.items():
        assert f"\n{name}\n" in f"\n{text}"
        assert preset.source in text
