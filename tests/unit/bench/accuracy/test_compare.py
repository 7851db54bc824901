"""The certificate: a correct client passes, and one with a planted defect is caught, with the metric named."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from bench.accuracy.compare import certify
from bench.accuracy.join import Pair
from bench.accuracy.pair_statistics import PairStatistics
from bench.accuracy.truth import true_values
from bench.metrics.quantile import describe
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.certificate import METRICS, OF_FEW
from bench.run_files.run_directory import RunDirectory
from bench.statistics.autocorrelation import act
from bench.statistics.student import t_quantile
from bench.verdict.finding import Status
from tests.support import slow_metrics
from tests.support.certified_run import LATENCY, LINES, RECORDS, N, certified, judged, summary_of
from tests.support.changed import replace
from tests.support.made_ledger import LAG_NS, WAY_IN_NS, made_line
from tests.support.made_records import START_NS, made_record
from tests.support.tables import measured, measured_of


def test_a_run_without_a_ledger_has_no_certificate(tmp_path: Path) -> None:
    assert certify(RunDirectory.create(tmp_path / "run"), cast(Any, {}), measured, start_ns=0) is None


def test_a_client_that_is_right_is_told_so(tmp_path: Path) -> None:
    rows = certified(tmp_path)
    assert rows["problems"] == []
    assert judged(rows).status is Status.VALID
    assert rows["causes"] == []
    assert {(row["metric"], row["stat"]) for row in rows["metrics"]} == {
        (metric, stat)
        for metric in METRICS.keys() - OF_FEW.keys() - {"ttfb_ms"}
        for stat in ("mean", "p50", "p75", "p90", "p95", "p99", "p999", "max")
        if stat != "p999" or metric in ("itl_ms", "chunk_gap_ms")  # There are too few requests for p999.
    }
    assert [(row["metric"], row["error_share"]) for row in rows["throughput"]] == [
        (name, pytest.approx(0, abs=1e-6))
        for name in ("requests_per_s", "output_tokens_per_s", "input_tokens_per_s", "total_tokens_per_s")
    ]


def test_each_error_is_the_lag_that_was_put_there(tmp_path: Path) -> None:
    for row in certified(tmp_path)["metrics"]:
        late = LAG_NS / 1e6 if row["metric"].startswith(("ttf", "e2el")) else 0.0
        assert row["error"] == pytest.approx(late, abs=1e-6), row
        assert row["error_share"] == pytest.approx(row["error"] / row["true"], abs=1e-9)
        assert row["measured"] == LATENCY[row["metric"]][row["stat"]]
        assert row["allowed"] is None


def test_lags_are_reported_apart(tmp_path: Path) -> None:
    rows = certified(tmp_path)
    assert (rows["observation_lag_ms"]["n"], rows["observation_lag_ms"]["p99"]) == (N * 26, pytest.approx(LAG_NS / 1e6))
    assert (rows["way_in_ms"]["n"], rows["way_in_ms"]["max"]) == (N, pytest.approx(WAY_IN_NS / 1e6))
    done = rows["mock"]["done_minus_planned_ms"]
    assert (done["n"], done["min"], done["max"]) == (N * 23, pytest.approx(0), pytest.approx(0))


def test_chunks_that_the_mock_could_not_write_and_bounded_stamps_are_left_out_of_the_lag(tmp_path: Path) -> None:
    lines = [made_line(RECORDS[0], blocked=[3, 4]), *LINES[1:]]
    bounded = replace(RECORDS[1], chunk_bound_ns=(START_NS, *[None] * 25), coalesced=1)
    rows = certified(tmp_path, [RECORDS[0], bounded, *RECORDS[2:]], lines)
    assert rows["observation_lag_ms"]["n"] == N * 26 - 3
    assert rows["counts"]["blocked"] == 2
    assert rows["problems"] == []


def test_what_the_client_cut_is_in_neither_side(tmp_path: Path) -> None:
    cut = replace(RECORDS[0], outcome=Outcome.INTERRUPTED, chunk_ns=RECORDS[0].chunk_ns[:4], chunk_kind="rttt",
                  chunk_tokens=(0, 1, 1, 1))  # fmt: skip
    assert certified(tmp_path, [cut, *RECORDS[1:]])["problems"] == []


def test_replies_that_were_not_streamed_are_compared_by_their_end(tmp_path: Path) -> None:
    records = [made_record(i, sent_ms=10 * i, chunks_ms=(), n=20, end_ns=START_NS + (10 * i + 80) * 1_000_000)
               for i in range(20)]  # fmt: skip
    rows = certified(tmp_path, records, [made_line(r) for r in records])
    assert rows["problems"] == []
    assert {row["metric"] for row in rows["metrics"]} == {"e2el_ms", "e2el_from_intended_ms"}
    assert rows["metrics"][0]["true"] == pytest.approx(80 - LAG_NS / 1e6)
    assert rows["throughput"][1]["error_share"] == pytest.approx(0, abs=1e-4)


def test_text_without_a_token_of_its_own_hands_its_time_on_in_the_truth_too() -> None:
    record = made_record(0, chunks_ms=(50, 60, 75), tokens=(1, 0, 1))
    truth = true_values(Pair(record, made_line(record)))
    assert truth["itl_ms"] == pytest.approx([ns / 1e6 for ns in slow_metrics.itl_ns(record)]) == [25.0]


def test_stamps_that_are_bounds_bound_the_numbers(tmp_path: Path) -> None:
    # The last text, usage and [DONE] come in one read, 30 ms after the text: it may have come at any time since before.
    def bounded(record: RequestRecord) -> RequestRecord:
        stamps, early = list(record.chunk_ns), record.chunk_ns[-4]
        stamps[-3] = stamps[-2]
        bounds = (*[None] * (len(stamps) - 3), early, early, None)
        return replace(record, chunk_ns=tuple(stamps), chunk_bound_ns=bounds, coalesced=2)

    rows = certified(tmp_path, [bounded(r) for r in RECORDS])
    of = {(row["metric"], row["stat"]): row for row in rows["metrics"]}
    for metric in ("e2el_ms", "tpot_ms", "itl_ms", "chunk_gap_ms", "tps", "e2el_from_intended_ms"):
        for stat in ("mean", "p50", "p99", "max"):
            low, high = of[metric, stat]["allowed"]
            assert low - 1e-9 <= of[metric, stat]["true"] <= high + 1e-9, (metric, stat)
            assert low - 1e-9 <= of[metric, stat]["measured"] <= high + 1e-9, (metric, stat)
    assert of["e2el_ms", "p50"]["error"] == pytest.approx(30, abs=0.1)
    low, high = of["e2el_ms", "p50"]["allowed"]
    assert high - low == pytest.approx(50.4, abs=0.5)
    assert of["ttft_ms", "p50"]["allowed"] is None
    assert rows["causes"] == []  # The bounds of the stamps explain it.


def test_a_wrong_number_of_bounded_stamps_is_recounted_as_it_was_stamped(tmp_path: Path) -> None:
    # Every fifth text chunk is stamped 12 ms late with a bound of 4 ms, which the bound cannot explain.
    def late(record: RequestRecord) -> RequestRecord:
        is_late = [kind != "u" and i % 5 == 4 for i, kind in enumerate(record.chunk_kind)]
        stamps = tuple(at + late * 12_000_000 for at, late in zip(record.chunk_ns, is_late, strict=True))
        bounds = tuple(at - 4_000_000 if late else None for at, late in zip(stamps, is_late, strict=True))
        return replace(record, chunk_ns=stamps, chunk_bound_ns=bounds)

    causes = {c["metric"]: c["cause"] for c in certified(tmp_path, [late(r) for r in RECORDS])["causes"]}
    assert causes["itl_ms"].startswith("the time stamps are late")
    assert causes["chunk_gap_ms"].startswith("the time stamps are late")


def test_a_server_that_miscounts_its_own_tokens_is_named(tmp_path: Path) -> None:
    records = [replace(r, output_tokens=(r.output_tokens or 0) + 5) for r in RECORDS]
    rows = certified(tmp_path, records, [line | {"fault": "usage_wrong"} for line in LINES])
    causes = {c["metric"]: c["cause"] for c in rows["causes"]}
    assert causes["tpot_ms"] == causes["tps"] == "the server's usage differs from the tokens that it sent"


SHIFT_NS = 10**15 + 123_456_789


def elsewhere(line: dict[str, Any], way_in_ms: float) -> dict[str, Any]:
    """The same line with another machine's clock; requests take this long to reach that machine."""
    moved = {key: line[key] + SHIFT_NS for key in ("handled_ns", "end_ns")}
    write_ns = [at + SHIFT_NS for at in line["write_ns"]]
    received = line["received_ns"] + SHIFT_NS + round(way_in_ms * 1e6)
    return line | moved | {"write_ns": write_ns, "received_ns": received}


