"""The models, or adapters, among which a run draws: `a=3,b=1`, names with weights.

A text without weights is the name of a single model, whatever characters it contains. Names with a comma or an equals
sign are given with their weights as a JSON object: {"a=b": 3, "c": 1}.
"""

from __future__ import annotations

import re

import orjson

from bench.traffic.shares import Shares

MOST_MODELS = 100
_WEIGHT = re.compile(r"[0-9]*\.?[0-9]+")


def parse(text: str) -> Shares:
    """Parse the models. Raises ValueError with a sentence on what is wrong."""
    if text.startswith("{"):
        return _of_json(text)
    parts = [part.strip() for part in text.split(",")]
    weighted = [part.rpartition("=") for part in parts]
    if not any(equals and _WEIGHT.fullmatch(weight.strip()) for _, equals, weight in weighted):
        if not text.strip():
            raise ValueError("the name of a model is not empty")
        return Shares((text,), (1.0,))
    wrong = next((part for part, (name, equals, weight) in zip(parts, weighted, strict=True)
                  if not equals or not name.strip() or not _WEIGHT.fullmatch(weight.strip())), None)  # fmt: skip
    if wrong is not None:
        raise ValueError(
            f"{wrong!r} in {text!r} has no weight above 0: write NAME=WEIGHT,NAME=WEIGHT, or for names with a comma or = "
            'JSON: {"NAME": WEIGHT}'
        )
    return _checked([(name.strip(), float(weight)) for name, _, weight in weighted])


def _of_json(text: str) -> Shares:
    try:
        weights = orjson.loads(text)
    except orjson.JSONDecodeError as e:
        raise ValueError(f'not JSON ({e}): write {{"NAME": WEIGHT}}') from e
    numbers = isinstance(weights, dict) and all(
        isinstance(weight, int | float) and not isinstance(weight, bool) for weight in weights.values()
    )
    if not numbers or not weights or "" in weights:
        raise ValueError('an object of names and weights is expected, such as {"a": 3, "b": 1}')
    return _checked([(name, float(weight)) for name, weight in weights.items()])


def _checked(shares: list[tuple[str, float]]) -> Shares:
    names = [name for name, _ in shares]
    if len(set(names)) < len(names):
        raise ValueError(f"the model {next(name for name in names if names.count(name) > 1)!r} is named twice")
    if len(names) > MOST_MODELS:
        raise ValueError(f"{len(names)} models are too many: give at most {MOST_MODELS}")
    if wrong := [name for name, weight in shares if not 0 < weight <= 1e9]:
        raise ValueError(f"the weight of {wrong[0]!r} must be more than 0, and at most 1e9")
    return Shares(tuple(names), tuple(weight for _, weight in shares))
