"""Which later runs a certificate covers, what it keeps, and what it tells such a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from bench.accuracy import coverage
from bench.accuracy.coverage import CertificateBrief
from bench.accuracy.load_shape import LoadKind
from bench.config import resolve
from bench.results.base import to_plain
from bench.results.certificate import Certificate, LoadShape
from bench.results.summary import RunSummary
from tests.support.results import filled

SHAPE: dict[str, Any] = {
    "loop": "closed loop",
    "transport": "wire",
    "workers": 1,
    "stream": "streamed",
    "tls": False,
    "endpoint": "chat",
    "clock": "kernel",
    "streams": 100,
    "requests_per_s": 80.0,
    "chunks_per_s": 5_000.0,
}
ROWS = [
    {"metric": "ttft_ms", "stat": "p50", "unit": "ms", "error": 0.01},
    {"metric": "e2el_ms", "stat": "p99", "unit": "ms", "error": -0.5},
]
CERTIFICATE: dict[str, Any] = {
    "date": "2026-01-02T00:00:00+00:00",
    "version": "0.1.0",
    "shape": SHAPE,
    "status": "VALID",
    "metrics": ROWS,
    "observation_lag_ms": {"n": 3},
    "way_in_ms": {"n": 3},
    "problems": [],
}


COVERED: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    # what, changes of the certificate, changes of the run's shape, why it is not covered
    ("the same load", {}, {}, []),
    ("a smaller load", {}, {"streams": 10, "requests_per_s": 8.0, "chunks_per_s": 500.0}, []),
    ("a tenth more", {}, {"streams": 110, "chunks_per_s": 5_499.0}, []),
    ("a tenth more to the last bit", {"shape": SHAPE | {"streams": 10}}, {"streams": 11}, []),
    ("more streams", {}, {"streams": 111}, ["a larger load: 111 streams; it was made at 100"]),
    ("more requests", {}, {"requests_per_s": 90.0}, ["a larger load: 90 requests/s; it was made at 80"]),
    ("more chunks", {}, {"chunks_per_s": 6_000.0}, ["a larger load: 6,000 chunks/s; it was made at 5,000"]),
    ("chunks of which nothing is known", {}, {"chunks_per_s": None},
     ["a larger load: an unknown number of chunks/s; it was made at 5,000"]),
    ("another transport", {}, {"transport": "httpx"}, ["another transport: wire"]),
    ("an open loop", {}, {"loop": "open loop"}, ["another load: closed loop"]),
    ("two workers", {}, {"workers": 2}, ["another number of workers: 1"]),
    ("whole replies", {}, {"stream": "whole"}, ["another kind of reply: streamed"]),
    ("TLS", {}, {"tls": True}, ["another use of TLS: False"]),
    ("another endpoint", {}, {"endpoint": "messages"}, ["another endpoint: chat"]),
    ("stamps of the program", {}, {"clock": "user"}, ["another source of the time stamps: kernel"]),
    ("another version", {"version": "0.0.9"}, {}, ["it is of version 0.0.9"]),
    ("a bad certificate of this size", {"status": "INVALID"}, {"streams": 80}, []),
    ("a bad certificate of a greater load", {"status": "INVALID"}, {"streams": 79},
     ["a smaller load, and it is INVALID"]),
    ("no speed on either side", {"shape": SHAPE | {"requests_per_s": None}}, {"requests_per_s": None}, []),
]  # fmt: skip


@pytest.mark.parametrize(("what", "its", "mine", "reasons"), COVERED, ids=[what for what, *_ in COVERED])
def test_what_a_certificate_covers(what: str, its: dict[str, Any], mine: dict[str, Any], reasons: list[str]) -> None:
    assert coverage.why_not(brief(**its), shape(**mine), "0.1.0") == reasons


def shape(**changes: Any) -> LoadShape:
    return msgspec.convert(SHAPE | changes, LoadShape)


def brief(**changes: Any) -> CertificateBrief:
    return CertificateBrief.from_json(CERTIFICATE | changes)


def sized(factor: float, **changes: Any) -> CertificateBrief:
    return brief(shape=SHAPE | {key: SHAPE[key] * factor for key in coverage.SIZE}, **changes)


def test_of_several_the_nearest_is_taken_and_the_latest_of_equals() -> None:
    old, new = sized(1, date="2026-01-01T00:00:00+00:00"), sized(1, date="2026-01-03T00:00:00+00:00")
    large = sized(10, date="2026-01-04T00:00:00+00:00")
    assert coverage.closest([large, old, new], shape(), "0.1.0") == new
    assert coverage.closest([large, old], shape(streams=900), "0.1.0") == large
    assert coverage.closest([old, new], shape(streams=900), "0.1.0") is None
    assert coverage.closest([], shape(), "0.1.0") is None


def test_a_new_certificate_takes_the_place_of_those_of_its_shape() -> None:
    known = [sized(1, date="2026-01-01T00:00:00+00:00"), sized(3, date="2026-01-02T00:00:00+00:00")]
    again = sized(1.05, date="2026-01-05T00:00:00+00:00")
    assert coverage.kept_with(known, again) == [again, known[1]]
    httpx = brief(shape=SHAPE | {"transport": "httpx"})
    assert len(coverage.kept_with(known, httpx)) == 3


def test_only_the_latest_are_kept() -> None:
    found: list[CertificateBrief] = []
    for i in range(coverage.MAX_PER_MACHINE + 5):
        found = coverage.kept_with(found, sized(2.0**i, date=f"2026-01-01T00:00:{i:02}+00:00"))
    assert len(found) == coverage.MAX_PER_MACHINE
    assert {c.date[-8:-6] for c in found} == {f"{i:02}" for i in range(5, coverage.MAX_PER_MACHINE + 5)}


@pytest.mark.parametrize(
    "entry",
    [None, 3, [], {}, {"certificates": 3},
     {"certificates": [3, "x", None, {}, {"shape": 1}, CERTIFICATE | {"date": "x"}]},
     {"certificates": [CERTIFICATE | {"shape": {"loop": "closed loop"}}, CERTIFICATE | {"metrics": [{"stat": "p50"}]}]}],
)  # fmt: skip
def test_an_entry_of_another_form_holds_no_certificate(entry: Any) -> None:
    assert coverage.in_entry(entry) == []


def test_a_kept_certificate_is_read_as_it_was_written() -> None:
    head = {key: value for key, value in CERTIFICATE.items() if key != "status"}
    whole = {**head, "accuracy": "SUSPECT", "run": {}, "plots": {}, "metrics": [
        row | {"measured": 50.0, "true": 49.0, "allowed": None} for row in [*ROWS, ROWS[0] | {"metric": "tps", "unit": "1/s"}]
    ]}  # fmt: skip
    kept = CertificateBrief.of(filled(Certificate, whole))
    assert kept.to_json() == CERTIFICATE | {"status": "SUSPECT"}
    assert coverage.in_entry({"certificates": [kept.to_json(), {"half": 1}]}) == [kept]


def test_only_certificates_of_its_kind_and_version_may_cover_a_run() -> None:
    kind = LoadKind(loop="closed loop", transport="wire", stream="streamed", tls=False, workers=1, endpoint="chat")
    assert coverage.for_run([brief(), brief(version="9"), sized(2)], kind, "0.1.0") == [
        brief(),
        sized(2),
    ]
    assert coverage.for_run([brief()], replace(kind, workers=2), "0.1.0") == []


@pytest.mark.parametrize(
    ("load", "kind"),
    [({"rate": 5, "stream": False}, {"loop": "open loop", "stream": "whole"}),
     ({"concurrency": 2}, {"loop": "closed loop", "stream": "streamed"})],
)  # fmt: skip
def test_the_shape_of_a_load_comes_from_its_configuration_and_its_summary(
    load: dict[str, Any], kind: dict[str, str]
) -> None:
    summary = {
        "load": {"concurrency_max": 12, "achieved_rps": 3.0},
        "throughput": {"duration_s": 10.0},
        "instrument": {"clock": {"kernel": 90, "user": 10, "mixed": 0}},
        "tokens": {"chunks": {"with_tokens": 600}},
    }
    config = resolve({"url": "https://h", "endpoint": "messages", "transport": "wire", **load})
    assert to_plain(config.kind_for(2).measured(filled(RunSummary, summary))) == {
        **kind, "transport": "wire", "workers": 2, "tls": True,
        "endpoint": "messages", "clock": "kernel", "streams": 12, "requests_per_s": 3.0, "chunks_per_s": 60.0,
    }  # fmt: skip


def test_a_covered_run_gets_the_errors_found_then_as_shares_of_what_it_measured() -> None:
    measured = {("ttft_ms", "p50"): 20.0}
    found = brief().on_run(lambda *number: measured.get(number), "2026-01-02T01:00:05+00:00")
    assert (found.age_s, found.status) == (3_605.0, "VALID")
    assert to_plain(found)["metrics"] == [ROWS[0] | {"measured": 20.0, "error_share": 0.0005}]


def test_a_certificate_of_before_endpoints_is_of_chats() -> None:
    older = {name: value for name, value in SHAPE.items() if name != "endpoint"}
    assert brief(shape=older) == brief()


@pytest.mark.parametrize(
    "damaged",
    [
        {"version": [1]},
        {"date": "yesterday"},
        {"problems": [1]},
        {"shape": SHAPE | {"streams": []}},
        {"shape": SHAPE | {"chunks_per_s": "5"}},
        {"shape": SHAPE | {"requests_per_s": -1.0}},
        {"metrics": [ROWS[0] | {"metric": ["ttft_ms"]}]},
        {"metrics": [ROWS[0] | {"error": None}]},
    ],
)
def test_a_certificate_that_was_damaged_on_the_disk_is_as_if_it_were_not_there(damaged: dict[str, Any]) -> None:
    whole = brief().to_json()
    assert coverage.read_briefs([whole | damaged, whole]) == [brief()]