def test_without_a_shared_clock_durations_are_compared_and_no_instant(tmp_path: Path) -> None:
    # 3 ms there and 3 ms back: the client sees each chunk 3 ms after it was written.
    records = [replace(r, chunk_ns=tuple(at + 3_000_000 for at in r.chunk_ns)) for r in RECORDS]
    rows = certified(tmp_path, records, [elsewhere(line, 3.0) for line in LINES], shared_clock=False)
    assert rows["problems"] == []
    assert rows["clock"] == "other"
    assert (rows["observation_lag_ms"], rows["way_in_ms"]) == ({"n": 0}, {"n": 0})
    assert rows["plots"]["lag"] == []
    network_ms = 6 + (LAG_NS + WAY_IN_NS) / 1e6
    assert rows["network_ms"] == pytest.approx(network_ms)
    for row in rows["metrics"]:
        both_ways = network_ms if row["metric"].startswith(("ttf", "e2el")) else 0.0
        assert row["error"] == pytest.approx(both_ways, abs=1e-6), row
    assert judged(rows).status is Status.VALID
    # If the same files claim a shared clock, the certificate reports that they contradict it.
    assert judged(certified(tmp_path / "wrong", records, [elsewhere(x, 3.0) for x in LINES])).status is Status.INVALID


def test_without_a_shared_clock_what_varies_is_still_an_error(tmp_path: Path) -> None:
    late = [replace(r, chunk_ns=tuple(at + (r.index % 4) * 9_000_000 for at in r.chunk_ns)) for r in RECORDS]
    rows = certified(tmp_path, late, [elsewhere(line, 3.0) for line in LINES], shared_clock=False)
    assert judged(rows).status is Status.INVALID


