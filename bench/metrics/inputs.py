"""The inputs of requests whose replies are not generated text: inputs per request, and the returned embeddings."""

from __future__ import annotations

from array import array
from collections import Counter

from bench.metrics.quantile import describe
from bench.records.record_table import RecordTable
from bench.results.tokens import InputCounts


class Inputs:
    """Folds the successful requests of the run phase."""

    def __init__(self) -> None:
        self._each = array("q")
        self._bytes = {"bytes_sent": array("q"), "bytes_received": array("q")}
        self._dimensions: Counter[int] = Counter()

    def add(self, table: RecordTable) -> None:
        """Count the inputs and bytes of requests, and the replies by their number of dimensions."""
        self._each.frombytes(table.ints("inputs").tobytes())
        self._dimensions.update(number for number in table.column("dimensions") if number is not None)

        for name, values in self._bytes.items():
            values.frombytes(table.ints(name).tobytes())

    def describe(self, inputs_are: str) -> InputCounts:
        """`inputs` of a summary: their type, their number, their distribution over the requests, and the replies by
        dimensions."""
        of_any = {name: describe(sorted(values)) for name, values in self._bytes.items()}
        return InputCounts(
            **(of_any if inputs_are in ("images", "requests") else {}),
            are=inputs_are,
            total=sum(self._each),
            per_request=describe(sorted(self._each)),
            dimensions={str(dimensions): self._dimensions[dimensions] for dimensions in sorted(self._dimensions)},
        )
