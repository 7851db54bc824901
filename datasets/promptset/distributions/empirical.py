"""Observed values: `empirical:lengths.json`, a JSON list of values, or of [value, weight].

Times are strings with a unit ("50ms"), or numbers with one common unit: `empirical:ttft.json,unit=ms`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import orjson

from promptset.distributions.atoms import Atoms
from promptset.distributions.family import Family, ParameterSet, split_pairs
from promptset.distributions.values import TEXT, UNITS_NS, Dimension, read_quantity
from promptset.errors import SpecError
from promptset.whole_file import read_bytes

_SHOWN = 5


def _value(entry: object, dimension: Dimension, unit: str) -> float:
    if isinstance(entry, bool) or not isinstance(entry, int | float | str):
        raise SpecError(f"{entry!r} is not a value")
    value = read_quantity(f"{entry}{unit}" if isinstance(entry, int | float) else entry, dimension)
    if dimension == "tokens" and not value.is_integer():
        raise SpecError(f"{entry!r} is not a whole number of tokens")
    return value


def _weight(entry: object) -> float:
    if isinstance(entry, bool) or not isinstance(entry, int | float) or not (0 <= entry < math.inf):
        raise SpecError(f"the weight {entry!r} is not a number of at least 0")
    return float(entry)


def _build(dimension: Dimension, path: str, unit: str = "") -> Atoms:
    if unit and (dimension == "tokens" or unit not in UNITS_NS):
        raise SpecError(f"unit={unit}: a time takes {', '.join(UNITS_NS)}, tokens take none")
    try:
        rows = orjson.loads(read_bytes(Path(path)))
    except OSError as e:
        raise SpecError(f"{path} cannot be read: {e.strerror}") from e
    except orjson.JSONDecodeError as e:
        raise SpecError(f"{path} is not JSON: {e}") from e
    if not isinstance(rows, list) or not rows:
        raise SpecError(f"{path} must hold a list of values, or of [value, weight], that is not empty")
    weighted, problems = [], []
    for number, row in enumerate(rows, 1):
        entry, weight = row if isinstance(row, list) and len(row) == 2 else (row, 1)
        try:
            weighted.append((_value(entry, dimension, unit), _weight(weight)))
        except SpecError as e:
            problems.append(f"{path}, entry {number}: {e}")
    if problems:
        raise SpecError.of_rows(problems, _SHOWN, f"{len(problems) - _SHOWN:,} more entries are wrong")
    return Atoms.from_weights(weighted)


def _split(text: str) -> dict[str, str]:
    # The path comes first and may contain commas. The options after it are recognized by their keys.
    path, options = text.strip(), ""
    while (cut := path.rfind(",")) >= 0 and path[cut + 1 :].strip().partition("=")[0] in ("unit", "min", "max"):
        path, options = path[:cut], f"{path[cut + 1 :]},{options}"
    if not path:
        raise SpecError("the file is missing")
    return {"path": path, **split_pairs(options)}


def _join(texts: Mapping[str, str]) -> str:
    return texts["path"] + "".join(f",{key}={text}" for key, text in texts.items() if key != "path")


FAMILY = Family(
    (ParameterSet({"path": TEXT}, _build), ParameterSet({"path": TEXT, "unit": TEXT}, _build)),
    {"tokens": "empirical:lengths.json", "time": "empirical:ttft.json,unit=ms"},
    split=_split,
    join=_join,
    listed=True,
)