def test_the_mock_is_held_against_its_plan_and_its_closed_form_apart(tmp_path: Path) -> None:
    records = [made_record(i, sent_ms=10 * i, chunks_ms=[50 + i % 5 + 10 * k for k in range(6)]) for i in range(50)]
    lines = [made_line(r) for r in records]
    for line in lines:
        line["planned"]["ttft_ns"] -= 70_000
    truth = {"expected": {"ttft_ms": {"mean": 52.0, "p50": 51.9}, "tpot_ms": {"mean": 10.0}, "e2el_ms": {"mean": 102.0},
                          "output_tokens": {"mean": 6.0}}}  # fmt: skip
    rows = certified(tmp_path, records, lines, truth=truth)
    done = rows["mock"]["done_minus_planned_ms"]
    assert (done["n"], done["p50"], done["max"]) == (300, pytest.approx(0.07), pytest.approx(0.07))
    found = {(row["metric"], row["stat"]): row for row in rows["mock"]["closed_form"]}
    assert set(found) == {("ttft_ms", "mean"), ("ttft_ms", "p50"), ("tpot_ms", "mean"), ("e2el_ms", "mean"),
                          ("output_tokens", "mean")}  # fmt: skip
    arrival = (LAG_NS + WAY_IN_NS) / 1e6
    assert found["ttft_ms", "mean"]["difference"] == pytest.approx(-arrival)
    independent = 50 / (2 * act([i % 5 for i in range(50)]))
    certain = independent**2 / (independent + 10)
    noise = t_quantile(0.975, max(1.0, certain / 2 - 1)) * (2 * 50 / 49) ** 0.5 / certain**0.5
    assert found["ttft_ms", "mean"]["noise"] == pytest.approx(noise)
    assert found["ttft_ms", "p50"]["difference"] == pytest.approx(0.1 - arrival)
    # The expected E2EL assumes the lengths that the mock would choose.
    truth["expected"]["output_tokens"] = {"mean": 128.0}
    rows = certified(tmp_path / "other", records, lines, truth=truth)
    assert {row["metric"] for row in rows["mock"]["closed_form"]} == {"ttft_ms", "tpot_ms"}


def test_lost_chunks_have_a_cause_of_their_own(tmp_path: Path) -> None:
    records = [
        replace(r, chunk_ns=r.chunk_ns[:-2] + r.chunk_ns[-1:], chunk_kind=r.chunk_kind[:-2] + "o",
                chunk_tokens=(r.chunk_tokens or ())[:-1]) if r.index % 10 == 0 else r
        for r in RECORDS
    ]  # fmt: skip
    rows = certified(tmp_path, records)
    (cause,) = rows["causes"]
    assert (cause["metric"], cause["size"]) == ("chunks", -10)
    assert cause["cause"].startswith("chunks are lost in 10 requests, mostly 1 in each")


