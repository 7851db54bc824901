"""`bench gate --slo` over hand-made runs: which objectives hold, are not shown, or fail."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from bench.records import Outcome
from bench.results.base import to_plain
from bench.results.summary import ModelNumbers
from bench.run_files.run_directory import SUMMARY
from tests.support.gating import gate, judged, spoil, verdicts
from tests.support.made_records import made_record
from tests.support.made_runs import made_run, made_side, write_run
from tests.support.results import filled


@pytest.fixture(scope="module")
def four_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs of 300 requests; nothing modifies them."""
    return made_side(tmp_path_factory.mktemp("four") / "runs", 4, requests=300)


VERDICTS = {
    "tpot:p50<6ms": "held",
    "tpot:p50<5.0ms": "not shown",
    "tpot:p50<4ms": "failed",
    "tps:p50>150": "held",
    "tps:p50>250": "failed",
    "output_tokens_per_s>20": "held",
    "error_rate<5%": "held",
    "error_rate<0.1%": "not shown",
    "ttft:p99<1s": "held",
    "ttft:p999<1s": "not shown",
    "ttft:p999<10ms": "failed",
    "tps:p999>1": "not shown",
}


def test_an_objective_fails_only_where_the_whole_interval_is_beyond_the_limit(
    four_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, document = judged(capsys, four_runs, *(word for text in VERDICTS for word in ("--slo", text)))
    assert (status, verdicts(document)) == (1, VERDICTS)


@pytest.mark.parametrize(
    ("objective", "status", "strict"),
    [("tpot:p50<6ms", 0, 0), ("tpot:p50<5.0ms", 0, 1), ("tpot:p50<4ms", 1, 1), ("ttft:p999<1s", 0, 1)],
)
def test_what_failed_fails_the_gate_and_what_is_not_shown_a_strict_one(
    four_runs: Path, objective: str, status: int, strict: int
) -> None:
    assert gate(four_runs, "--slo", objective) == status
    assert gate(four_runs, "--slo", objective, "--strict") == strict


@pytest.mark.parametrize(("limit", "verdict"), [(40, "failed"), (50.0, "not shown"), (60, "held")])
def test_one_run_is_judged_by_its_own_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: float, verdict: str
) -> None:
    run = made_run(tmp_path / "run", requests=300)
    _, document = judged(capsys, run, "--slo", f"ttft:p50<{limit}ms")
    (row,) = document["objectives"]
    assert row["verdict"] == verdict
    assert row["low"] < 50 < row["high"]


def test_two_runs_fail_an_objective_only_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow, fast = made_run(tmp_path / "1", ttft_ms=90, requests=300), made_run(tmp_path / "2", at=1, requests=300)
    slow_too = made_run(tmp_path / "3", at=2, ttft_ms=91, requests=300)
    assert verdicts(judged(capsys, slow, fast, "--slo", "ttft:p50<70ms")[1]) == {"ttft:p50<70ms": "not shown"}
    assert verdicts(judged(capsys, slow, slow_too, "--slo", "ttft:p50<70ms")[1]) == {"ttft:p50<70ms": "failed"}


MIX = {"classes": [{"name": "chat", "share": 2}, {"name": "batch", "share": 1}]}


def run_of_classes(path: Path, *, at: int = 0, batch_ms: float = 90.0, lost: int = 0) -> Path:
    """300 requests, every third of class batch: 100 with a TTFT of `batch_ms`, and `lost` failures, evenly spread."""
    records = []
    for i in range(300):
        batch, first = i % 3 == 2, 50.0 + i % 7
        chunks = [first + (batch_ms - 50.0 if batch else 0.0) + 5.0 * k for k in range(4)]
        gone = batch and (i // 3 + 1) * lost // 100 > i // 3 * lost // 100
        outcome = Outcome.HTTP_ERROR if gone else Outcome.OK
        name = "batch" if batch else "chat"
        records.append(
            made_record(i, sent_ms=100.0 * i, chunks_ms=() if gone else chunks, outcome=outcome, traffic_class=name)
        )
    return write_run(path, records, at=at, settings={"mix": MIX})


@pytest.mark.parametrize("n", [1, 3])
def test_an_objective_of_a_class_is_judged_by_its_own_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n: int
) -> None:
    runs = [run_of_classes(tmp_path / str(i), at=i, batch_ms=90.0 + i, lost=30) for i in range(n)]
    wanted = {
        "ttft{class=chat}:p50<70ms": "held",
        "ttft{class=batch}:p50<70ms": "failed",
        "ttft:p50<70ms": "held",
        "error_rate{class=batch}<15%": "failed",
        "error_rate{class=chat}<15%": "held",
        "error_rate<18%": "held",
        "ttft{class=batch}:p999<1s": "not shown",
    }
    _, document = judged(capsys, *runs, *[word for text in wanted for word in ("--slo", text)])
    assert verdicts(document) == wanted


