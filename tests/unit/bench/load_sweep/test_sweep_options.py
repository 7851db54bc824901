"""What is wrong with a sweep is said at once, to the command and to Python; its file may hold all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.cli import main
from bench.errors import Exit, UsageError
from bench.load_sweep.options import SET_BY_LOADS


@pytest.mark.parametrize("name", SET_BY_LOADS)
def test_what_the_loads_say_is_refused_beside_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{name} cannot be combined with a sweep"):
        bench.sweep("rate=5", url="http://127.0.0.1:1", out=str(tmp_path / "a"), **{name: "5"})  # type: ignore[arg-type]


def test_python_says_every_problem_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        bench.sweep("users=5", url="nonsense", repeats=0, gpus=0, output_tokens="none", out=str(tmp_path / "a"))
    said = "\n".join(raised.value.problems)
    for flag in ("--loads users=5", "--repeats 0", "--gpus 0", "--url", "--output-tokens"):
        assert flag in said
    assert not (tmp_path / "a").exists()


def test_the_settings_of_a_search_and_a_sweep_may_stand_in_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "load.yaml"
    file.write_text("url: http://127.0.0.1:1\nloads: users=5\nrepeats: 2.5\nrate: 5\n")
    assert main(["sweep", "--config", str(file), "--out", str(tmp_path / "a")]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "--loads users=5" in said
    assert "--repeats 2.5" in said
    assert "--rate" not in said  # Of the file of a run.
    file.write_text("url: http://127.0.0.1:1\nslo: [ttft:p99<1s]\nbudget: 1s\nstart: 2\nmax: 1\n")
    assert main(["search", "--config", str(file), "--max", "5", "--out", str(tmp_path / "a")]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "--budget" in said
    assert "--max" not in said  # The flag wins over the file.
