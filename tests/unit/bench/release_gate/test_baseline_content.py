"""baseline.json: what it keeps of runs, how many independent values it counts, and which files and loads it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from bench.comparison.numbers import ERRORS, OUTPUT, TPOT, TTFT_TAIL
from bench.comparison.sides import MeasuredRun, read_run
from bench.errors import UsageError
from bench.release_gate import baseline as baselines
from bench.results.base import to_plain
from bench.results.baseline import Baseline
from bench.run_files.run_directory import SUMMARY
from tests.support.made_gate import entry_with, run_of
from tests.support.made_runs import made_run
from tests.support.results import filled


@pytest.mark.parametrize(
    ("n", "act", "independent"),
    [
        (300, 2.0, 100.0),  # D = 1.5 x 2: three requests are worth one.
        (300, 1.0, 200.0),
        (300, 0.5, 300.0),  # A request never counts for more than one.
        (12, None, 1.0),  # Too few to estimate: worth one.
        (0, None, 0.0),
    ],
)
def test_a_run_is_worth_its_values_over_their_dependence(n: int, act: float | None, independent: float) -> None:
    entry = entry_with(requests=900, independent=7.0, stats={"tpot_ms": {"n": n, "act": act}})
    assert baselines.independent_values(entry, "tpot") == pytest.approx(independent)


def test_numbers_without_values_of_requests_are_worth_the_independent_requests() -> None:
    entry = entry_with(independent=7.0)
    assert [baselines.independent_values(entry, name) for name in ("itl", "job", "output_tokens_per_s")] == [7.0] * 3


def test_a_number_of_an_entry_is_its_statistic_or_its_field() -> None:
    entry = entry_with(error_rate=0.25, stats={"tpot_ms": {"p50": 5.0}, "ttft_ms": {"p99": 90.0}})
    assert [baselines.value_of(number, entry) for number in (TPOT, TTFT_TAIL, ERRORS)] == [5.0, 90.0, 0.25]
    entry = replace(entry, output_tokens_per_s=None, stats={})
    assert [baselines.value_of(number, entry) for number in (TPOT, OUTPUT)] == [None, None]


def test_an_entry_holds_the_numbers_of_its_run(tmp_path: Path) -> None:
    entry = baselines.entry_of(read_run(made_run(tmp_path / "run", requests=40, failed=10, spread=0.0)))
    # 30 replies of four tokens.
    assert (entry.requests, entry.error_rate) == (40, 0.25)
    assert entry.output_tokens_per_s == pytest.approx(120 / (entry.seconds or 0.0))
    assert "inputs_per_s" not in to_plain(entry)
    assert (entry.load.mode, entry.load.offered_rps, entry.load.concurrency) == ("rate", 10.0, None)
    ttft, tpot = (entry.stats[key] for key in ("ttft_ms", "tpot_ms"))
    assert (ttft.p50, ttft.n, ttft.act) == (50.0, 30, 1.0)
    assert (tpot.p99, tpot.n) == (5.0, 30)
    assert entry.independent_requests == pytest.approx(40 / 1.5)


def test_an_entry_holds_no_number_whose_bounds_are_further_apart_than_its_value(tmp_path: Path) -> None:
    path = made_run(tmp_path / "run", requests=40)
    summary = orjson.loads((path / SUMMARY).read_bytes())
    summary["latency"]["tpot_ms"]["bounds"] = {"p50": [0.0, 5.1], "p90": [0.0, 5.0]}
    (path / SUMMARY).write_bytes(orjson.dumps(summary))
    tpot = baselines.entry_of(read_run(path)).stats["tpot_ms"]
    assert (tpot.p50, tpot.p90, tpot.p99) == (None, 5.0, 5.0)


def test_an_entry_of_an_endpoint_that_takes_inputs_holds_their_rate(tmp_path: Path) -> None:
    path = made_run(tmp_path / "run", requests=40)
    summary = orjson.loads((path / SUMMARY).read_bytes())
    summary["throughput"]["inputs_per_s"] = 12.0
    (path / SUMMARY).write_bytes(orjson.dumps(summary))
    assert baselines.entry_of(read_run(path)).inputs_per_s == 12.0


@pytest.mark.parametrize(
    ("calibration", "kept"),
    [
        (None, None),
        ({"from": "certificate", "status": "VALID", "metrics": []}, {"from": "certificate", "status": "VALID"}),
        ({"from": "ledger"}, {"from": "ledger", "status": None}),
    ],
)
def test_a_new_baseline_names_the_certificate_of_its_run(calibration: object, kept: object) -> None:
    new = baselines.new(run_of(calibration=calibration))
    origin = None if new.certificate is None else to_plain(new.certificate)
    assert (origin, new.runs, new.machine) == (kept, [], {"processors": 2})
    assert (new.tool_version, new.target.server) == ("0.1.0", "http://127.0.0.1:8000")


def test_labels_are_no_part_of_the_digest_of_a_configuration() -> None:
    plain, named, faster = (
        baselines.new(run_of(settings=settings)).config_sha256
        for settings in ({}, {"name": "nightly", "out": "elsewhere"}, {"rate": 20.0})
    )
    assert plain == named != faster


def appended(kept: list[tuple[str, str]], added: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The runs of a baseline after others were added: the id of each and when it started."""
    before, entries = ([entry_with(id=name, started=started) for name, started in runs] for runs in (kept, added))
    grown = baselines.appended(filled(Baseline, tool_version="s", runs=before), entries)
    assert grown.tool_version == "s"
    return [(entry.id, entry.started) for entry in grown.runs]


