"""`bench compare --run` against two mocks: runs in turn, resumed where they stopped, and compared."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import orjson
import pytest
import yaml

from bench import cli
from bench.comparison.pairs import order
from bench.config import resolve
from tests.support.calm import CALM
from tests.support.mock_process import mock_process


def written(path: Path, url: str, **settings: object) -> Path:
    given = {"url": url, "concurrency": 4, "requests": 40, "input_tokens": "30", "output_tokens": "8", "quiet": True}
    path.write_text(yaml.safe_dump(given | settings) + CALM)
    return path


def test_the_order_is_abba_and_for_three_sides_there_and_back() -> None:
    assert list(order(2, 3)) == [(1, 0), (1, 1), (2, 1), (2, 0), (3, 0), (3, 1)]
    assert [side for _, side in order(3, 2)] == [0, 1, 2, 2, 1, 0]


def test_pairs_are_made_in_turn_and_go_on_where_they_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with (
        mock_process("--ttft", "10ms", "--tpot", "4ms") as fast,
        mock_process("--ttft", "10ms", "--tpot", "8ms") as slow,
    ):
        a, b = written(tmp_path / "a.yaml", fast.url), written(tmp_path / "b.yaml", slow.url)
        words = ["compare", "--run", str(a), str(b), "--out", str(out), "--quiet", "--format", "json"]
        status = cli.main([*words, "--pairs", "2"])
        first = capsys.readouterr()
        assert status == 0, first.err
        kept = {path: path.stat().st_mtime_ns for path in out.glob("*/*/requests.jsonl")}
        assert cli.main([*words, "--pairs", "3"]) == 0
        content = orjson.loads(capsys.readouterr().out)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert orjson.loads((out / "compare.json").read_bytes()) == content
    assert "<!doctype html>" in (out / "compare.html").read_text()
    began = [
        (run["started"], side["name"], Path(run["directory"]).name) for side in content["sides"] for run in side["runs"]
    ]
    names = {"A": "a", "B": "b"}
    made = [f"{names[side]}/{name}" for _, side, name in sorted(began)]
    assert sorted(made) == ["a/1", "a/2", "a/3", "b/1", "b/2", "b/3"]
    seeds = {name: yaml.safe_load((out / name / "run.yaml").read_text())["config"]["seed"] for name in made}
    assert seeds == {f"{side}/{n}": n - 1 for side in "ab" for n in (1, 2, 3)}
    (versus,) = content["versus"]
    (row,) = [row for row in versus["numbers"] if row["name"] == "tpot:p50"]
    # Finding a difference needs a quiet machine. This only checks that each side has its own runs, in order.
    for side in "ab":
        runs = [orjson.loads((out / side / n / "summary.json").read_bytes()) for n in "123"]
        assert row[f"runs_{side}"] == [run["latency"]["tpot_ms"]["p50"] for run in runs]

    assert cli.main(["compare", str(out), "--format", "json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["versus"] == content["versus"]


def test_a_seed_changes_arrivals_and_nothing_else() -> None:
    config = resolve({"url": "http://127.0.0.1:8000", "rate": 10.0, "requests": 20})
    other = config.with_values(seed=7)
    assert other.public() == {**config.public(), "seed": 7}
    mine, others = (one.load.planned_arrivals() for one in (config, other))
    assert mine is not None
    assert others is not None
    assert list(islice(others, 5)) != list(islice(mine, 5))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--run", "a.yaml"], "name 2 to 26 configurations to compare: there is 1"),
        (
            ["--run", "a.yaml", "b.yaml", "--pairs", "1"],
            "--pairs 1: give a number from 2 to 100; one pair has no spread",
        ),
        (["--run", "a.yaml", "b.yaml", "--pairs", "x"], "--pairs x: give a number from 2 to 100"),
        (["--run", "a.yaml", "c.yaml"], "concurrency differs (4 against 8), so that the runs could not be compared"),
        (["--run", "a.yaml", "missing.yaml"], "missing.yaml"),
        (["runs/a", "--run", "a.yaml", "b.yaml"], "--run makes new runs, and directories name existing ones"),
        (["--pairs", "5", "runs/a", "runs/b"], "--pairs is for runs that --run makes"),
        (["runs/a"], "name 2 to 26 directories to compare: there is 1"),
        ([], "name 2 to 26 directories to compare: there are 0"),
        (["runs/a", "runs/b", "--margin", "200%"], "--margin 200%: not a share between 0 and 1"),
    ],
)
def test_what_cannot_be_made_is_refused_before_any_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("a.yaml"), "http://127.0.0.1:9")
    written(Path("b.yaml"), "http://127.0.0.1:9")
    written(Path("c.yaml"), "http://127.0.0.1:9", concurrency=8)
    assert cli.main(["compare", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*"))
