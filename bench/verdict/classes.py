"""Is the measurement of one class good? What harms the run harms every class; whether requests failed is its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Verdict, worst
from bench.verdict.limits import Limits
from bench.verdict.server import errors

if TYPE_CHECKING:
    from bench.documents.summary import NumbersDocument

OF_EACH_CLASS = "errors"
"""The sign that looks at the requests of the class alone."""


def of_class(numbers: Mapping[str, Any], run: Verdict, evidence: RunEvidence, limits: Limits) -> Verdict:
    """The verdict on a class with these numbers, from that on the run."""
    counts = {"succeeded": numbers["succeeded"], "failed": numbers["failed"], "failed_unsent": 0}
    # The sign looks at these alone.
    own = errors(replace(evidence, summary=cast("NumbersDocument", {"counts": counts})), limits)
    findings = (*(finding for finding in run.findings if finding.sign != OF_EACH_CLASS), *own)
    return Verdict(worst(finding.status for finding in findings), findings)
