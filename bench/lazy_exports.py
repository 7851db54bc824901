"""Package exports that are imported on first use, so that a command loads only what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_exports(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """A package's `__getattr__`. `homes` maps each exported name to its module."""

    def export(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")

        return getattr(import_module(homes[name]), name)

    return export
