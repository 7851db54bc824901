"""A page of metrics in Prometheus' text format, read as samples by their whole name."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MOST_WHOLE = 2**63
MOST = 1e30
"""No count, size or time of a server is greater: it is what programs write that know none (the greatest double, say)."""
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Page:
    """`values` by `name{label="value",...}`, labels in order of their names; `types` by the name of the family."""

    values: dict[str, float]
    types: dict[str, str]


def sample_key(name: str, labels: dict[str, str]) -> str:
    """The whole name of a sample, as it stands in server.jsonl."""
    if not labels:
        return name
    inner = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inner}}}"


def _number(value: float) -> float:
    """The value as a file takes it: whole numbers of many digits are read as Python's own, which have no bound."""
    try:
        return value if abs(value) < _MOST_WHOLE else float(value)
    except OverflowError:
        return math.inf


def read_page(content: bytes) -> Page | None:
    """The samples of a page; None where it is no page of metrics. Values that are no numbers are left out."""
    from prometheus_client.parser import text_string_to_metric_families  # Most runs read no page.

    values: dict[str, float] = {}
    types: dict[str, str] = {}
    try:
        for family in text_string_to_metric_families(content.decode(errors="replace")):
            types[family.name] = family.type
            for sample in family.samples:
                value = _number(sample.value)
                if abs(value) <= MOST:  # Neither infinite nor NaN.
                    values[sample_key(sample.name, sample.labels)] = value
    except (ValueError, KeyError, IndexError, OverflowError):  # The last: a time of 310 digits.
        return None
    return Page(values, types) if values else None
