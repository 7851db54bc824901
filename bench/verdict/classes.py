"""Is the measurement of one class good? Anything that harms the run harms every class, but failed requests count per
class."""

from __future__ import annotations

from collections.abc import Iterator

from bench.results.summary import PartNumbers
from bench.verdict.finding import Finding, Status, Verdict, worst
from bench.verdict.limits import Limits
from bench.verdict.server import errors_of

OF_EACH_CLASS = "errors"
"""The sign that looks only at the class's own requests."""
NOTHING = "nothing_measured"


def of_class(part: PartNumbers, run: Verdict, limits: Limits) -> Verdict:
    """The verdict on a class with these numbers, from the verdict on the run."""
    of_run = [finding for finding in run.findings if finding.sign != OF_EACH_CLASS]
    nothing = () if run.of(NOTHING) is not Status.VALID else _nothing_measured(part)
    findings = (*of_run, *errors_of(part.succeeded, part.failed, 0, limits), *nothing)
    return Verdict(worst(finding.status for finding in findings), findings)


def _nothing_measured(part: PartNumbers) -> Iterator[Finding]:
    """A class with a small share may have no request in a short run."""
    if part.succeeded or part.failed or part.by_outcome.get("cancelled"):
        return
    due = sum(part.by_outcome.values())
    why = f"none of its {due:,} requests ended before the run did" if due else "the run has no request of this class"
    yield Finding(NOTHING, Status.INVALID, 0.0, f"nothing was measured: {why}")