def test_quantiles_averaged_over_workers_are_named(tmp_path: Path) -> None:
    # Worker 1 has a fifth of the requests, and they are slow: the average of two p90s is not the p90 of all requests.
    records = [made_record(i, sent_ms=i, worker=int(i % 5 == 0),
                           chunks_ms=[(90 if i % 5 == 0 else 50) + i * 0.05 + 10 * k for k in range(4)])
               for i in range(200)]  # fmt: skip
    summary = summary_of(records)
    by_worker = [
        to_plain(describe(sorted(slow_metrics.ttft_ms(r) or 0.0 for r in records if r.worker == w))) for w in (0, 1)
    ]
    averaged = {key: sum(row[key] for row in by_worker) / 2 for key in by_worker[0] if key != "n"}
    latency = summary["latency"] | {"ttft_ms": averaged | {"n": 200}}
    rows = certified(tmp_path, records, [made_line(r) for r in records], latency)
    (cause,) = rows["causes"]
    assert (cause["metric"], cause["cause"]) == ("ttft_ms", "quantiles of the workers are averaged")


def test_the_largest_errors_of_single_requests_are_named(tmp_path: Path) -> None:
    late = [replace(r, chunk_ns=tuple(at + 40_000_000 for at in r.chunk_ns)) if r.index == 7 else r for r in RECORDS]
    worst = certified(tmp_path, late)["worst"]
    assert {row["id"] for row in worst[:2]} == {"made-7"}
    assert worst[0]["error"] == pytest.approx(40 + LAG_NS / 1e6)


def test_errors_over_time_stand_where_they_happened(tmp_path: Path) -> None:
    # Requests end some 540 ms after they are sent, one every 20 ms: the last twenty are late.
    late = [replace(r, chunk_ns=tuple(at + 5_000_000 for at in r.chunk_ns)) if r.index >= 80 else r for r in RECORDS]
    series = certified(tmp_path, late)["plots"]["over_time"]
    ttft = [ms for ms in series["ttft_ms"]["max"] if ms is not None]
    assert ttft[0] == pytest.approx(LAG_NS / 1e6)
    assert ttft[-1] == pytest.approx(5 + LAG_NS / 1e6)
    lag = [(t, ms) for t, ms in zip(series["t_s"], series["lag_ms"]["max"], strict=True) if ms is not None]
    first_late = min(t for t, ms in lag if ms > 4)
    assert first_late == pytest.approx(1.6, abs=0.1)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_chunks() -> None:
    import gc
    import tracemalloc

    # All times lie in one slice of the run and are the same for every fifth request: 5 requests fill all that is bounded.
    pairs = PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=1e6, exact=1_000)
    held_mb = []
    tracemalloc.start()
    for i in range(20):
        record = made_record(i, sent_ms=i % 5, chunks_ms=[50.0 + 20 * k + i % 5 for k in range(500)])
        pairs.add(Pair(record, made_line(record)), measured_of(record))
        del record
        if i in (4, 19):
            gc.collect()
            held_mb.append(tracemalloc.get_traced_memory()[0] / 1e6)
    tracemalloc.stop()
    assert pairs.true["itl_ms"].n == 20 * 499
    # A single distribution that keeps the 7,500 times of the later requests takes 0.06 MB; the values of requests take 0.01.
    assert held_mb[1] - held_mb[0] < 7_500 * 8 / 1e6 / 3


def test_arrivals_that_were_not_due_as_planned_are_a_problem_with_a_cause(tmp_path: Path) -> None:
    # Request i was due 20 ms after the one before it; a plan of 19 ms has each a millisecond later than the last.
    as_planned, slipped = (
        certified(tmp_path / str(gap), planned=iter([START_NS + gap * 1_000_000 * i for i in range(N)]))
        for gap in (20, 19)
    )
    assert as_planned["problems"] == as_planned["causes"] == []
    said = "99 of 100 arrivals were not due when the drawn plan says, up to +99.000 ms off"
    assert slipped["problems"] == [said]
    assert [(cause["metric"], cause["size"]) for cause in slipped["causes"]] == [("arrivals", 99.0)]
