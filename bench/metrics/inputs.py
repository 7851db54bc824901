"""What requests were made of whose replies are no generated text: inputs a request, and the embeddings that came back."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

from bench.metrics.quantile import describe
from bench.records import RequestRecord


class Inputs:
    """Folds the successful requests of the run phase."""

    def __init__(self) -> None:
        self._each = array("q")
        self._dimensions: Counter[int] = Counter()

    def add(self, record: RequestRecord) -> None:
        """Count the inputs of a request, and the replies of each number of dimensions."""
        assert record.inputs is not None
        self._each.append(record.inputs)
        if record.dimensions is not None:
            self._dimensions[record.dimensions] += 1

    def describe(self, inputs_are: str) -> dict[str, Any]:
        """`inputs` of a summary: what they are, how many, their distribution over the requests, and the replies by their
        dimensions."""
        return {
            "are": inputs_are,
            "total": sum(self._each),
            "per_request": describe(sorted(self._each)),
            "dimensions": {str(dimensions): self._dimensions[dimensions] for dimensions in sorted(self._dimensions)},
        }
