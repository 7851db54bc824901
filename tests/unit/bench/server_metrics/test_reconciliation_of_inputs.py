"""The server's counts for replies without generated text: requests or inputs, prompt tokens, and no generation tokens."""

from __future__ import annotations

import pytest

from bench.records import Outcome
from bench.results.server import Reconciliation
from tests.support.made_records import made_record
from tests.unit.bench.server_metrics.test_reconciliation import found, page

EMBEDDED = [
    made_record(i, chunks_ms=(), output_tokens=None, output_tokens_from=None, input_tokens=10, inputs=3)
    for i in range(4)
]


def counts(said: Reconciliation) -> dict[str, bool | None]:
    return {line.what: line.agree for line in said.counts}


@pytest.mark.parametrize("finished", [4, 12])
def test_a_server_may_count_requests_or_each_of_their_inputs(finished: int) -> None:
    said = found(page(0, 0, 0), page(finished, 40, 0), *EMBEDDED)
    assert counts(said) == {"requests": True, "prompt_tokens": True}
    assert said.mismatch is None
    assert "both counted 4 requests" in said.counts[0].sentence


def test_another_number_of_requests_is_told_and_no_mismatch() -> None:
    said = found(page(0, 0, 0), page(7, 40, 0), *EMBEDDED)
    assert counts(said) == {"requests": None, "prompt_tokens": True}
    assert said.counts[0].sentence == "the server finished 7 requests; 4 of the client's succeeded, with 12 inputs"


def test_prompt_tokens_that_differ_are_a_mismatch() -> None:
    said = found(page(0, 0, 0), page(12, 50, 0), *EMBEDDED)
    assert counts(said) == {"requests": True, "prompt_tokens": False}
    assert said.mismatch is not None


def test_inputs_of_requests_that_failed_are_not_counted_as_done() -> None:
    failed = made_record(9, chunks_ms=(), inputs=3, input_tokens=None, outcome=Outcome.MALFORMED)
    said = found(page(0, 0, 0), page(15, 50, 0), *EMBEDDED, failed)
    assert counts(said)["requests"] is None
