"""What a target is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Form = Literal["bytes", "json", "yaml"]


@dataclass(frozen=True, slots=True)
class Target:
    """`read` takes one input and returns; whatever it raises is a defect of the reader.

    `form` is what inputs look like: mutations change JSON values (also those of each line of a file) or YAML values as
    values, beside changing bytes. `words` are put in by mutations. `more_seeds` makes inputs that no corpus needs to keep.
    `missing` says why the target cannot run here; empty: it can.
    """

    read: Callable[[bytes], None]
    form: Form = "bytes"
    words: tuple[bytes, ...] = ()
    more_seeds: Callable[[], list[bytes]] = list
    missing: str = ""


def split_input(data: bytes) -> tuple[list[int], bytes]:
    """The cuts that an input begins with, and the rest: how many cuts (1 byte), the cuts (2 bytes each)."""
    if not data:
        return [], b""
    end = 1 + 2 * (data[0] % 16)
    return [int.from_bytes(data[i : i + 2], "big") for i in range(1, min(end, len(data)), 2)], data[end:]


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data in pieces, cut at these places (modulo its length)."""
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(borders)]
