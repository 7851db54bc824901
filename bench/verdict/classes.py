"""Is the measurement of one class good? What harms the run harms every class; whether requests failed is its own."""

from __future__ import annotations

from bench.verdict.finding import Verdict, worst
from bench.verdict.limits import Limits
from bench.verdict.server import errors_of

OF_EACH_CLASS = "errors"
"""The sign that looks at the requests of the class alone."""


def of_class(succeeded: int, failed: int, run: Verdict, limits: Limits) -> Verdict:
    """The verdict on a class with so many requests, from that on the run."""
    own = errors_of(succeeded, failed, 0, limits)
    findings = (*(finding for finding in run.findings if finding.sign != OF_EACH_CLASS), *own)
    return Verdict(worst(finding.status for finding in findings), findings)
