"""Random lengths and times, written in one grammar everywhere.

    128   50ms   uniform:100..500   normal:mean=1024,std=200,min=1   lognormal:mean=200ms,cv=0.5,min=10ms,max=5s
    gamma:mean=20ms,cv=0.3   exp:mean=1s   empirical:file.json   zipf:s=1.2,n=4096

A new family is one file with a `Law` and a `FAMILY`, one line in `FAMILIES`, and one row in the table of its test.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any

from promptset.distributions import constant, empirical, exponential, gamma, lognormal, normal, uniform, zipf
from promptset.distributions.distribution import Distribution
from promptset.distributions.family import Family, Law, ParameterSet
from promptset.distributions.values import QUANTITY, Dimension, write_quantity
from promptset.errors import SpecError

__all__ = ["FAMILIES", "Dimension", "Distribution", "parse"]

FAMILIES: dict[str, Family] = {
    "constant": constant.FAMILY,
    "uniform": uniform.FAMILY,
    "normal": normal.FAMILY,
    "lognormal": lognormal.FAMILY,
    "gamma": gamma.FAMILY,
    "exp": exponential.FAMILY,
    "empirical": empirical.FAMILY,
    "zipf": zipf.FAMILY,
}

_LIMITS = ("min", "max")

_LEAST_KEPT = 0.001
"""Limits that keep a smaller share of a law are refused: a value would take over a thousand draws."""


def parse(spec: str | int, dimension: Dimension) -> Distribution:
    """Parses a distribution of tokens or of time.

    Raises SpecError, which names every problem and what to write instead.
    """
    text = str(spec).strip()
    name, colon, arguments = text.partition(":")
    name = name.strip()
    if not colon:
        if name in FAMILIES and name != "constant":
            raise _refusal(text, [f"{name} needs its parameters"], FAMILIES[name], dimension)
        name, arguments = "constant", text
    family = FAMILIES.get(name)
    if family is None:
        close = get_close_matches(name, FAMILIES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(FAMILIES)}"
        raise SpecError(f"{text!r}: no distribution is called {name!r}; {hint}")
    if dimension not in family.example:
        raise SpecError(f"{text!r}: {name} gives whole numbers of tokens and cannot describe a time")
    try:
        texts = family.split(arguments)
    except SpecError as e:
        raise _refusal(text, e.problems, family, dimension) from e
    return _read(text, name, family, texts, dimension)


def _read(text: str, name: str, family: Family, texts: dict[str, str], dimension: Dimension) -> Distribution:
    parameters = {key: value for key, value in texts.items() if key not in _LIMITS}
    chosen, problems = _choose(name, family, parameters)
    readers = {**dict.fromkeys(_LIMITS, QUANTITY), **{k: v for f in family.parameter_sets for k, v in f.keys.items()}}
    values: dict[str, Any] = {}
    for key, value in texts.items():
        if key in readers:
            try:
                values[key] = readers[key].read(value, dimension)
            except SpecError as e:
                problems.append(str(e) if name == "constant" else f"{key}: {e}")
    low = values.get("min", 0.0 if family.listed or dimension == "time" else 1.0)
    high = values.get("max", math.inf)
    if dimension == "tokens":
        problems += [f"{key}={texts[key]}: write a whole number" for key in _LIMITS if values.get(key, 0.0) % 1]
    if low > high:
        problems.append(f"max must be at least {write_quantity(low, dimension)}")
    if problems or chosen is None:
        raise _refusal(text, problems, family, dimension)
    try:
        law = chosen.build(dimension, **{key: values[key] for key in parameters})
    except SpecError as e:
        raise _refusal(text, e.problems, family, dimension) from e
    written = family.join({key: readers[key].write(value, dimension) for key, value in values.items()})
    spec = written if name == "constant" else f"{name}:{written}"
    distribution = Distribution(spec, dimension, law, low, high)
    if (share := distribution.kept()) < _LEAST_KEPT:
        raise SpecError(
            f"{text!r}: only {share:.1g} of the draws lie inside the limits (at least {_LEAST_KEPT:g} must): "
            "widen min and max, or move the mean"
        )
    if not _has_mean(law, low, high):
        raise SpecError(f"{text!r}: its values grow beyond all bounds: give it a smaller spread")
    return distribution


def _has_mean(law: Law, low: float, high: float) -> bool:
    """Whether the mean inside the limits is a number of 60 bits, so a sum of some is one of 64 (in ns: 36 years)."""
    try:
        return law.partial_mean(low, high) <= 2.0**60
    except ArithmeticError:
        return False


def _choose(name: str, family: Family, texts: dict[str, str]) -> tuple[ParameterSet | None, list[str]]:
    """The parameter set with exactly these keys, or None and the problems."""
    for parameters in family.parameter_sets:
        if parameters.keys.keys() == texts.keys():
            return parameters, []
    known = list(dict.fromkeys(key for parameters in family.parameter_sets for key in parameters.keys))
    problems = []
    for key in texts:
        if key not in known:
            close = get_close_matches(key, [*known, *_LIMITS], n=1, cutoff=0.5)
            problems.append(f"{name} has no {key!r}" + (f": did you mean {close[0]!r}?" if close else ""))
    ways = ", or ".join(" and ".join(parameters.keys) for parameters in family.parameter_sets)
    return None, [*problems, f"{name} takes {ways}"]


def _refusal(text: str, problems: list[str], family: Family, dimension: Dimension) -> SpecError:
    example = family.example[dimension]
    sentences = [problem if problem.startswith(repr(text)) else f"{text!r}: {problem}" for problem in problems]
    return SpecError([f"{problem} (example: {example})" for problem in sentences])
