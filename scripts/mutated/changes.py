"""The small changes of a file that its tests should notice; each replaces a node of its syntax tree.

Texts, annotations, decorators, class options and raised exceptions stay unchanged: a changed word is no wrong number.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
NEVER_MATTER = ("strict",)
"""Arguments that only guard against mistakes: `strict` of `zip`."""
LEFT_ALONE = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
NOT_CODE = ("annotation", "returns", "decorator_list", "type_params")


@dataclass(frozen=True)
class Mutant:
    """A change of a file: the `index`th of its changes, on a line of the statement that begins on line `first`. A
    change `inside` a function takes effect when the function is called, otherwise when the file is imported."""

    path: str
    index: int
    first: int
    line: int
    before: str
    after: str
    statement: str
    inside: bool

    @property
    def change(self) -> str:
        """Its name in lists."""
        return f"{self.before} -> {self.after}"

    @property
    def lines(self) -> range:
        """From the start of the statement to the changed part."""
        return range(self.first, self.line + 1)


@dataclass(frozen=True)
class _Change:
    holder: ast.AST
    field: str
    place: int | None
    new: ast.AST
    statement: ast.stmt
    inside: bool

    @property
    def old(self) -> ast.AST:
        value = getattr(self.holder, self.field)
        node: ast.AST = value if self.place is None else value[self.place]
        return node

    def make(self) -> None:
        if self.place is None:
            setattr(self.holder, self.field, self.new)
        else:
            getattr(self.holder, self.field)[self.place] = self.new


@cache
def source_of(path: str) -> str:
    """The text of a file when it was first read: forks change that version, whatever is edited meanwhile."""
    return Path(path).read_text(encoding="utf-8")


def mutants_of(path: str, source: str) -> list[Mutant]:
    """All mutants of a file, in text order."""
    lines = source.splitlines()
    found = []
    for index, change in enumerate(_changes(ast.parse(source))):
        first = change.statement.lineno
        line = getattr(change.old, "lineno", first)
        before, after, text = _short(change.old), _short(change.new), " ".join(lines[line - 1].split())
        found.append(Mutant(path, index, first, line, before, after, text, change.inside))
    return found


def mutated(source: str, index: int) -> ast.Module:
    """The syntax tree of a file with its `index`th change made."""
    tree = ast.parse(source)
    for place, change in enumerate(_changes(tree)):
        if place == index:
            change.make()
            return ast.fix_missing_locations(tree)
    raise IndexError(f"the file has no change {index}")


def _short(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(node)).split("\n")
    return " ".join(text[0].split()) + (" ..." if len(text) > 1 else "")


def _changes(tree: ast.Module) -> Iterator[_Change]:
    yield from _within(tree, tree.body[0] if tree.body else ast.Pass(lineno=1), False)


def _within(node: ast.AST, statement: ast.stmt, inside: bool) -> Iterator[_Change]:
    for name, value in ast.iter_fields(node):
        if name in NOT_CODE or (isinstance(node, ast.ClassDef) and name == "keywords"):
            continue
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, LEFT_ALONE) or _has_no_effect(child):
                continue
            around = child if isinstance(child, ast.stmt) else statement
            body = inside or (name == "body" and isinstance(node, FUNCTIONS))
            for new in _instead_of(child):
                yield _Change(node, name, place, ast.copy_location(new, child), around, body)
            yield from _within(child, around, body)


def _has_no_effect(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg in NEVER_MATTER
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets)
    # A docstring, or the text below a name.
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _instead_of(node: ast.AST) -> Iterator[ast.AST]:
    """Replacements for a node."""
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                new = copy.copy(node)
                new.ops = [*node.ops[:place], COMPARISONS[type(operator)](), *node.ops[place + 1 :]]
                yield new
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for place in range(len(values)):
                rest = [*values[:place], *values[place + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS and not _text(left) and not _text(right):
            yield ast.BinOp(left, OPERATORS[type(operator)](), right)
        case ast.AugAssign(target, operator, value):
            yield ast.Assign([target], value)
            if type(operator) in OPERATORS and not _text(value):
                yield ast.AugAssign(target, OPERATORS[type(operator)](), value)
        case _:
            yield from _instead_of_flow(node)


def _instead_of_flow(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Call(ast.Name(name), args, keywords) if name in CALLS:
            yield ast.Call(ast.Name(CALLS[name], ast.Load()), args, keywords)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.If(test, body, []):
            yield ast.If(ast.Constant(False), body, [])
        case ast.Expr(ast.Call() | ast.Await() | ast.Yield()):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
        case ast.comprehension(target, each, conditions, is_async):
            for place in range(len(conditions)):
                yield ast.comprehension(target, each, [*conditions[:place], *conditions[place + 1 :]], is_async)
        case _:
            yield from _instead_of_value(node)


def _instead_of_value(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(float() as value):
            yield ast.Constant(value * 2 + 1)
        case ast.Slice(lower, upper, step):
            if lower is not None:
                yield ast.Slice(None, upper, step)
            if upper is not None:
                yield ast.Slice(lower, None, step)


def _text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
