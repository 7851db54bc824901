"""The document of a certificate made by hand: each sentence, table and tile with its numbers."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents.certificate_document import (
    OTHER_CLOCK,
    certificate_document,
    earlier_errors,
    errors,
    ledger_document,
    wide,
)
from bench.documents.document import Facts, Finding, Findings, Level, Table, Tiles
from bench.results.certificate import Certificate, KnownErrorRow, LedgerCalibration, NumberRow
from tests.support.results import filled


def row(metric: str = "ttft_ms", stat: str = "p50", **fields: Any) -> dict[str, Any]:
    return {"metric": metric, "stat": stat, "unit": "ms", "measured": 51.5, "true": 50.0, "error": 1.5,
            "error_share": 0.03, **fields}  # fmt: skip


def ledger(**fields: Any) -> list[Any]:
    """The blocks of a calibration."""
    usual: dict[str, Any] = {"clock": "shared", "mock": {"done_minus_planned_ms": {"n": 0}, "closed_form": []},
                             "observation_lag_ms": {"n": 0}, "way_in_ms": {"n": 0}}  # fmt: skip
    (section,) = ledger_document(filled(LedgerCalibration, {**usual, **fields})).sections
    return list(section.blocks)


def tables(blocks: list[Any]) -> dict[str, Table]:
    return {block.title: block for block in blocks if isinstance(block, Table)}


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


AGREEMENT = [
    {"what": "requests", "here": 1234, "there": 1234}, {"what": "chunks", "here": 5, "there": 6},
    {"what": "outcome ok", "here": 9, "there": 9}, {"what": "status 200", "here": 9, "there": 9},
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, [("1,234 requests, 6 chunks: all agree (outcome ok, status 200)", "")]),
        ({"problems": ["one is lost", "one is twice"]},
         [("Compared: 1,234 requests, 6 chunks (outcome ok, status 200)", ""), ("one is lost", "bad"),
          ("one is twice", "bad")]),
        ({"causes": [{"metric": "chunks", "size": -2.0, "cause": "chunks are lost"}], "counts": {"blocked": 1234}},
         [("1,234 requests, 6 chunks: all agree (outcome ok, status 200)", ""), ("chunks are lost (-2 in all)", "warn"),
          ("1,234 chunks waited in the mock because the client read too slowly; the lag leaves them out", "")]),
        ({"clock": "other", "network_ms": 1.25},
         [("1,234 requests, 6 chunks: all agree (outcome ok, status 200)", ""),
          (f"{OTHER_CLOCK} The network takes at least 1.250 ms.", "warn")]),
        ({"clock": "other", "network_ms": None},
         [("1,234 requests, 6 chunks: all agree (outcome ok, status 200)", ""), (OTHER_CLOCK, "warn")]),
    ],
)  # fmt: skip
def test_a_calibration_says_what_agreed_and_what_did_not(fields: dict[str, Any], said: list[tuple[str, str]]) -> None:
    first, *_ = ledger(agreement=AGREEMENT, **fields)
    assert isinstance(first, Findings)
    assert first.sentences == tuple(Finding(text, tone) for text, tone in said)  # type: ignore[arg-type]


def test_sums_that_must_agree_are_beside_each_other() -> None:
    table = tables(ledger(agreement=AGREEMENT[:2]))["What must agree exactly"]
    assert texts(table) == [["Requests", "1,234", "1,234", "agrees"], ["Chunks", "5", "6", "differs"]]
    assert [row.cells[-1].tone for row in table.rows] == ["good", "bad"]
    assert (table.level, table.half) == (Level.DETAILS, True)


def test_each_number_has_its_true_value_and_its_error_as_a_share() -> None:
    rows = [row(), row(stat="p99", error=-0.25, true=60.0, error_share=None, allowed=[-1.0, 1.5]),
            row("tpot_ms", "p50", error=0.0, true=5.0, error_share=0.0)]  # fmt: skip
    table = errors([filled(NumberRow, each) for each in rows], [])
    assert [column.title for column in table.columns] == ["Metric", "Median", "P99"]
    assert texts(table) == [["TTFT", "+1.500", "-0.250"], ["TPOT", "+0.000", "too few"]]
    assert [[cell.below for cell in each.cells[1:]] for each in table.rows] == [
        [("50", "+3.00%", ""), ("60", "–", "-1–1.500")], [("5", "+0.00%", ""), ()],
    ]  # fmt: skip
    assert [each.cells[0].unit for each in table.rows] == ["ms", "ms"]
    assert table.rows[1].cells[2].tone == "quiet"
    assert len(table.notes) == 1


def test_a_narrow_terminal_drops_the_columns_of_least_interest_first() -> None:
    stats = ("mean", "p50", "p75", "p90", "p95", "p99", "p999", "max")
    table = errors([filled(NumberRow, row(stat=stat)) for stat in reversed(stats)], [])
    assert [(column.title, column.drop) for column in table.columns] == [
        ("Metric", 0), ("Average", 0), ("Median", 0), ("P75", 1), ("P90", 0), ("P95", 4), ("P99", 0), ("P99.9", 2),
        ("Max", 3),
    ]  # fmt: skip


SAME = [row(), row("ttft_from_intended_ms"), row("ttfo_ms"), row("ttft_from_intended_ms", "p99"), row(stat="p99")]


@pytest.mark.parametrize(
    ("rows", "shown", "note"),
    [
        (SAME, ["TTFT"], "Left out: TTFT from due has the values of TTFT, TTFO has the values of TTFT."),
        ([row(), row("ttfo_ms", true=50.5)], ["TTFT", "TTFO"], None),
        ([row(), row("ttfo_ms", measured=51.0)], ["TTFT", "TTFO"], None),
        ([row(), row("ttfo_ms"), row("ttfo_ms", "p99")], ["TTFT", "TTFO"], None),
        ([row("ttfo_ms"), row("itl_ms")], ["TTFO", "ITL"], None),
    ],
)
def test_a_metric_with_the_values_of_another_is_left_out(
    rows: list[dict[str, Any]], shown: list[str], note: str | None
) -> None:
    table = errors([filled(NumberRow, each) for each in rows], [])
    assert [texts[0] for texts in texts(table)] == shown
    assert table.notes[1:] == (() if note is None else (note,))


@pytest.mark.parametrize(
    ("allowed", "true", "worth"),
    [
        (None, 50.0, False),
        ([None, 0.0], 50.0, True),
        ([0.0, None], 50.0, True),
        ([0.0, 0.125], 50.0, False),  # A quarter of a percent is not more than that.
        ([0.0, 0.1251], 50.0, True),
        ([0.0, 0.1251], -50.0, True),
        ([0.0, 0.0005], 0.0, False),
        ([0.0, 0.0006], 0.0, True),
        ([-0.1, 0.1], 100.0, False),
    ],
)
def test_what_the_stamps_allow_is_shown_if_it_is_more_than_the_histogram_allows(
    allowed: list[float | None] | None, true: float, worth: bool
) -> None:
    assert wide(filled(NumberRow, row(allowed=allowed, true=true))) is worth


def test_errors_of_an_earlier_calibration_stand_below_what_this_run_measured() -> None:
    rows = [filled(KnownErrorRow, metric=metric, stat=stat, unit="ms", error=error, measured=200.0, error_share=error / 200)
            for metric, stat, error in (("ttft_ms", "p99", 0.5), ("e2el_ms", "p50", -1.0))]  # fmt: skip
    table = earlier_errors(rows)
    assert [column.title for column in table.columns] == ["Metric", "Median", "P99"]
    assert texts(table) == [["TTFT", "–", "+0.500"], ["E2EL", "-1.000", "–"]]
    assert table.rows[0].cells[2].below == ("200", "+0.25%")
    assert (table.rows[0].cells[1].tone, table.below) == ("quiet", ("measured", "of it"))


def test_each_replica_has_the_errors_of_its_own_numbers() -> None:
    targets = [{"target": "a", "requests": 1234, "metrics": [row(), row("e2el_ms", "p99", error=-2.0)]},
               {"target": "b", "requests": 0, "metrics": []}]  # fmt: skip
    table = tables(ledger(per_target=targets))["Error of each replica"]
    assert [column.title for column in table.columns] == [
        "Replica", "Requests", "TTFT median (ms)", "TTFT p99 (ms)", "TPOT median (ms)", "TPOT p99 (ms)", "E2EL median (ms)",
        "E2EL p99 (ms)",
    ]  # fmt: skip
    few = "too few"
    assert texts(table) == [["a", "1,234", "+1.500", few, few, few, few, "-2.000"], ["b", "0", *[few] * 6]]
    assert "Error of each replica" not in tables(ledger(per_target=[]))
    assert "Error of each replica" not in tables(ledger())


def test_rates_have_their_error_as_a_share() -> None:
    rates = [row("requests_per_s", "mean", unit="1/s", measured=9.5, true=10.0, error=-0.5, error_share=-0.05)]
    table = tables(ledger(throughput=rates))["Throughput"]
    assert texts(table) == [["requests/s", "9.500", "10", "-5.00%"]]


def test_stamps_and_the_mock_have_their_quantiles() -> None:
    lag = {"n": 1234, "p50": 0.01234, "p99": 0.5, "max": 2.0}
    mock = {"done_minus_planned_ms": lag, "closed_form": []}
    found = tables(ledger(observation_lag_ms=lag, mock=mock))["Time stamps"]
    numbers = ["1,234", "0.0123", "0.5000", "2.0000"]
    assert texts(found) == [["Observation lag", *numbers], ["The mock's own accuracy", *numbers]]
    assert "Time stamps" not in tables(ledger())


def test_the_mock_is_compared_with_what_it_promises() -> None:
    deviation = {"metric": "ttft_ms", "stat": "p50", "unit": "ms", "expected": 50.0, "done": 50.5, "difference": 0.5}
    rows = [{**deviation, "noise": 1.25}, {**deviation, "stat": "p99", "noise": None},
            {**deviation, "metric": "output_tokens", "stat": "p50", "unit": "tokens", "noise": 0.5}]  # fmt: skip
    mock = {"done_minus_planned_ms": {"n": 0}, "closed_form": rows}
    table = tables(ledger(mock=mock))["The mock against its closed form"]
    assert texts(table) == [["TTFT", "+0.500", "+0.500"], ["Output tokens", "+0.500", "–"]]
    assert [each.cells[0].unit for each in table.rows] == ["ms", "tokens"]
    assert [cell.below for cell in table.rows[0].cells[1:]] == [("50", "50.50", "1.250"), ("50", "50.50", "")]
    assert (table.rows[1].cells[2].tone, table.level) == ("quiet", Level.DETAILS)
    assert "The mock against its closed form" not in tables(ledger())


def test_the_largest_errors_name_their_requests() -> None:
    worst = [{"id": "r1", "metric": "e2el_ms", "measured": 12.5, "true": 10.0, "error": 2.5}]
    table = tables(ledger(worst=worst))["The largest errors of single requests"]
    assert texts(table) == [["r1", "E2EL", "12.50", "10", "+2.500"]]
    assert (table.rows[0].cells[0].code, table.half, table.level) == (True, True, Level.PAGE)
    assert "The largest errors of single requests" not in tables(ledger())


def certificate(**fields: Any) -> Any:
    """The document of a certificate with one error."""
    usual: dict[str, Any] = {
        "verdict": {"status": "SUSPECT", "reasons": ["it is off"]}, "date": "today", "metrics": [row()],
        "plots": {"over_time": {"step_s": 1.0, "t_s": [0.0]}},
    }  # fmt: skip
    return certificate_document(filled(Certificate, {**usual, **fields}))


def test_a_certificate_says_where_and_when_it_was_made() -> None:
    document = certificate(run={"name": "mine", "host": {"name": "here"}})
    assert (document.about, document.name) == ("here · mine · today", "Certificate: mine")
    (banner,) = document.banners
    assert (banner.status, banner.tone, [reason.text for reason in banner.reasons]) == (
        "SUSPECT",
        "warn",
        ["it is off"],
    )
    assert banner.meaning.startswith("Some numbers of this load are off")
    assert certificate(run={"name": "mine", "host": {}}).about == "a machine · mine · today"
    assert certificate(run={"name": ""}).name == "Certificate: calibration"
    assert [section.level for section in document.sections] == [Level.BRIEF, Level.BRIEF, Level.PAGE, Level.BRIEF]


@pytest.mark.parametrize(
    ("fields", "tiles"),
    [
        ({}, [("Largest error, median", "+1.500", "ms", "of TTFT")]),
        ({"metrics": [], "agreement": AGREEMENT[:2], "counts": {"differing": 0}},
         [("Requests compared", "1,234", "", "all agree"), ("Chunks compared", "6", "", "all agree")]),
        ({"metrics": [], "agreement": AGREEMENT[1:], "counts": {"differing": 1234}},
         [("Chunks compared", "6", "", "1,234 differ")]),
        ({"metrics": [], "observation_lag_ms": {"n": 1, "p50": 0.25, "p99": 0.5, "max": 1.0}},
         [("Observation lag", "0.250", "ms", "P99 0.500")]),
        ({"metrics": [row("e2el_ms", stat, error=sign * 2.0) for stat, sign in (("p90", 1), ("p99", -1), ("p95", 1))]
          + [row("itl_ms", stat, error=-0.5) for stat in ("p90", "p99")]},
         [("Largest error, p90", "+2.000", "ms", "of E2EL"), ("Largest error, p99", "-2.000", "ms", "of E2EL")]),
    ],
)  # fmt: skip
def test_a_certificate_begins_with_its_largest_errors(
    fields: dict[str, Any], tiles: list[tuple[str, str, str, str]]
) -> None:
    (found,) = certificate(**fields).sections[0].blocks
    assert isinstance(found, Tiles)
    assert [(tile.title, tile.value, tile.unit, tile.beside) for tile in found.tiles] == tiles


def facts(**fields: Any) -> dict[str, dict[str, str]]:
    blocks = certificate(**fields).sections[-1].blocks
    assert all(isinstance(block, Facts) and block.half for block in blocks)
    return {block.title: {fact.name: fact.value for fact in block.rows} for block in blocks}


@pytest.mark.parametrize("command", ["bench 'a b'", ["bench", "a b"]])
def test_a_certificate_describes_its_load_and_its_machine(command: str | list[str]) -> None:
    shape = {"streams": 12, "requests_per_s": 2.5, "chunks_per_s": None, "loop": "open loop", "transport": "wire",
             "workers": 1, "stream": "streamed", "clock": "kernel"}  # fmt: skip
    run = {"command": command, "host": {"name": "here", "cpu": {"cores": 2}}, "versions": {"python": "3.12"}}
    assert facts(shape=shape, run=run) == {
        "The load": {
            "Most streams at once": "12", "Requests/s": "2.500", "Chunks of text/s": "–", "Kind of load": "open loop",
            "Transport": "wire", "Workers": "1", "Replies": "streamed", "Time stamps": "kernel", "Command": "bench 'a b'",
        },
        "The machine": {"name": "here", "cpu": "cores 2", "python": "3.12"},
    }  # fmt: skip


def test_a_certificate_names_the_errors_above_which_it_is_not_valid() -> None:
    limits = {
        "calibration_p99_ms": {"suspect": None},
        "calibration_p50_p90_ms": {"invalid": 1.0, "suspect": 0.2},
        "calibration_p50_p90_share": None,
        "calibration_throughput_share": {"suspect": 0.0, "failed": 0.125},
        "other": {"suspect": 5},
    }
    assert facts(run={"config": {"limits": limits}})["Limits of errors"] == {
        "Median and p90": "over 0.200 ms suspect, over 1 ms invalid",
        "Rates per second": "over 0% suspect, over 12.5% failed",
    }
    assert "Limits of errors" not in facts(run={"config": {"limits": {"calibration_p99_ms": {"suspect": None}}}})
    assert "Limits of errors" not in facts(run={"config": {"limits": [1]}})
