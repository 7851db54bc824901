"""A damaged file of a run directory is named, with its line and its problem. Other errors remain defects of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.commands import request_table
from bench.comparison.compare import compare
from bench.comparison.request_values import read_values
from bench.comparison.sides import read_sides
from bench.config import resolve
from bench.damage import explained, problems_of, wrong_values
from bench.errors import RecordError, UsageError
from bench.evaluate import evaluate
from bench.fit.read import read_runs
from bench.records import to_line
from bench.run_files.run_directory import RunDirectory
from bench.verdict.finding import Status
from tests.support.made_ledger import made_line
from tests.support.made_records import made_record
from tests.support.made_runs import made_run


def damaged(path: Path, name: str, line: int, **changes: Any) -> RunDirectory:
    """A run with changed fields in one line of one file; a field given as ... is left out."""
    directory = RunDirectory.open(made_run(path, requests=4))
    file = path / name
    rows = [orjson.loads(row) for row in file.read_bytes().splitlines()]
    changed = {key: value for key, value in (rows[line] | changes).items() if value is not ...}
    rows[line] = changed
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return directory


WRONG_RECORDS: list[tuple[str, dict[str, Any], str]] = [
    ("a list for a number", {"index": [0]}, "line 2: index: expected `int`, got `array`"),
    ("a text for a time", {"end_ns": "9"}, "line 2: end_ns: expected `int`, got `str`"),
    (
        "a stamp that is none",
        {"chunk_ns": [1, 2, 3, None]},
        "line 2: chunk_ns[3]: expected `int`, got `null`",
    ),
    ("more kinds than chunks", {"chunk_kind": "c"}, "line 2: chunk_kind has 1 entries, and chunk_ns has 4"),
    (
        "tokens without end",
        {"chunk_tokens": [1, 10**15, 1, 1]},
        "line 2: chunk_tokens[1]: expected `int` <= 10000000",
    ),
]


@pytest.mark.parametrize(("changes", "said"), [row[1:] for row in WRONG_RECORDS], ids=[row[0] for row in WRONG_RECORDS])
def test_a_damaged_record_is_named_with_its_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    directory = damaged(tmp_path / "run", "requests.jsonl", 1, **changes)
    assert problems_of(directory) == [f"{directory.path}/requests.jsonl, {said}"]


@pytest.mark.parametrize("name", ["intended_ns", "eligible_ns", "connect_ns", "sent_ns", "end_ns"])
@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_a_time_that_no_clock_shows_is_refused_and_named(tmp_path: Path, name: str, number: int) -> None:
    directory = damaged(tmp_path / "run", "requests.jsonl", 1, **{name: number})
    said = f"{directory.path}/requests.jsonl, line 2: {name}: expected `int` <= {2**62}"
    with pytest.raises(RecordError) as refused:
        evaluate(directory)
    assert list(refused.value.problems) == [said]


def test_whoever_reads_records_says_which_line_is_damaged(tmp_path: Path) -> None:
    directory = damaged(tmp_path / "run", "requests.jsonl", 1, sent_ns="x", chunk_ns=[1, 2, 3, "x"])
    with (directory.path / "requests.jsonl").open("ab") as file:
        file.write(b"5\n")
    with pytest.raises(RecordError) as refused:
        evaluate(directory)
    assert len(refused.value.problems) == 2, "one problem per damaged line"
    readers: list[Callable[[], object]] = [
        lambda: evaluate(directory),
        lambda: read_values(directory.path),
        lambda: read_runs([directory.path]),
        lambda: request_table.write(directory, "csv"),
    ]
    for read in readers:
        with pytest.raises(UsageError, match="line 2: sent_ns: expected"):
            read()


def test_a_damaged_sample_and_a_damaged_line_of_a_ledger_are_named(tmp_path: Path) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    (directory.path / "samples.jsonl").write_bytes(b'{"t_ns":1,"loop_lag_ms":[[0.1]]}\n{"t_ns":2,"sent":3}\n')
    (directory.path / "ledger.jsonl").write_bytes(b'{"id":"a","write_ns":[1],"chunk_kind":"cc"}\n')
    found = "\n".join(problems_of(directory))
    assert "samples.jsonl, line 1: loop_lag_ms must be a list or an object or null, not [[0.1]]" in found
    assert "samples.jsonl, line 2: sent and done stand together" in found
    assert "ledger.jsonl, line 1: status is missing" in found
    assert found.endswith("more lines are damaged")


GOOD_SAMPLE: dict[str, Any] = {
    "t_ns": 1,
    "pause_ns": [1, 2],
    "loop_lag_ms": {"p99": None},
    "cpu": 1e12,
    "sent": 1,
    "done": 0,
}
SAMPLES: list[tuple[bytes, list[str]]] = [
    (orjson.dumps(GOOD_SAMPLE), []),
    (orjson.dumps({"t_ns": 1, "pause_ns": None, "loop_lag_ms": [0.5], "run_queue_share": -1e12}), []),
    (b"{", [" unexpected end of data"]),
    (orjson.dumps({**GOOD_SAMPLE, "t_ns": "x", "sent": None}), [' t_ns must be a whole number from 0 on, not "x"']),
    (orjson.dumps({**GOOD_SAMPLE, "pause_ns": [1]}), [" pause_ns must hold two times"]),
    (orjson.dumps({**GOOD_SAMPLE, "cpu": 1.1e12}), [" cpu holds more than any clock measures"]),
    (orjson.dumps({**GOOD_SAMPLE, "loop_lag_ms": {"p50": 1, "p99": 1e13}}),
     [" loop_lag_ms holds more than any clock measures"]),
    (orjson.dumps({**GOOD_SAMPLE, "done": None}), [" sent and done stand together"]),
]  # fmt: skip


def test_each_damaged_line_of_samples_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    (directory.path / "samples.jsonl").write_bytes(b"".join(line + b"\n" for line, _ in SAMPLES))
    (directory.path / "mock.json").write_bytes(b"[1]")
    found = [one.removeprefix(f"{directory.path}/") for one in problems_of(directory)]
    assert [one.partition(": line ")[0] for one in found] == [
        f"samples.jsonl, line {number}:{problem}" for number, (_, problems) in enumerate(SAMPLES, 1) for problem in problems
    ] + ["mock.json: must be an object, not [1]"]  # fmt: skip


def test_each_chunk_of_a_ledger_has_its_kind_its_tokens_and_its_time(tmp_path: Path) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    whole = made_line(made_record(0))
    lines = [whole, {**whole, "chunk_kind": "cc"}, {**whole, "chunk_tokens": [1, 1, 1, 1]}]
    (directory.path / "ledger.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    found = [problem.partition("ledger.jsonl, ")[2] for problem in problems_of(directory)]
    assert explained(problems_of).__name__ == "problems_of"
    assert found == [
        "line 2: chunk_kind has 2 entries, and write_ns has 3", "line 3: chunk_tokens has 4 entries, and write_ns has 3",
    ]  # fmt: skip


@pytest.mark.parametrize("line", [b"5", b"[]", b"{}", b'{"id":"a","status":200,"write_ns":[1]}'])
def test_a_line_of_a_ledger_that_lacks_fields_is_named_and_breaks_nothing(tmp_path: Path, line: bytes) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    (directory.path / "ledger.jsonl").write_bytes(line + b"\n")
    found = problems_of(directory)
    assert "ledger.jsonl, line 1" in found[0]


@pytest.mark.parametrize(("damaged", "more"), [(9, False), (10, False), (11, True), (40, True)])
def test_the_first_ten_problems_are_named_and_that_there_are_more(tmp_path: Path, damaged: int, more: bool) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    (directory.path / "samples.jsonl").write_bytes(b'{"t_ns":1,"cpu":"x"}\n' * damaged)
    found = problems_of(directory)
    assert len(found) == min(damaged, 10) + more
    assert [problem.partition(":")[0].rpartition(" ")[2] for problem in found[:10]] == [
        str(line) for line in range(1, min(damaged, 10) + 1)
    ]
    assert found[10:] == [f"{directory.path}: more lines are damaged"] * more


@pytest.mark.parametrize(
    ("name", "value"),
    [("cpu", 1e308), ("run_queue_share", -1e300), ("used_s", 1e13), ("stolen_s", 1e13), ("loop_lag_ms", [1.0, 1e308])],
)
def test_a_sample_that_no_clock_can_have_measured_is_damaged(tmp_path: Path, name: str, value: object) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    file = directory.path / "samples.jsonl"
    file.write_bytes(orjson.dumps({"t_ns": 1, "cpu": 0.5, "loop_lag_ms": [0.1, 2e3]} | {name: value}) + b"\n")
    assert problems_of(directory) == [f"{file}, line 1: {name} holds more than any clock measures"]


def test_a_line_of_a_ledger_that_is_no_object_is_refused(tmp_path: Path) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    (directory.path / "ledger.jsonl").write_bytes(b"[1]\n")
    with pytest.raises(RecordError, match="line 1: no line of a ledger: it has no id"):
        evaluate(directory)


def test_a_defect_of_ours_stays_one(tmp_path: Path) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))

    def broken(_: RunDirectory) -> None:
        raise ZeroDivisionError("ours")

    assert problems_of(directory) == []
    with pytest.raises(ZeroDivisionError, match="ours"):
        explained(broken)(directory)


@pytest.mark.parametrize(("error", "told"), [(KeyError("x"), RecordError), (RuntimeError("x"), RuntimeError)])
def test_only_an_error_that_a_wrong_value_can_make_is_put_down_to_a_damaged_file(
    tmp_path: Path, error: Exception, told: type[Exception]
) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    (directory.path / "samples.jsonl").write_bytes(b"[1]\n")

    def broken(_: RunDirectory) -> None:
        raise error

    with pytest.raises(told):
        explained(broken)(directory)


def test_what_a_run_writes_is_never_called_damaged(tmp_path: Path) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4, failed=2))
    cut = to_line(made_record(9))
    with (directory.path / "requests.jsonl").open("ab") as file:
        file.write(cut[:-20])  # A torn last line is no damage.
    kept = Path(__file__).parents[3] / "fuzz" / "run"
    for name in ("requests.jsonl", "samples.jsonl", "ledger.jsonl", "mock.json"):
        (directory.path / name).write_bytes((kept / name).read_bytes())
    assert problems_of(directory) == []


def test_a_damaged_summary_is_made_again(tmp_path: Path) -> None:
    sides = [made_run(tmp_path / name, requests=40, seed=number) for number, name in enumerate("ab")]
    file = sides[1] / "summary.json"
    whole = orjson.loads(file.read_bytes())
    file.write_bytes(orjson.dumps(whole | {"latency": []}))
    assert compare(read_sides(sides)).versus
    assert orjson.loads(file.read_bytes())["latency"] == whole["latency"]


def test_a_configuration_of_other_types_is_damaged(tmp_path: Path) -> None:
    path = made_run(tmp_path / "run", requests=4)
    file = path / "run.yaml"
    file.write_text(file.read_text().replace("max_concurrency: null", "max_concurrency: [null]"))
    with pytest.raises(UsageError, match=r"the configuration in run\.yaml is damaged: .*max_concurrency"):
        evaluate(RunDirectory.open(path))


def test_a_setting_that_nobody_could_have_given_is_named_where_it_breaks_the_report(tmp_path: Path) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    file = directory.path / "run.yaml"
    text = file.read_text()
    assert "arrivals: poisson" in text
    file.write_text(text.replace("arrivals: poisson", "arrivals: a").replace("timeout: 600.0", "timeout: -1.0"))
    found = problems_of(directory)
    assert [one.removeprefix(f"{file}: config: ").partition(" ")[0] for one in found] == ["arrivals:", "timeout:"]

    def broken(_: RunDirectory) -> None:
        raise KeyError("a")

    with pytest.raises(RecordError, match=r"config: arrivals: .*poisson"):
        explained(broken)(directory)


def test_a_request_outside_the_run_is_refused(tmp_path: Path) -> None:
    """The instants of the request are in order, but all are from another time."""
    day_ns = 86_400 * 10**9
    moments = ("intended_ns", "eligible_ns", "sent_ns", "first_byte_ns", "end_ns")
    for name, by_ns, said in (
        ("before", -4_000 * 10**9, "before the run began"),
        ("after", day_ns, "after the run had ended"),
    ):
        path = made_run(tmp_path / name, requests=4, state="ended")
        file = path / "requests.jsonl"
        rows = [orjson.loads(row) for row in file.read_bytes().splitlines()]
        (path / "samples.jsonl").write_bytes(orjson.dumps({"t_ns": rows[-1]["end_ns"]}) + b"\n")
        evaluate(RunDirectory.open(path))
        # The latest sample counts, wherever it is in the file.
        instants = [{"t_ns": at} for at in (rows[0]["sent_ns"], rows[-1]["end_ns"], rows[0]["sent_ns"])]
        (path / "samples.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in instants))
        evaluate(RunDirectory.open(path))
        rows[2] |= {key: rows[2][key] + by_ns for key in moments}
        rows[2]["chunk_ns"] = [at + by_ns for at in rows[2]["chunk_ns"]]
        file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        with pytest.raises(RecordError, match=f"requests.jsonl: request made-2 .*{said}: its times are damaged"):
            evaluate(RunDirectory.open(path))


@pytest.mark.parametrize("name", ["samples.jsonl", "server.jsonl", "gpu.jsonl", "ledger.jsonl", "certificates.json"])
def test_a_file_that_the_run_wrote_and_that_is_gone_or_cut_off_makes_it_suspect(tmp_path: Path, name: str) -> None:
    path = made_run(tmp_path / "run", requests=4, files={"requests.jsonl": 1, name: 20})
    directory = RunDirectory.open(path)
    assert directory.lost({"requests.jsonl": 1, name: 20}) == [f"{name} is missing, which the run wrote"]
    found = evaluate(directory).verdict
    assert (found.of("files"), found.status) == (Status.SUSPECT, Status.SUSPECT)
    (path / name).write_bytes(b"\n" * 19)
    assert directory.lost({name: 20}) == [f"{name} has 19 of the 20 bytes that the run wrote"]
    # Lines that were saved elsewhere because the disk was full are appended by hand.
    (path / name).write_bytes(b"\n" * 21)
    assert directory.lost({name: 20}) == []


def test_files_of_workers_count_as_the_file_that_they_become(tmp_path: Path) -> None:
    directory = RunDirectory.open(made_run(tmp_path / "run", requests=4))
    for worker, line in enumerate((b"1\n", b"22\n")):
        (directory.path / f"samples-{worker}.jsonl").write_bytes(line)
    records = (directory.path / "requests.jsonl").stat().st_size
    assert directory.sizes() == {"requests.jsonl": records, "samples.jsonl": 5}
    assert directory.lost({"samples.jsonl": 5}) == []
    (directory.path / "samples-1.jsonl").unlink()
    assert directory.lost({"samples.jsonl": 5}) == ["samples.jsonl has 2 of the 5 bytes that the run wrote"]


@pytest.mark.parametrize(("number", "shown"), [(".nan", "nan"), (".inf", "inf"), ("-1", "-1")])
@pytest.mark.parametrize("end", ["suspect", "failed"])
def test_a_limit_that_no_value_can_pass_or_keep_is_refused(tmp_path: Path, end: str, number: str, shown: str) -> None:
    """No value exceeds nan or infinity, which would switch the sign off."""
    path = made_run(tmp_path / "run", requests=4)
    before = (path / "run.yaml").read_text()
    changed = re.sub(rf"(?m)^(    errors:\n(?:      .*\n)*?      {end}:) .*$", rf"\1 {number}", before, count=1)
    assert changed != before
    (path / "run.yaml").write_text(changed)
    with pytest.raises(UsageError, match=rf"run.yaml is damaged: limits.errors.{end}.*{shown}"):
        evaluate(RunDirectory.open(path))
    with pytest.raises(UsageError, match=rf"limits.errors.{end}"):
        resolve({"url": "http://h"}, {"limits": {"errors": {end: float(number.replace(".", ""))}}}, "load.yaml")


def test_a_setting_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = made_run(tmp_path / "run", requests=4)
    (path / "run.yaml").write_text((path / "run.yaml").read_text().replace("  timeout: 600.0", "  timeout: .nan"))
    with pytest.raises(UsageError, match=r"run\.yaml is damaged: timeout must be a number, not nan"):
        evaluate(RunDirectory.open(path))


def test_an_objective_of_0_1_0_that_is_refused_today_is_no_damage() -> None:
    assert [*wrong_values({"slo": ["ttft:p99>500ms"], "rate": -1}, "config:")] == [
        *wrong_values({"rate": -1}, "config:")
    ] != []  # fmt: skip


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"rate": None}, []),  # The setting was not given.
        ({"rate": -1.0}, ["rate"]),
        ({"seed": None}, ["seed"]),  # The setting has a value in each run.
        ({"timeout": 0, "concurrency": 0, "no_such_key": 0}, ["timeout", "concurrency"]),
        ({"endpoint": "my-api.yaml"}, ["endpoint"]),
        ({"endpoint": "my-api.yaml", "api": {}}, ["api"]),
    ],
)
def test_each_setting_of_a_stored_run_that_nobody_could_have_given_is_named(
    config: dict[str, Any], named: list[str]
) -> None:
    assert [said.removeprefix("config: ").partition(":")[0] for said in wrong_values(config, "config:")] == named
