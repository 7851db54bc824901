"""Planted defects: the certificate catches each, and names the metric, the size and the likely cause, and nothing else.

Conversely, correct clients pass, and chance alone raises alarms as often as promised.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import Exit
from bench.verdict.finding import Status
from tests.support.defects import DEFECTS, Defect
from tests.support.rendered import certificate_text
from tests.support.virtual_calibration import PLAIN_TRUTH, Answer, Client, Written, calibrated, plain

pytestmark = pytest.mark.slow


def test_a_client_that_is_right_passes_where_each_defect_is_caught(tmp_path: Path) -> None:
    found = calibrated(Client(), tmp_path)
    assert (found.verdict.status, found.verdict.reasons, found.exit) == (Status.VALID, [], Exit.GOOD)
    assert found.certificate["problems"] == []
    assert found.certificate["causes"] == []
    # The run has everything that the defects need to show: failures, warm-up, two workers, and waits for connections.
    assert found.summary["counts"]["by_outcome"] == {"ok": 278, "http_error": 1, "stream_error": 1}
    assert found.summary["counts"]["warmup"]["requests"] == 20
    assert found.certificate["counts"]["requests"] == 300


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_planted_defect_is_caught_and_named(defect: Defect, tmp_path: Path) -> None:
    found = calibrated(defect.client, tmp_path)
    assert found.verdict.status is defect.status
    assert found.exit == (Exit.INVALID if defect.status is Status.INVALID else Exit.GOOD)
    causes = [c for c in found.certificate["causes"] if c["metric"] == defect.metric and defect.cause in c["cause"]]
    assert len(causes) == 1, found.certificate["causes"]
    assert causes[0]["size"] == pytest.approx(defect.size, rel=0.1)
    assert defect.cause in " ".join(certificate_text(found.certificate).split())
    assert any(reason.startswith("calibration: ") for reason in found.verdict.reasons)


RUNS = 60
MOST_ALARMS = 8
"""At a rate of 5%, 60 runs raise more than this many alarms with a probability of 0.3% (binomial)."""

FIRST_SEED = 1_000


def alarms(folder: Path, runs: int, client: Client, factor: float = 1.0) -> Counter[str]:
    """How many runs of 80 requests raise each alarm, if the server's first token takes `factor` times as long."""

    def answer(index: int, seed: int) -> Answer:
        right = plain(index, seed)
        more_ns = round(right.written[0].at_ns * (factor - 1))
        return replace(right, written=tuple(_later(written, more_ns) for written in right.written))

    found: Counter[str] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + runs):
        one = calibrated(client, folder, seed=seed, answer=answer, requests=80, warmup=0, truth=PLAIN_TRUTH)
        found["not VALID"] += one.verdict.status is not Status.VALID
        for row in one.certificate["mock"]["closed_form"]:
            if row["noise"] is not None:
                found[f"{row['metric']} {row['stat']}"] += abs(row["difference"]) > row["noise"]
        for metric in ("ttft_ms", "tpot_ms"):
            interval = one.summary["latency"][metric].get("ci95")
            if interval is not None:  # A planted defect leaves no interval.
                assert interval["p50"] is not None
                low, high = interval["p50"]
                found[f"{metric} interval of p50"] += not low <= PLAIN_TRUTH["expected"][metric]["p50"] <= high
    return found


def _later(written: Written, more_ns: int) -> Written:
    return replace(written, at_ns=written.at_ns + more_ns)


@pytest.mark.long
def test_perfect_runs_raise_no_more_alarms_than_was_promised(tmp_path: Path) -> None:
    found = alarms(tmp_path, RUNS, Client())
    assert found["not VALID"] <= RUNS // 20
    # At most 5% of the means are off by more than chance explains, and at most 5% of the medians are outside their
    # intervals.
    assert {name: n for name, n in found.items() if n > MOST_ALARMS} == {}


def test_a_server_that_is_slower_than_it_says_raises_many_alarms(tmp_path: Path) -> None:
    found = alarms(tmp_path, 10, Client(), factor=1.25)
    assert found["ttft_ms mean"] >= 6
    assert found["ttft_ms interval of p50"] >= 6
    assert found["tpot_ms mean"] <= 3
    assert found["not VALID"] == 0  # The server's inaccuracy is no error of the client.


def test_a_client_whose_numbers_are_wrong_is_valid_in_no_run(tmp_path: Path) -> None:
    assert alarms(tmp_path, 5, DEFECTS["TPOT that includes TTFT"].client)["not VALID"] == 5
