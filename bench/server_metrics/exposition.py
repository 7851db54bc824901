"""A metrics page in Prometheus' text format, read as samples by their full names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_WHOLE = 2**63
MOST = 1e30
"""No count, size or time of a server is greater: larger values stand for an unknown one (the greatest double, for
example)."""
_NAME_AND_LABELS = re.compile(r"[^\s{]+(\{.*\})?")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Page:
    """`values` by `name{label="value",...}`, labels sorted by name; `types` by the name of the family."""

    values: dict[str, float]
    types: dict[str, str]


def sample_key(name: str, labels: dict[str, str]) -> str:
    """The full name of a sample, as in server.jsonl."""
    if not labels:
        return name
    inner = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inner}}}"


def _number(value: float) -> float:
    """The value as a file can store it: whole numbers of many digits are Python's unbounded ints."""
    try:
        return value if abs(value) < _MOST_WHOLE else float(value)
    except OverflowError:
        return math.inf


def read_page(content: bytes) -> Page | None:
    """The samples of a page. Returns None if it is not a metrics page. Values that are not numbers are left out."""
    return PageReader().read(content)


class PageReader:
    """Reads one page repeatedly: a line takes 30 µs to parse, and most pages differ from the previous one only in
    numbers."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        """The last page without its numbers: the text before each number, and the other lines."""
        self._keys: list[str] = []
        self._types: dict[str, str] = {}

    def read(self, content: bytes) -> Page | None:
        """The same as `read_page`."""
        lines = [_halves(line) for line in content.decode(errors="replace").split("\n")]
        numbers = [number for _, number in lines if number]
        parts = [part for part, _ in lines]
        try:
            if parts == self._parts and len(numbers) == len(self._keys):
                samples = list(zip(self._keys, map(_read, numbers), strict=True))
            else:
                samples, self._types = _parsed(content)
                self._keys = [key for key, _ in samples] if _is_plain(lines, samples) else []
                self._parts = parts
        except (ValueError, KeyError, IndexError, OverflowError):  # OverflowError: a time of 310 digits.
            return None
        # Neither infinite nor NaN.
        values = {key: number for key, value in samples if abs(number := _number(value)) <= MOST}
        return Page(values, self._types) if values else None


def _parsed(content: bytes) -> tuple[list[tuple[str, float]], dict[str, str]]:
    """Every sample in line order, and the types. Raises ValueError, KeyError, IndexError or OverflowError."""
    from prometheus_client.parser import text_string_to_metric_families  # Most runs read no page.

    families = list(text_string_to_metric_families(content.decode(errors="replace")))
    samples = [(sample_key(sample.name, sample.labels), sample.value) for each in families for sample in each.samples]
    return samples, {family.name: family.type for family in families}


def _halves(line: str) -> tuple[str, str]:
    """A line's text before its number, and the number; the whole line if it is a comment or empty."""
    if line[:1] in ("#", ""):
        return line, ""
    part, _, number = line.rpartition(" ")
    return part, number


def _read(number: str) -> float:
    """A number, parsed as prometheus_client does. Raises ValueError."""
    if "_" in number:
        raise ValueError(number)
    try:
        return int(number)
    except ValueError:
        return float(number)


def _is_plain(lines: Sequence[tuple[str, str]], samples: Sequence[tuple[str, float]]) -> bool:
    """Whether each line of a page is a comment, or a name, labels and a number: no times, exemplars or extra spaces."""
    pairs = [(part, number) for part, number in lines if number]
    return len(pairs) == len(samples) and all(
        _NAME_AND_LABELS.fullmatch(part) is not None and "} " not in part and repr(_read(number)) == repr(value)
        for (part, number), (_, value) in zip(pairs, samples, strict=True)
    )
