"""Runs of two sides in turn: their order, which runs are made or kept, and the report of each."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import cli
from bench.comparison.pairs import _numbers, make_pairs, order, refuse_other_loads, run_pairs
from bench.config import RunConfig, resolve
from bench.errors import Interrupted, UsageError
from bench.results.summary import RunSummary
from tests.support.made_gate import row
from tests.support.made_runs import made_run
from tests.support.made_series import MadeSeries, Noting
from tests.support.results import filled


def test_pairs_are_there_and_back() -> None:
    assert list(order(2, 2)) == [(1, 0), (1, 1), (2, 1), (2, 0)]
    assert list(order(3, 1)) == [(1, 0), (1, 1), (1, 2)]


def test_settings_that_must_be_equal_are_all_named_unless_they_are_allowed() -> None:
    settings: list[dict[str, Any]] = [
        {"rate": 5.0, "seed": 1, "input_tokens": "7"},
        {"rate": 6.0, "seed": 2},
        {"rate": 5.0},
    ]
    with pytest.raises(UsageError) as caught:
        refuse_other_loads(settings, [])
    assert caught.value.problems == [
        "rate differs (5 against 6 against 5), so that the runs could not be compared: make it equal, or add --allow rate",
        "input_tokens differs (7 against not set against not set), so that the runs could not be compared: make it equal, "
        "or add --allow input_tokens",
    ]
    refuse_other_loads(settings, ["rate", "input_tokens"])
    # A wrong name is refused before any run; the model and the loads set are known only afterwards.
    with pytest.raises(UsageError, match=r"--allow raet: not a setting that must be equal; did you mean rate\?"):
        refuse_other_loads(settings, ["rate", "input_tokens", "raet"])
    refuse_other_loads(settings, ["rate", "input_tokens", "model", "set_load"])
    refuse_other_loads([settings[0], settings[0]], [])


def numbers(latency: dict[str, Any], **throughput: Any) -> str:
    """The description of a run with these numbers."""
    nothing = {key: row(0) for key in ("ttft_ms", "tpot_ms", "e2el_ms")}
    summary = {"latency": nothing | latency, "throughput": {"output_tokens_per_s": None, **throughput}}
    result: Any = SimpleNamespace(summary=filled(RunSummary, summary), verdict=SimpleNamespace(status="VALID"))
    return _numbers(result)


def test_a_run_is_told_by_its_latencies_and_its_rate() -> None:
    latency = {"ttft_ms": row(9, p90=81.234), "tpot_ms": row(9, p50=5.0), "e2el_ms": row(9, p90=345.67)}
    assert numbers(latency, output_tokens_per_s=1234.5) == "VALID, TTFT p90 81.23 ms, TPOT p50 5 ms, 1234 tokens/s"
    del latency["tpot_ms"]
    assert numbers(latency, output_tokens_per_s=40.0) == "VALID, TTFT p90 81.23 ms, 40 tokens/s"
    assert numbers(latency, inputs_per_s=12.0) == "VALID, E2EL p90 345.7 ms, 12 inputs/s"
    assert numbers({}) == "VALID"


def test_a_run_of_any_http_service_is_told_by_its_requests() -> None:
    nothing = {key: row(0) for key in ("ttft_ms", "tpot_ms", "e2el_ms")}
    throughput = {"output_tokens_per_s": None, "inputs_per_s": 3.0, "requests_per_s": 3.0}
    summary = {"latency": nothing, "throughput": throughput, "inputs": {"are": "requests"}}
    result: Any = SimpleNamespace(summary=filled(RunSummary, summary), verdict=SimpleNamespace(status="VALID"))
    assert _numbers(result) == "VALID, 3 requests/s"


def sides(folder: Path, *runs: dict[str, Any]) -> tuple[list[MadeSeries], list[RunConfig]]:
    """The series of two sides, and the runs made, in order."""
    made: list[RunConfig] = []
    return [MadeSeries(folder / side, made=made, **runs[at]) for at, side in enumerate("ab")], made


def told(config: RunConfig) -> tuple[str, str, int]:
    """Side, name and seed of a run."""
    place = Path(str(config.out))
    return place.parent.name, place.name, config.seed


def test_the_runs_that_are_missing_are_made_in_turn_with_one_seed_a_pair(tmp_path: Path) -> None:
    configs = [resolve({}, {"url": "http://a", "rate": 10.0, "requests": 2, "seed": seed}) for seed in (7, 20)]
    noting = Noting()
    before: list[dict[str, Any]] = [{"before": {"1"}, "observer": noting}, {"before": {"1", "2"}, "observer": noting}]
    series, made = sides(tmp_path, *before)
    make_pairs(configs, 3, series, tmp_path)
    assert [told(config) for config in made] == [("a", "2", 8), ("a", "3", 9), ("b", "3", 22)]
    assert [line.partition(": ")[0] for line in noting.lines] == [
        "pair 1 of 3, A", "pair 1 of 3, B", "pair 2 of 3, B", "pair 2 of 3, A",
        "pair 2 of 3, A", "pair 3 of 3, A", "pair 3 of 3, A", "pair 3 of 3, B", "pair 3 of 3, B",
    ]  # fmt: skip
    assert [": VALID, TTFT p90" in line for line in noting.lines] == [True] * 3 + [False, True] * 3


def test_runs_of_other_settings_are_not_taken_for_those_that_are_missing(tmp_path: Path) -> None:
    # The sides were swapped, and the second side's load is longer than before.
    made_run(tmp_path / "a" / "1", settings={"url": "http://a", "seed": 7})
    made_run(tmp_path / "b" / "1", settings={"url": "http://b", "seed": 7})
    given = resolve(
        {}, {"url": "http://b", "rate": 10.0, "requests": 60, "seed": 7, "name": "again", "output_tokens": "4"}
    )
    series, made = sides(tmp_path, {}, {})
    with pytest.raises(UsageError) as refused:
        make_pairs([given, given.with_values(requests=90)], 2, series, tmp_path)
    advice = "give the same settings, or name another --out"
    assert refused.value.problems == [
        f"{tmp_path}/a/1 was made with other settings (--url): {advice}",
        f"{tmp_path}/b/1 was made with other settings (--requests): {advice}",
    ]
    assert made == []
    make_pairs([given.with_values(url="http://a"), given], 1, series, tmp_path)
    assert made != []


def test_data_files_count_by_their_content(tmp_path: Path) -> None:
    data, copy = tmp_path / "rows.jsonl", tmp_path / "copy.jsonl"
    for file in (data, copy):
        file.write_text('{"prompt": "a"}\n')
    given = [resolve({}, {"url": "http://a", "rate": 10.0, "dataset": str(file)}) for file in (data, copy)]
    assert len(run_pairs(given, 0, tmp_path)) == 2

    made_run(tmp_path / "a" / "1", settings={"dataset": str(data)}, data_sha256={str(data): "0" * 64})
    stored = resolve({}, {"url": "http://127.0.0.1:8000", "rate": 10.0, "requests": 60, "output_tokens": "4",
                          "dataset": str(data)})  # fmt: skip
    series, made = sides(tmp_path, {}, {})
    with pytest.raises(UsageError) as refused:
        make_pairs([stored, stored], 1, series, tmp_path)
    advice = "give the same data, or name another --out"
    assert refused.value.problems == [f"{tmp_path}/a/1 was made with another content of {data}: {advice}"]
    assert made == []
    copy.write_text('{"prompt": "b"}\n')
    with pytest.raises(UsageError, match=r"dataset differs \(.*rows\.jsonl against .*copy\.jsonl\)"):
        run_pairs(given, 0, tmp_path)


def test_an_interrupted_run_is_the_last_and_is_named(tmp_path: Path) -> None:
    configs = [resolve({}, {"url": "http://a", "rate": 10.0, "requests": 2})] * 2
    series, made = sides(tmp_path, {}, {"at": {"1": "interrupted"}})
    sentence = f"interrupted in pair 1 of 2, B: the same command with --out {tmp_path} goes on from there"
    with pytest.raises(Interrupted, match=f"^{re.escape(sentence)}$"):
        make_pairs(configs, 2, series, tmp_path)
    assert [told(config) for config in made] == [("a", "1", 0), ("b", "1", 0)]
    series, _ = sides(tmp_path, {}, {"at": {"1": KeyboardInterrupt("while the report was made")}})
    with pytest.raises(KeyboardInterrupt, match="while the report was made"):
        make_pairs(configs, 2, series, tmp_path)


def test_configurations_of_other_loads_are_refused_before_a_run(tmp_path: Path) -> None:
    configs = [resolve({}, {"url": "http://a", "rate": rate, "requests": 2}) for rate in (10.0, 20.0)]
    with pytest.raises(UsageError, match="rate differs"):
        run_pairs(configs, 1, tmp_path)
    assert run_pairs(configs, 0, tmp_path, allow=["rate"]) == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(("pairs", "taken"), [("1", False), ("2", True), ("100", True), ("101", False), ("x", False)])
def test_two_to_a_hundred_pairs_can_be_asked_for(
    pairs: str, taken: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    assert cli.main(["compare", "--run", *missing, "--pairs", pairs]) == 2
    refused = f"--pairs {pairs}: give a number from 2 to 100; one pair has no spread"
    assert (refused in capsys.readouterr().err) is not taken
