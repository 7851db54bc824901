"""The manifest next to a data set: how the file was generated, its lengths, and how many counts are exact."""

from __future__ import annotations

import hashlib
import platform
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import pairwise
from math import ceil
from typing import Any

from promptset.output_formats import Line, RequestFacts
from promptset.sharing import BLOCK, SharingTally
from promptset.tokenizer import Tokenizer

_BARS, _BINS = 40, 12
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(slots=True)
class FileSummary:
    """Collects counts and lengths line by line, for the manifest. A length takes 8 bytes."""

    head: int | None
    """Tokens before shared text. None if no sharing is planned."""
    _input: array[int] = field(default_factory=lambda: array("q"))
    _output: array[int] = field(default_factory=lambda: array("q"))
    _digest: Any = field(default_factory=hashlib.sha256)
    _tally: SharingTally | None = None
    rows: int = 0
    requests: int = 0
    bytes: int = 0
    checked: int = 0
    exact: int = 0
    _shares: bool = False

    def add(self, line: Line) -> None:
        self.rows += 1
        self.bytes += len(line.content)
        self._digest.update(line.content)
        for facts in line.requests:
            self._add(facts)

    def _add(self, facts: RequestFacts) -> None:
        self.requests += 1
        if facts.stated_tokens is not None and facts.counted_tokens is not None:
            self.checked += 1
            self.exact += facts.stated_tokens == facts.counted_tokens
        tokens = facts.counted_tokens if facts.counted_tokens is not None else facts.stated_tokens
        if tokens is not None:
            self._input.append(tokens)
            if self.head is not None:
                self._tally = SharingTally(self.head) if self._tally is None else self._tally
                self._tally.add(tokens, facts.path)
                self._shares |= bool(facts.path)
        if facts.output_tokens is not None:
            self._output.append(facts.output_tokens)

    def manifest(self, file: str, tokenizer: Tokenizer, options: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest. The same options give the same manifest, except for the versions."""
        share = self._tally.share if self._tally is not None and self._shares else None
        return {
            "schema": "promptset/manifest/1",
            "file": file,
            "sha256": self._digest.hexdigest(),
            "bytes": self.bytes,
            "rows": self.rows,
            "requests": self.requests,
            "options": dict(options),
            "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
            "exactness": {"checked": self.checked, "exact": self.exact},
            "input_tokens": _describe(self._input),
            "output_tokens": _describe(self._output),
            "sharing": None if share is None else {"planned_share": round(share, 6), "block_tokens": BLOCK},
            "versions": _versions(),
        }


def _versions() -> dict[str, str | None]:
    """Versions of everything that affects the bytes."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("trueload", "tokenizers"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _describe(lengths: Sequence[int]) -> dict[str, Any] | None:
    """Mean, quantiles and a text histogram. None without lengths. Quantile p is the value of rank ceil(p n)."""
    if not lengths:
        return None
    ordered = sorted(lengths)
    return {
        "n": len(ordered),
        "mean": round(sum(ordered) / len(ordered), 3),
        "min": ordered[0],
        **{name: ordered[ceil(p * len(ordered)) - 1] for name, p in _QUANTILES.items()},
        "max": ordered[-1],
        "histogram": histogram(ordered),
    }


def histogram(ordered: Sequence[int]) -> list[str]:
    """A text histogram over bins of equal width. `ordered` is sorted and not empty."""
    low, high = ordered[0], ordered[-1]
    width = max(1, ceil((high - low + 1) / _BINS))
    edges = list(range(low, high + 1, width))
    below = [bisect_right(ordered, edge - 1) for edge in [*edges, high + 1]]
    counts = [after - before for before, after in pairwise(below)]
    most, digits = max(counts), len(str(high))
    return [
        f"{edge:>{digits}}..{min(edge + width - 1, high):<{digits}} {count:>{len(str(most))}} "
        f"{'#' * round(_BARS * count / most)}".rstrip()
        for edge, count in zip(edges, counts, strict=True)
    ]
