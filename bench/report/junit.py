"""A gate as JUnit XML (`bench/report/junit.xsd`), which CI servers show as tests.

Each run, objective and number is a test case. What fails the gate is a failure, or an error if it is a run; what the gate
leaves open is skipped: objectives and numbers that are not shown, numbers that the baseline alone has, INVALID runs. With
--strict these fail too.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bench.documents.comparison import change_text, interval_text, seen_text
from bench.documents.formatting import measured
from bench.documents.gate_document import allowed_text, objective_interval
from bench.results.gate import GateResult

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(document: GateResult) -> bytes:
    """The XML of a gate."""
    suite = ElementTree.Element("testsuite", name="trueload gate")
    undecided = "failure" if document.strict else "skipped"
    for run in document.runs:
        case = _case(suite, "measurement", run.directory)
        if run.verdict in ("INVALID", "FAILED"):
            left_out = run.verdict == "INVALID" and document.exit != 3 and not document.strict
            _add(case, "skipped" if left_out else "error", f"{run.verdict}: {'; '.join(run.reasons)}", run.verdict)
    for objective in document.objectives:
        case = _case(suite, "objective", objective.name)
        message = f"{measured(objective.value, objective.unit)} {objective_interval(objective)}".strip()
        _judge(case, objective.verdict, message, f"not shown: {objective.why or message}", undecided)
    for row in document.metrics:
        case = _case(suite, "baseline", row.name)
        message = f"{change_text(row)} {interval_text(row)}, allowed {allowed_text(row)}"
        _judge(case, row.verdict, message, f"not shown: {message}; found from {seen_text(row)} on", undecided)
    for number in document.lost:
        _add(_case(suite, "baseline", number.name), undecided, f"not compared: {number.why}", "not compared")
    cases = list(suite)
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("tests", str(len(cases)))
    suite.set("time", f"{sum(run.seconds or 0 for run in document.runs):.3f}")
    totals = {name: suite.attrib[name] for name in ("tests", "failures", "errors")}
    suites = ElementTree.Element("testsuites", {"name": "trueload", **totals})
    suites.append(suite)
    ElementTree.indent(suites)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(suite: ElementTree.Element, kind: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=f"trueload.{kind}", name=_clean(name))


def _judge(case: ElementTree.Element, verdict: str, message: str, unclear: str, undecided: str) -> None:
    if verdict == "failed":
        _add(case, "failure", message, "failed")
    elif verdict == "not shown":
        _add(case, undecided, unclear, verdict)


def _add(case: ElementTree.Element, tag: str, message: str, kind: str) -> None:
    # A skipped case has no type in the schema.
    attributes = {"message": _clean(message)} | ({} if tag == "skipped" else {"type": kind})
    ElementTree.SubElement(case, tag, attributes)


def _clean(text: str) -> str:
    """Replace characters that XML cannot hold: a server's text may contain any."""
    return _NOT_IN_XML.sub("\ufffd", text)
