"""A random mix of English, code, JSON and Chinese, each on its own lines."""

from __future__ import annotations

from promptset.kinds import chinese, code, english, json_records
from promptset.kinds.text_kind import TextKind
from promptset.rng import Random

_PARTS = (english.unit, code.unit, json_records.unit, chinese.unit)


def unit(rng: Random) -> str:
    """One unit of one of the kinds."""
    return _PARTS[int(rng.random() * len(_PARTS))](rng)


MIXED = TextKind(unit, glue="\n", fill_open="\n")
