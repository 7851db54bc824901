"""Random lengths and times, written in one grammar everywhere.

    128   50ms   uniform:100..500   normal:mean=1024,std=200,min=1   lognormal:mean=200ms,cv=0.5,min=10ms,max=5s
    gamma:mean=20ms,cv=0.3   exp:mean=1s   empirical:file.json   zipf:s=1.2,n=4096

A new family is one file with a `Law` and a `KIND`, one line in `KINDS`, and one row in the table of its test.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any

from promptset.distributions import constant, empirical, exponential, gamma, lognormal, normal, uniform, zipf
from promptset.distributions.distribution import Distribution
from promptset.distributions.kind import Form, Kind
from promptset.distributions.values import QUANTITY, Dimension, write_quantity
from promptset.errors import SpecError

__all__ = ["KINDS", "Dimension", "Distribution", "parse"]

KINDS: dict[str, Kind] = {
    "constant": constant.KIND,
    "uniform": uniform.KIND,
    "normal": normal.KIND,
    "lognormal": lognormal.KIND,
    "gamma": gamma.KIND,
    "exp": exponential.KIND,
    "empirical": empirical.KIND,
    "zipf": zipf.KIND,
}

_LIMITS = ("min", "max")

_LEAST_KEPT = 0.001
"""Limits that keep less of a law than this are refused: drawing again would take a thousand draws a value and more."""


def parse(spec: str | int, dimension: Dimension) -> Distribution:
    """The distribution that `spec` describes, of tokens or of time.

    Raises SpecError, which names every problem and what to write instead.
    """
    text = str(spec).strip()
    name, colon, arguments = text.partition(":")
    name = name.strip()
    if not colon:
        if name in KINDS and name != "constant":
            raise _refused(text, [f"{name} needs its parameters"], KINDS[name], dimension)
        name, arguments = "constant", text
    kind = KINDS.get(name)
    if kind is None:
        close = get_close_matches(name, KINDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(KINDS)}"
        raise SpecError(f"{text!r}: no distribution is called {name!r}; {hint}")
    if dimension not in kind.example:
        raise SpecError(f"{text!r}: {name} gives whole numbers of tokens and cannot describe a time")
    try:
        texts = kind.split(arguments)
    except SpecError as e:
        raise _refused(text, e.problems, kind, dimension) from e
    return _read(text, name, kind, texts, dimension)


def _read(text: str, name: str, kind: Kind, texts: dict[str, str], dimension: Dimension) -> Distribution:
    given = {key: value for key, value in texts.items() if key not in _LIMITS}
    form, problems = _choose(name, kind, given)
    readers = {**dict.fromkeys(_LIMITS, QUANTITY), **{k: v for f in kind.forms for k, v in f.keys.items()}}
    values: dict[str, Any] = {}
    for key, value in texts.items():
        if key in readers:
            try:
                values[key] = readers[key].read(value, dimension)
            except SpecError as e:
                problems.append(str(e) if name == "constant" else f"{key}: {e}")
    low = values.get("min", 0.0 if kind.listed or dimension == "time" else 1.0)
    high = values.get("max", math.inf)
    if dimension == "tokens":
        problems += [f"{key}={texts[key]}: write a whole number" for key in _LIMITS if values.get(key, 0.0) % 1]
    if low > high:
        problems.append(f"max must be at least {write_quantity(low, dimension)}")
    if problems or form is None:
        raise _refused(text, problems, kind, dimension)
    try:
        law = form.build(dimension, **{key: values[key] for key in given})
    except SpecError as e:
        raise _refused(text, e.problems, kind, dimension) from e
    written = kind.join({key: readers[key].write(value, dimension) for key, value in values.items()})
    spec = written if name == "constant" else f"{name}:{written}"
    distribution = Distribution(spec, dimension, law, low, high)
    if (kept := distribution.kept()) < _LEAST_KEPT:
        raise SpecError(
            f"{text!r}: only {kept:.1g} of the draws lie inside the limits (at least {_LEAST_KEPT:g} must): "
            "widen min and max, or move the mean"
        )
    return distribution


def _choose(name: str, kind: Kind, given: dict[str, str]) -> tuple[Form | None, list[str]]:
    """The form whose keys these are; or none, and why."""
    for form in kind.forms:
        if form.keys.keys() == given.keys():
            return form, []
    known = list(dict.fromkeys(key for form in kind.forms for key in form.keys))
    problems = []
    for key in given:
        if key not in known:
            close = get_close_matches(key, [*known, *_LIMITS], n=1, cutoff=0.5)
            problems.append(f"{name} has no {key!r}" + (f": did you mean {close[0]!r}?" if close else ""))
    ways = ", or ".join(" and ".join(form.keys) for form in kind.forms)
    return None, [*problems, f"{name} takes {ways}"]


def _refused(text: str, problems: list[str], kind: Kind, dimension: Dimension) -> SpecError:
    example = kind.example[dimension]
    return SpecError([f"{text!r}: {problem} (example: {example})" for problem in problems])
