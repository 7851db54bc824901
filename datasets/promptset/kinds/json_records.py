"""JSON: an array of records, like an API response or a log. Valid at any length."""

from __future__ import annotations

import json

from promptset.kinds.text_kind import TextKind
from promptset.rng import Random

_NAMES = (
    "Ada Bruno Chen Dalia Emil Farah Goran Hana Igor Jun Karim Lena Mei Noah Olga Priya Quentin Rosa Sven Tara".split()
)
_CITIES = "Lisbon Osaka Quito Tartu Leeds Porto Malmo Kyoto Dakar Perth Turin Ghent Salta Busan".split()
_STATES = "active pending closed failed archived review".split()
_TAGS = "new urgent export legacy beta mobile partner trial audit".split()


def unit(rng: Random) -> str:
    """One record."""

    def pick(of: list[str]) -> str:
        return of[int(rng.random() * len(of))]

    record: dict[str, object] = {"id": int(rng.random() * 1_000_000), "name": pick(_NAMES), "city": pick(_CITIES)}
    shape = rng.random()
    if shape < 0.5:
        record |= {"status": pick(_STATES), "amount": round(rng.random() * 5000, 2)}
    else:
        record |= {"tags": [pick(_TAGS), pick(_TAGS)], "verified": rng.random() < 0.5}
    if shape < 0.3:
        record["updated_at"] = (
            f"2025-{1 + int(rng.random() * 12):02}-{1 + int(rng.random() * 28):02}T{int(rng.random() * 24):02}:00:00Z"
        )
    return json.dumps(record)


JSON = TextKind(
    unit,
    glue=",\n",
    open='[{"title": "',
    heading_close='"},\n',
    fill_open=',\n{"note": "',
    fill_close='"}',
    close="]",
)
