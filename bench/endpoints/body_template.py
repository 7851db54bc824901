"""Bodies of custom APIs: JSON in which the text `{{ name }}` stands for the value of that name.

A key whose value is unknown is left out, and so is any object that this leaves empty. In a list, an item that names an
unknown value is left out as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from bench.endpoints.decoding import Json

_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_NOTHING = object()


def variables_in(template: object) -> Iterator[str]:
    """The names in a template."""
    if isinstance(template, str):
        yield from (match[1] for match in _PLACE.finditer(template))
    elif isinstance(template, Mapping):
        yield from variables_in([*template.values()])
    elif isinstance(template, list):
        for item in template:
            yield from variables_in(item)


def no_places_in(template: object) -> Iterator[str]:
    """The texts of a template, including keys, that contain a `{{` which does not begin a placeholder."""
    if isinstance(template, str):
        if "{{" in _PLACE.sub("", template):
            yield template
    elif isinstance(template, Mapping):
        yield from (key for key in template if "{{" in key)
        yield from no_places_in([*template.values()])
    elif isinstance(template, list):
        for item in template:
            yield from no_places_in(item)


def filled(template: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The template filled with these values (None: unknown); an empty object if nothing is left."""
    result = _filled(template, values)
    return result if isinstance(result, dict) else {}


def _filled(template: object, values: Mapping[str, Any]) -> object:
    if isinstance(template, str):
        return _text(template, values)
    if isinstance(template, Mapping):
        return _without_unset({key: _filled(value, values) for key, value in template.items()}, template)
    if isinstance(template, list):
        known = [item for item in template if all(values.get(name) is not None for name in variables_in(item))]
        items = [_filled(item, values) for item in known]
        return items if items or not template else _NOTHING
    return template


def _without_unset(entries: Mapping[str, object], template: Mapping[str, Any]) -> object:
    remaining = {key: value for key, value in entries.items() if value is not _NOTHING}
    return remaining if remaining or not template else _NOTHING


def _text(template: str, values: Mapping[str, Any]) -> object:
    whole = _PLACE.fullmatch(template)
    if whole is not None:
        value = values.get(whole[1])
        return _NOTHING if value is None else value
    if any(values.get(name) is None for name in variables_in(template)):
        return _NOTHING

    def written(place: re.Match[str]) -> str:
        value = values[place[1]]
        return value if isinstance(value, str) else orjson.dumps(value).decode()

    return _PLACE.sub(written, template)


def place_of(template: object, name: str) -> tuple[str | int, ...] | None:
    """Where a template holds exactly `{{ name }}`, as keys and indices. Returns None if it does not."""
    if isinstance(template, str):
        whole = _PLACE.fullmatch(template)
        return () if whole is not None and whole[1] == name else None
    entries: Iterator[tuple[Any, object]]
    entries = iter(template.items()) if isinstance(template, Mapping) else iter(())
    if isinstance(template, list):
        entries = iter(enumerate(template))
    for key, value in entries:
        inside = place_of(value, name)
        if inside is not None:
            return (key, *inside)
    return None


def value_at(document: Json, place: tuple[str | int, ...]) -> Json:
    """The value at a place, or None."""
    for key in place:
        if isinstance(document, dict):
            document = document.get(key) if isinstance(key, str) else None
        elif isinstance(document, list) and isinstance(key, int) and key < len(document):
            document = document[key]
        else:
            return None
    return document
