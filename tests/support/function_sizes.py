"""The length of functions, and their number of parameters, read from their syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FunctionSize:
    """A function or method, by dotted name. `self`, `cls`, `*args` and `**kwargs` do not count."""

    name: str
    lines: int
    parameters: int


def sizes_in(node: ast.AST, within: str = "", *, of_class: bool = False) -> Iterator[FunctionSize]:
    """All functions of a tree, including nested ones. Their names begin with `within`, without the module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from sizes_in(child, f"{within}{child.name}.", of_class=True)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{within}{child.name}"
            static = any(getattr(decorator, "id", None) == "staticmethod" for decorator in child.decorator_list)
            declared = child.args
            parameters = len(declared.posonlyargs) + len(declared.args) + len(declared.kwonlyargs)
            assert child.end_lineno is not None
            lines = child.end_lineno - child.lineno + 1
            yield FunctionSize(inner, lines, parameters - (of_class and not static))
            yield from sizes_in(child, f"{inner}.")
        elif not isinstance(child, ast.expr):  # Expressions contain no functions, and make up most of the tree.
            yield from sizes_in(child, within, of_class=of_class)
