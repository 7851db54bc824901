"""A gate as JUnit XML, on results made by hand: failures, skips, and their counts."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from bench.report import junit
from bench.results.gate import GateLost, GateMetric, GateObjective, GateResult, GateRun
from tests.support.results import filled


def run(verdict: str, seconds: float | None, *reasons: str) -> GateRun:
    return GateRun(directory=f"runs/{verdict}", id="r", verdict=verdict, reasons=reasons, seconds=seconds)


def objective(name: str, verdict: str, why: str = "", **ends: float | None) -> GateObjective:
    return filled(GateObjective, name=name, verdict=verdict, why=why, unit="ms", value=7.0, low=6.0, high=8.0, **ends)


def metric(name: str, verdict: str) -> GateMetric:
    changes: dict[str, Any] = {"change": 0.2, "low": 0.1, "high": 0.3, "seen_from": 0.04, "margin": 0.05}
    return filled(GateMetric, name=name, title=name, verdict=verdict, ratio=True, higher_is_worse=True, **changes)


def cases(result: GateResult) -> tuple[dict[str, str], dict[str, tuple[str, str | None, str | None]]]:
    """The counts of the suite, and the tag, message and type of each case that is not good."""
    suite = ElementTree.fromstring(junit.render(result))[0]
    found = {
        f"{case.attrib['classname']} {case.attrib['name']}": (child.tag, child.get("message"), child.get("type"))
        for case in suite
        for child in case
    }
    return suite.attrib, found


RESULT: dict[str, Any] = {
    "runs": [run("VALID", 1.5), run("SUSPECT", None, "late"), run("INVALID", 2.0, "late", "slow"), run("FAILED", 0.25)],
    "objectives": [
        objective("a", "held"), objective("b", "failed"), objective("c", "not shown", "too few values"),
        objective("d", "not shown"),
    ],
    "metrics": [metric("ttft:p50", "held"), metric("ttft:p90", "failed"), metric("ttft:p99", "not shown")],
    "lost": [GateLost(name="tpot:p50", title="TPOT p50", why="the baseline has it")],
}  # fmt: skip


def test_what_fails_the_gate_is_a_failure_or_an_error_and_what_it_leaves_open_is_skipped() -> None:
    counts, found = cases(filled(GateResult, RESULT, exit=4))
    assert found == {
        "trueload.measurement runs/INVALID": ("skipped", "INVALID: late; slow", None),
        "trueload.measurement runs/FAILED": ("error", "FAILED: ", "FAILED"),
        "trueload.objective b": ("failure", "7 ms [6, 8] ms", "failed"),
        "trueload.objective c": ("skipped", "not shown: too few values", None),
        "trueload.objective d": ("skipped", "not shown: 7 ms [6, 8] ms", None),
        "trueload.baseline ttft:p90": ("failure", "+20.0% [+10.0, +30.0], allowed +5%", "failed"),
        "trueload.baseline ttft:p99": (
            "skipped", "not shown: +20.0% [+10.0, +30.0], allowed +5%; found from 4.0% on", None
        ),
        "trueload.baseline tpot:p50": ("skipped", "not compared: the baseline has it", None),
    }  # fmt: skip
    assert {name: counts[name] for name in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "12", "failures": "2", "errors": "1", "skipped": "5", "time": "3.750"
    }  # fmt: skip


def test_what_a_strict_gate_leaves_open_fails_as_its_exit_status_says() -> None:
    counts, found = cases(filled(GateResult, RESULT, exit=4, strict=True))
    assert found["trueload.measurement runs/INVALID"] == ("error", "INVALID: late; slow", "INVALID")
    assert found["trueload.objective c"] == ("failure", "not shown: too few values", "not shown")
    assert found["trueload.baseline tpot:p50"] == ("failure", "not compared: the baseline has it", "not compared")
    assert (counts["failures"], counts["errors"], counts["skipped"]) == ("6", "2", "0")


def test_invalid_runs_are_errors_if_no_other_is_left() -> None:
    for status, tag in ((3, "error"), (0, "skipped")):
        _, found = cases(filled(GateResult, runs=[run("INVALID", 1.0, "late")], exit=status))
        assert found["trueload.measurement runs/INVALID"][0] == tag


def test_what_xml_cannot_hold_is_replaced() -> None:
    counts, found = cases(filled(GateResult, runs=[run("FAILED", 1.0, "a\x00b\x1b\ud800c")]))
    assert counts["tests"] == "1"
    assert found["trueload.measurement runs/FAILED"][1] == "FAILED: a\ufffdb\ufffd\ufffdc"
