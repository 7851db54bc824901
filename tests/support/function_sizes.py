"""How long functions are, and how many parameters they take, read from their syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FunctionSize:
    """A function or method by its dotted name. `self`, `cls`, `*args` and `**kwargs` are not counted."""

    name: str
    lines: int
    parameters: int


def function_sizes(modules: Mapping[str, str]) -> list[FunctionSize]:
    """Every function of these modules, those inside of others too."""
    return [size for module, source in modules.items() for size in _sizes(ast.parse(source), module, of_class=False)]


def _sizes(node: ast.AST, name: str, *, of_class: bool) -> Iterator[FunctionSize]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _sizes(child, f"{name}.{child.name}", of_class=True)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{name}.{child.name}"
            static = any(getattr(decorator, "id", None) == "staticmethod" for decorator in child.decorator_list)
            declared = child.args
            parameters = len(declared.posonlyargs) + len(declared.args) + len(declared.kwonlyargs)
            assert child.end_lineno is not None
            lines = child.end_lineno - child.lineno + 1
            yield FunctionSize(inner, lines, parameters - (of_class and not static))
            yield from _sizes(child, inner, of_class=False)
        else:
            yield from _sizes(child, name, of_class=of_class)
