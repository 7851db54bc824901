"""`scipy.stats`, imported by the first test that uses it: every process collects all tests, and the import takes a
second."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("_"):  # pytest looks for fixtures among a module's attributes.
        raise AttributeError(name)
    return getattr(import_module("scipy.stats"), name)


class Law:
    """A scipy distribution with its parameters, for tables that are read before any test runs."""

    def __init__(self, name: str, *parameters: float, **named: float) -> None:
        self._of = (name, parameters, named)

    @functools.cached_property
    def frozen(self) -> Any:
        """scipy's own distribution: making one takes longer than using it."""
        law, parameters, named = self._of
        return getattr(import_module("scipy.stats"), law)(*parameters, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks for its marks here.
            raise AttributeError(name)
        return getattr(self.frozen, name)