def test_a_run_that_is_known_is_not_kept_twice_and_runs_stand_in_the_order_of_their_start() -> None:
    assert appended([("b", "2026-11-02"), ("d", "2026-11-04")], [("a", "2026-11-01"), ("b", "2026-11-02")]) == [
        ("a", "2026-11-01"), ("b", "2026-11-02"), ("d", "2026-11-04")
    ]  # fmt: skip


def test_twenty_runs_are_kept_the_newest() -> None:
    days = [(f"{day}", f"2026-11-{day:02d}") for day in range(1, 23)]
    assert appended(days[:20], []) == days[:20]
    assert appended(days[:20], days[20:]) == days[2:]


def damaged(run: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """A baseline of one run, with changes to the run and to the rest."""
    content = to_plain(baselines.new(run_of())) | {"runs": [to_plain(entry_with()) | (run or {})]} | changes
    return orjson.dumps(content)


def test_of_a_damaged_baseline_ten_problems_are_named_and_the_others_counted(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(damaged())
    assert baselines.read(path) is not None
    path.write_bytes(damaged(runs=[{}, {}], machine=3))
    with pytest.raises(UsageError) as caught:
        baselines.read(path)
    assert len(caught.value.problems) == 11
    path.write_bytes(damaged({"error_rate": "none"}))
    with pytest.raises(UsageError) as caught:
        baselines.read(path)
    (problem,) = caught.value.problems
    assert "error_rate must be" in problem
    stats = {"ttft_ms": {"p50": 1.0, "p90": 1.0, "p99": 1.0, "n": -1, "act": None}}
    path.write_bytes(damaged({"error_rate": 7, "requests": -3, "independent_requests": -0.5, "stats": stats}))
    with pytest.raises(UsageError) as caught:
        baselines.read(path)
    assert [problem.partition(" is damaged: ")[2].partition(";")[0] for problem in caught.value.problems] == [
        "runs[0].error_rate must be from 0 to 1, not 7",
        "runs[0].requests must be at least 0, not -3",
        "runs[0].independent_requests must be at least 0, not -0.5",
        "runs[0].stats.ttft_ms.n must be at least 0, not -1",
    ]


@pytest.mark.parametrize("run", [{"failures_act": 0.0}, {"failures_act": -1.0}, {"failures_act": 1.0, "requests": 0}])
def test_failures_that_depend_on_each_other_by_less_than_nothing_are_refused(
    tmp_path: Path, run: dict[str, Any]
) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(damaged({"failures_act": 1.0}))
    assert baselines.read(path) is not None
    path.write_bytes(damaged(run))
    with pytest.raises(UsageError, match=r"runs\[0\]\.failures_act must be at least 1"):
        baselines.read(path)


def test_a_baseline_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\): name a file"):
        baselines.read(tmp_path)
    (tmp_path / "file").write_text("{")
    with pytest.raises(UsageError, match=r"cannot be read \(it is not JSON: "):
        baselines.read(tmp_path / "file")
    with pytest.raises(UsageError, match=r"cannot be written \(.+\): name another file"):
        baselines.write(tmp_path / "file" / "baseline.json", filled(Baseline))


def test_a_baseline_is_put_in_place_of_another_and_makes_its_directories(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "here" / "baseline.json"
    for version in ("1", "2"):
        made = filled(Baseline, tool_version=version)
        baselines.write(path, made)
        assert orjson.loads(path.read_bytes()) == to_plain(made)
    assert [file.name for file in path.parent.iterdir()] == ["baseline.json"]
    (tmp_path / "link.json").symlink_to(path)
    baselines.write(tmp_path / "link.json", filled(Baseline, tool_version="3"))
    assert (tmp_path / "link.json").is_symlink()
    assert orjson.loads(path.read_bytes())["tool_version"] == "3"


def refusal(baseline: Baseline, **settings: Any) -> str | None:
    """The error about a run with these settings against a baseline; None if there is none."""
    try:
        baselines.refuse_other_workload(Path("baseline.json"), baseline, run_of(settings=settings))
    except UsageError as e:
        return str(e)
    return None


def test_another_workload_is_refused_and_the_same_is_not() -> None:
    baseline = baselines.new(run_of())
    assert refusal(baseline) is None
    assert refusal(baseline, url="http://elsewhere", seed=9, name="another") is None
    said = refusal(baseline, rate=20.0)
    assert said is not None
    assert "is of another workload: rate (10 there, 20 here). Send the load" in said


def test_a_file_of_data_is_known_by_its_content() -> None:
    def of(path: str, content: str | None) -> MeasuredRun:
        return run_of(settings={"dataset": path}, manifest={"data_sha256": {} if content is None else {path: content}})

    def said(there: MeasuredRun, here: MeasuredRun) -> str:
        try:
            baselines.refuse_other_workload(Path("baseline.json"), baselines.new(there), here)
        except UsageError as e:
            return str(e)
        return ""

    a, b = "a" * 64, "b" * 64
    assert said(of("x", a), of("x", a)) == said(of("x", a), of("y", a)) == ""
    assert "dataset (x with sha256 aaaaaaaaaaaa there, x with sha256 bbbbbbbbbbbb here)." in said(
        of("x", a), of("x", b)
    )
    assert said(of("x", None), of("x", b)) == said(of("x", a), of("x", None)) == ""
    assert "dataset (x there, y here)." in said(of("x", None), of("y", a))


def test_a_setting_that_only_one_version_knows_counts_unless_it_is_at_its_default() -> None:
    older, newer = baselines.new(run_of()), baselines.new(run_of())
    names = {name: value for name, value in older.workload.items() if name != "same_prompts"}
    older = replace(older, workload_sha256="of that version", workload=names)
    assert refusal(older) is None
    said = refusal(older, same_prompts=True)
    assert said is not None
    assert "another workload: same_prompts (False there, True here). Send" in said
    # A setting that this version no longer has.
    newer = replace(newer, workload_sha256="of that version", workload={**newer.workload, "colour": "red"})
    said = refusal(newer)
    assert said is not None
    assert "another workload: colour (red there, not set here). Send" in said
    assert refusal(replace(newer, workload={**newer.workload, "colour": None})) is None
    # A setting of neither version: the run has it, and no version has a default.
    assert refusal(older, colour="blue") is not None
