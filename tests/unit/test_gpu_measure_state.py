"""gpu/measure.py: a damaged measure.json and an unwritable folder give a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.config import resolve
from bench.tuning.spec import spec_of
from gpu.measure import STATE, Failed, Measurement, best_flags, parse_arguments, problems, tune_spec


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", r"cannot be read \(it is not JSON\)"),
        ('{"asked": {}, "pha', r"cannot be read \(it is not JSON\)"),
        ("[" * 100_000, r"cannot be read \(it is not JSON\)"),
        ("\udcff", r"cannot be read \(it is not JSON\)"),
        ("[]", "is damaged"),
        ("null", "is damaged"),
        ('{"asked": {}, "phases": {}}', "is damaged"),
        ('{"asked": [], "phases": {}, "versions": {}}', "is damaged"),
        (
            '{"asked": {}, "phases": {"warm": 7}, "versions": {}}',
            r"is damaged \(each of its phases must be an object\)",
        ),
    ],
)
def test_a_damaged_state_says_how_to_go_on(content: str, why: str, tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(Failed, match=f"measure.json {why}.*: remove the file, which begins the measurement anew"):
        Measurement(tmp_path, {})


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failed, match=r"--out .*file cannot be written \(it is a file\): name another directory"):
        Measurement(tmp_path / "file", {})


def test_flags_of_the_engine_are_raced_against_none() -> None:
    words = ["m", "--out", "o", "--tune", "max-num-seqs=64,256", "--tune", "block-size=32", "--slo", "ttft:p99<1s"]
    options, extra = parse_arguments([*words, "--", "--enforce-eager"])
    assert problems(options) == []
    spec = spec_of(tune_spec(options, extra), lambda settings: resolve(dict(settings)))
    assert [arm.name for arm in spec.arms][:3] == ["the default", "block-size=32", "max-num-seqs=64"]
    assert (len(spec.arms), spec.goal, spec.search) == (6, "held_load", {"load": "concurrency"})
    line = spec.arms[3].words(spec.server.command, 8000)
    assert line[line.index("--port") :] == [
        "--port", "8000", "--", "--enforce-eager", "--max-num-seqs", "64", "--block-size", "32",
    ]  # fmt: skip
    assert problems(parse_arguments(["m", "--out", "o", "--tune", "max-num-seqs"])[0])[0].startswith(
        "--tune max-num-seqs"
    )


def test_the_winner_of_the_race_is_measured(tmp_path: Path) -> None:
    arms = [{"flags": {"max-num-seqs": None}}, {"flags": {"max-num-seqs": "64", "block-size": None}}]
    (tmp_path / "tune.json").write_text(json.dumps({"best": 1, "arms": arms}))
    assert best_flags(tmp_path) == ["--max-num-seqs", "64"]