def test_failures_in_a_row_count_as_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def failing(path: Path, at: int, failed: range) -> Path:
        outcomes = [Outcome.HTTP_ERROR if i in failed else Outcome.OK for i in range(600)]
        chunks = [(), (50.0, 55.0, 60.0)]
        records = [
            made_record(i, sent_ms=100.0 * i, chunks_ms=chunks[outcome is Outcome.OK], outcome=outcome)
            for i, outcome in enumerate(outcomes)
        ]
        return write_run(path, records, at=at)

    once = [failing(tmp_path / f"once{n}", n, range(300, 340) if n == 1 else range(0)) for n in range(3)]
    assert verdicts(judged(capsys, *once, "--slo", "error_rate<1%")[1]) == {"error_rate<1%": "not shown"}
    apart = [failing(tmp_path / f"apart{n}", n, range(7, 600, 45)) for n in range(3)]
    assert verdicts(judged(capsys, *apart, "--slo", "error_rate<1%")[1]) == {"error_rate<1%": "failed"}


def test_an_objective_of_a_class_or_a_model_that_no_run_has_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of_classes(tmp_path / "run")
    unknown = ["ttft{class=none}:p50<1s", "error_rate{model=a}<1%"]
    assert gate(run, *[word for text in ["ttft{class=chat}:p50<70ms", *unknown] for word in ("--slo", text)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: 2 problems",
        f"  - --slo \"{unknown[0]}\": no request is of the class 'none': the runs have chat, batch",
        f"  - --slo \"{unknown[1]}\": no request is of the model 'a': the runs name no models",
    ]


def test_an_objective_of_a_model_that_one_of_the_runs_lacks_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [made_run(tmp_path / str(number), at=number) for number in range(2)]
    summary = orjson.loads((runs[0] / SUMMARY).read_bytes())
    summary["models"] = [to_plain(filled(ModelNumbers, model="b", latency=summary["latency"]))]
    (runs[0] / SUMMARY).write_bytes(orjson.dumps(summary))
    status, document = judged(capsys, *runs, "--slo", "ttft{model=b}:p50<1s")
    assert (status, document["objectives"][0]["why"]) == (1, "no request is of it")


def test_an_objective_without_a_value_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made_run(tmp_path / "run", settings={"max_errors": "100%"}, requests=30, failed=30)
    spoil(run, "SUSPECT")
    status, document = judged(capsys, run, "--slo", "ttft:p50<1s")
    assert (status, document["objectives"][0]["why"]) == (1, "no request gave a value")


def test_a_gate_that_passes_what_is_not_shown_says_that_it_is_not_held(
    four_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, status, told in (([], 0, True), (["--strict"], 1, False)):
        assert gate(four_runs, "--slo", "tpot:p50<5.0ms", *flags) == status
        assert ("Not shown is not held" in " ".join(capsys.readouterr().out.split())) == told
    assert gate(four_runs, "--slo", "tpot:p50<6ms") == 0
    assert capsys.readouterr().out.startswith("The gate passed: 1 held\n")


@pytest.mark.parametrize(
    ("slow_of_ten", "limit", "verdict", "status"),
    [(0, "95%", "held", 0), (0, "99.9%", "not shown", 0), (1, "95%", "failed", 1), (1, "80%", "held", 0)],
)
@pytest.mark.parametrize("runs", [1, 3])
def test_goodput_is_the_share_of_requests_within_the_limits_of_the_gate(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    slow_of_ten: int,
    limit: str,
    verdict: str,
    status: int,
    runs: int,
) -> None:
    for n in range(runs):
        records = [
            made_record(i, sent_ms=100.0 * i, chunks_ms=(90 if i * 7 % 10 < slow_of_ten else 50, 100))
            for i in range(500)
        ]
        write_run(tmp_path / "runs" / f"{n}", records, at=n)
    found, document = judged(capsys, tmp_path / "runs", "--slo", f"goodput>={limit}", "--slo", "ttft:p50<60ms")
    (row,) = [row for row in document["objectives"] if row["name"] == f"goodput>={limit}"]
    assert (found, row["verdict"], row["unit"]) == (status, verdict, "share")
    assert row["value"] == pytest.approx(1 - slow_of_ten / 10)
    assert row["low"] <= row["value"] <= row["high"]


def test_goodput_alone_takes_the_limits_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limited = made_run(tmp_path / "a", requests=300, settings={"slo": ["ttft:p99<40ms"]})
    status, document = judged(capsys, limited, "--slo", "goodput>=95%")
    assert (status, document["objectives"][0]["value"]) == (1, 0)
    assert gate(made_run(tmp_path / "b", requests=300), "--slo", "goodput>=95%") == 2
    assert '--slo "goodput>=95%": goodput is the share of requests that keep every limit' in capsys.readouterr().err
