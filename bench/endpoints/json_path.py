"""The subset of JSONPath that replies need: `$.a.b[0]`, `$['a b']`, `$[-1]`, `$.choices[*].text`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.endpoints.decoding import Json

_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]'"\s]+)|\[(?P<index>-?\d+)\]|\[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]|\[\*\]"""
)


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path as steps: a name, an index, or None for every element."""

    text: str
    steps: tuple[str | int | None, ...]

    def values(self, document: Json) -> Sequence[Json]:
        """All values at the path, in order. Without `[*]` at most one."""
        nodes = [document]
        for step in self.steps:
            if step is None:
                nodes = [item for value in nodes if isinstance(value, list) for item in value]
            elif isinstance(step, str):
                nodes = [value[step] for value in nodes if isinstance(value, dict) and step in value]
            else:
                nodes = [value[step] for value in nodes if isinstance(value, list) and -len(value) <= step < len(value)]
        return nodes

    def first(self, document: Json) -> Json:
        """The first value at the path that is not null, or None."""
        return next((value for value in self.values(document) if value is not None), None)

    def text_in(self, document: Json) -> str:
        return "".join(value for value in self.values(document) if isinstance(value, str))


def parse_path(text: str) -> JsonPath:
    """Parse a path. Raises ValueError if it is not understood."""
    steps: list[str | int | None] = []
    at = 1
    while text.startswith("$") and at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            break
        if step["index"] is not None:
            steps.append(int(step["index"]))
        else:
            steps.append(step["name"] if step["name"] is not None else step["key"])
        at = step.end()
    if not text.startswith("$") or at < len(text):
        raise ValueError(f"{text!r} is not a path of JSON: write it as $.choices[0].text, with [*] for every element")
    return JsonPath(text, tuple(steps))


def parse_sum(text: str) -> tuple[JsonPath, ...]:
    """Paths joined by ` + `, for numbers to be added. Raises ValueError like `parse_path`."""
    return tuple(map(parse_path, text.split(" + ")))
