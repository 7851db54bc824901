"""Recipes: lengths, sharing and arrivals of known traffic. Each is a YAML file that names its source.

Users write recipes with the same keys. An empirical table next to the file is named without a folder. There are two
kinds: for single requests (`Recipe`), and for agents' sessions (`promptset.agents.recipe`), which have their own keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from promptset import distributions
from promptset.agents.recipe import AgentRecipe, is_of_sessions, read_recipe
from promptset.clock import NS_PER_S
from promptset.distributions import Dimension, Distribution
from promptset.errors import SpecError
from promptset.rng import stream
from promptset.sharing import parse_prefix
from promptset.whole_file import load_yaml, yaml_problem

_FOLDER = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A description of traffic, in the grammar of the flags. None: not set by the recipe."""

    about: str
    source: str
    input_tokens: str
    output_tokens: str
    prefix: str | None = None
    gaps: str | None = None
    """Times between consecutive requests."""

    def times_s(self, seed: int) -> Iterator[float] | None:
        """The send times of requests in seconds, the first at 0. None if the recipe has no gaps."""
        return None if self.gaps is None else times_s(distributions.parse(self.gaps, "time"), seed)


def times_s(gaps: Distribution, seed: int) -> Iterator[float]:
    """An infinite sequence of times in seconds, the first at 0, with `gaps` drawn between them.

    Times are whole microseconds, so they are the same on machines whose logarithms differ in the last bit.
    """
    chance = stream(seed, "gaps")

    def drawn() -> Iterator[float]:
        while True:
            yield gaps.sample(chance)

    return (round(at_ns / NS_PER_S, 6) for at_ns in accumulate(drawn(), initial=0.0))


def names() -> list[str]:
    """The names of the recipes that come with promptset."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def is_recipe(text: str) -> bool:
    """Whether a text names a recipe: one that comes with promptset, or a YAML file."""
    return text in names() or (text.endswith(_SUFFIXES) and Path(text).is_file())


def load(text: str) -> Recipe:
    """Loads a recipe of requests: one of `names`, or a YAML file. Raises SpecError with every problem."""
    path = _path_of(text)
    content = _read(path)
    if is_of_sessions(content):
        raise SpecError(f"the recipe {text} makes sessions, and no single requests: use it with --mode sessions")
    known = [field.name for field in fields(Recipe)]
    problems = []
    for key in content.keys() - set(known):
        close = get_close_matches(str(key), known, n=1)
        problems.append(f"{key} is unknown" + (f": did you mean {close[0]}?" if close else ""))
    problems += [f"{key} is missing" for key in known[:4] if content.get(key) is None]
    texts = {key: _beside(path, str(value)) for key, value in content.items() if key in known and value is not None}
    if not problems:
        problems = _problems_of(texts)
    if problems:
        raise SpecError([f"the recipe {path}: {problem}" for problem in problems])
    return Recipe(**texts)


def load_sessions(text: str) -> AgentRecipe:
    """Loads a recipe of sessions: one of `names`, or a YAML file. Raises SpecError with every problem."""
    path = _path_of(text)
    content = _read(path)
    if not is_of_sessions(content):
        raise SpecError(f"the recipe {text} makes single requests, and no sessions: {_listed_sessions()}")
    try:
        return read_recipe(content)
    except SpecError as e:
        raise SpecError([f"the recipe {path}: {problem}" for problem in e.problems]) from e


def makes_sessions(text: str) -> bool:
    """Whether a recipe is for sessions. False for one that cannot be read."""
    try:
        return is_of_sessions(_read(_path_of(text)))
    except SpecError:
        return False


def about(text: str) -> str:
    """A recipe's description of itself. Raises SpecError."""
    return str(_read(_path_of(text)).get("about", ""))


def _listed_sessions() -> str:
    return f"there {'is' if len(known := [n for n in names() if makes_sessions(n)]) == 1 else 'are'} {', '.join(known)}"


def _path_of(text: str) -> Path:
    path = _FOLDER / f"{text}.yaml" if text in names() else Path(text)
    if not path.is_file():
        close = get_close_matches(text, names(), n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names())}, or a YAML file of your own"
        raise SpecError(f"{text}: no recipe has this name: {hint}")
    return path


def _read(path: Path) -> dict[str, Any]:
    """The keys of a recipe, merged over the recipe that it is `like`."""
    try:
        content = load_yaml(path)
    except OSError as e:
        raise SpecError(f"the recipe {path} cannot be read: {e.strerror}") from e
    except RecursionError:
        raise SpecError(f"the recipe {path} is nested too deeply: a recipe is keys with values") from None
    except (yaml.YAMLError, ValueError) as e:
        raise SpecError(f"the recipe {path}{yaml_problem(e)}") from e
    if not isinstance(content, dict):
        raise SpecError(f"the recipe {path} must hold keys with values, for example 'input_tokens: 256'")
    if (like := content.pop("like", None)) is None:
        return content
    if like not in names():
        raise SpecError(
            f"the recipe {path}: like must be a recipe that comes with promptset ({', '.join(names())}), not {like}"
        )
    return {**_read(_FOLDER / f"{like}.yaml"), **content}


def _beside(path: Path, text: str) -> str:
    """Completes the path of an empirical table next to the recipe."""
    kind, colon, rest = text.partition(":")
    table = rest.split(",")[0].strip()
    here = path.parent / table
    return f"{kind}{colon}{path.parent / rest}" if kind == "empirical" and here.is_file() else text


def _problems_of(texts: dict[str, str]) -> list[str]:
    problems = []
    dimensions: dict[str, Dimension] = {"input_tokens": "tokens", "output_tokens": "tokens", "gaps": "time"}
    for key, text in texts.items():
        try:
            if key in dimensions:
                distributions.parse(text, dimensions[key])
            elif key == "prefix":
                parse_prefix(text)
        except SpecError as e:
            problems += [f"{key} {problem}" for problem in e.problems]
    return problems
