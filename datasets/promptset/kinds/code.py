"""Source code: small Python functions, as in a typical file."""

from __future__ import annotations

from promptset.kinds.text_kind import TextKind
from promptset.rng import Random

_VERBS = "load parse find merge count filter update build check write send group sort split read save fetch map".split()
_NOUNS = (
    "rows user order token price index cache batch field event path node record total label query state page".split()
)
_TYPES = "int str float bool list[int] list[str] dict[str, int]".replace(", ", ",").split()
_OPERATORS = "+ - * // %".split()


def unit(rng: Random) -> str:
    """One function, followed by an empty line."""

    def pick(of: list[str]) -> str:
        return of[int(rng.random() * len(of))]

    verb, noun, other = pick(_VERBS), pick(_NOUNS), pick(_NOUNS)
    number, limit = int(rng.random() * 100), int(rng.random() * 4096)
    head = f"def {verb}_{noun}({noun}: {pick(_TYPES)}, {other}s: list[int]) -> {pick(_TYPES)}:".replace(",int", ", int")
    bodies = [
        f'if {noun} is None:\n    raise ValueError("no {noun} to {verb}")\nreturn {noun}',
        f"result = [{other} {pick(_OPERATORS)} {number} for {other} in {other}s if {other} < {limit}]\nreturn result",
        f"for i, {other} in enumerate({other}s):\n    if {other} == {number}:\n        return i\nreturn -1",
        f'total = sum({other}s)\nprint(f"{noun}: {{total:.{number % 4}f}}")\nreturn total {pick(_OPERATORS)} {limit}',
        f"with open({noun}_path) as file:\n    {other}s = json.load(file)[{number}:]\nreturn {verb}({other}s)",
        f"while len({other}s) > {limit}:\n    {other}s.pop({number % 3})  # {pick(_VERBS)} {pick(_NOUNS)}\nreturn {noun}",
    ]
    body = "\n".join(f"    {line}" for line in pick(bodies).splitlines())
    return f"{head}\n{body}\n"


CODE = TextKind(unit, glue="\n", fill_open="\n#", open="# ", heading_close="\n\n")
