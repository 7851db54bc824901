"""What modules import and use, from their syntax."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from tests.support.architecture_rules import COMPOSERS, EMPTY_NAMES, FOR_ALL, LAYER_OF, MAY_IMPORT, PACKAGES
from tests.support.function_sizes import FunctionSize, sizes_in


def sources() -> dict[str, str]:
    """The source of every module, by dotted name."""
    return dict(_sources())


@functools.cache
def _sources() -> dict[str, str]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(part for part in parts if part != "__init__")] = path.read_text(encoding="utf-8")
    return found


@dataclass(frozen=True)
class Module:
    """The facts that the rules need about a module, from one parse."""

    imports: tuple[tuple[str, str], ...]
    """(origin, full name) of every import, at module level or inside a function."""
    at_run_time: tuple[str, ...]
    """The full name of everything it may import at run time, including in functions, but not for types only."""
    loads: frozenset[str]
    """Every module and package that its import loads, and names that might be modules."""
    uses: frozenset[str]
    """Imported modules and names, and spelled-out dotted names (`os.urandom`), with import aliases resolved."""
    sizes: tuple[FunctionSize, ...]
    """Its functions, named without the module."""


@functools.cache
def module_of(source: str) -> Module:
    """Parsing takes most of the time of these tests, so each source is parsed once."""
    tree = ast.parse(source)
    nodes = _telling(tree)
    imports = tuple(found for node in nodes for found in _imports_in(node))
    return Module(imports, _at_run_time(nodes), _loads(tree), _uses(nodes), tuple(sizes_in(tree)))


def _telling(tree: ast.AST) -> list[ast.AST]:
    """The nodes of a tree that reveal imports and uses, in the order of ast.walk."""
    everything: list[ast.AST] = [tree]
    found: list[ast.AST] = []
    for node in everything:
        if isinstance(node, _TELLING):
            found.append(node)
        for name in node._fields:
            value = getattr(node, name, None)
            if type(value) is list:
                everything += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, _LEAVES):
                everything.append(value)
    return found


_TELLING = (ast.Import, ast.ImportFrom, ast.Call, ast.Attribute, ast.If)
_LEAVES = (ast.expr_context, ast.operator, ast.Name, ast.Constant)


def _imports_in(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The imports of the node itself."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, alias.name
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports must be absolute"
        for alias in node.names:
            yield str(node.module), f"{node.module}.{alias.name}"
    elif (
        isinstance(node, ast.Call)
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and _dotted(node.func) in ("importlib.import_module", "import_module", "__import__")
    ):
        yield str(node.args[0].value), str(node.args[0].value)


def _dotted(node: ast.AST) -> str:
    """`a.b.c` if the node consists only of names, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := _dotted(node.value)):
        return f"{head}.{node.attr}"
    return ""


def _at_run_time(nodes: Sequence[ast.AST]) -> tuple[str, ...]:
    for_types = {
        inner
        for node in nodes
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    return tuple(name for node in nodes if node not in for_types for _, name in _imports_in(node))


def files_imported(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """For each file, the files it may import at run time; a package's __init__ counts if it is named from outside."""
    found = {}
    for module, source in modules.items():
        files = set()
        for name in module_of(source).at_run_time:
            while name and name not in modules:
                name = name.rpartition(".")[0]
            files.add(name)
        found[module] = {name for name in files if name and not inside(module, (name,))}
    return found


def circle(modules: Mapping[str, str]) -> list[str]:
    """Files that import each other, directly or indirectly, at run time; empty if there is no cycle."""
    try:
        TopologicalSorter(files_imported(modules)).prepare()
    except CycleError as e:
        return sorted(set(e.args[1]))
    return []


def tied(modules: Mapping[str, str], known: Iterable[tuple[str, str]] = ()) -> list[str]:
    """Files that name each other, directly or indirectly, at run time or for types. `known`: pairs to ignore."""
    pairs = set(known)
    named = {}
    for module, source in modules.items():
        files = {full if full in modules else base for base, full in module_of(source).imports}
        named[module] = {file for file in files & modules.keys() if file != module and (module, file) not in pairs}
    try:
        TopologicalSorter(named).prepare()
    except CycleError as e:
        return sorted(set(e.args[1]))
    return []


def arrows_upwards(modules: Mapping[str, str]) -> list[str]:
    """A sentence for each import of a room that is not in a lower layer."""
    found = []
    for module, files in files_imported(modules).items():
        for imported in files:
            if not (module.startswith("bench.") and imported.startswith("bench.")):
                continue
            room, other = module.split(".")[1], imported.split(".")[1]
            if room != other and LAYER_OF[other] >= LAYER_OF[room]:
                found.append(f"{module} imports {imported}, which is not in a layer below")
    return found


def inside(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def rule_for(module: str) -> str:
    """The entry of MAY_IMPORT closest to the module."""
    parts = module.split(".")
    for n in range(len(parts), 1, -1):
        if ".".join(parts[:n]) in MAY_IMPORT:
            return ".".join(parts[:n])
    return parts[0]


def composer_of(module: str) -> str | None:
    """The entry of COMPOSERS that is or contains the module."""
    return next((composer for composer in COMPOSERS if inside(module, (composer,))), None)


def violations(modules: Mapping[str, str]) -> list[str]:
    """A sentence for each import that a rule forbids."""
    found = []
    for module, source in modules.items():
        rule = rule_for(module)
        allowed = MAY_IMPORT[rule]
        known = (*allowed, rule) if "." in rule else tuple(allowed)
        known = (*known, *FOR_ALL[module.partition(".")[0]])
        for origin, name in module_of(source).imports:
            if origin.partition(".")[0] not in PACKAGES:
                continue
            composer, own = composer_of(name), composer_of(module)
            if composer is None:
                composer = composer_of(origin)
            late_enough = own is not None and composer is not None and COMPOSERS.index(own) >= COMPOSERS.index(composer)
            late_enough |= module == "bench"  # The package forwards its API on demand.
            if composer is not None and not late_enough:
                found.append(f"{module} imports {name}: only what composes the stages may import {composer}")
            elif not (inside(origin, known) or inside(name, known)):
                found.append(f"{module} imports {name}: {rule} may import {sorted(allowed)}")
    return found


def run_time_imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Which of our modules each module loads on import: parent packages are loaded first."""
    found: dict[str, set[str]] = {}
    for module, source in modules.items():
        loaded = module_of(source).loads
        # A module's own parent packages are loaded before it, and do not wait for it.
        found[module] = {name for name in loaded & modules.keys() if name != module and not inside(module, (name,))}
    return found


def _loads(tree: ast.AST) -> frozenset[str]:
    loaded: set[str] = set()
    for node in _at_import(tree):
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names] + [str(node.module)]
        for name in names:
            parts = name.split(".")
            loaded |= {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return frozenset(loaded)


def _at_import(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run when a module is loaded: not those in functions or for the type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _at_import(node)


def circles(imports: Mapping[str, set[str]]) -> list[str]:
    """Every module that loads itself indirectly, with the path."""
    found = []
    for module in imports:
        ways = [[module, name] for name in sorted(imports[module])]
        seen: set[str] = set()
        while ways:
            way = ways.pop()
            if way[-1] == module:
                found.append(" -> ".join(way))
                break
            if way[-1] not in seen:
                seen.add(way[-1])
                ways += [[*way, name] for name in sorted(imports.get(way[-1], ()))]
    return found


def _uses(nodes: Sequence[ast.AST]) -> frozenset[str]:
    aliases: dict[str, str] = {}
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name] = alias.name
                found.add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                found.add(f"{node.module}.{alias.name}")
                found.add(str(node.module))
    for node in nodes:
        if isinstance(node, ast.Attribute):
            head, _, rest = _dotted(node).partition(".")
            found.add(f"{aliases.get(head, head)}.{rest}")
    return frozenset(found)


def forbidden_uses(modules: Mapping[str, str], forbidden: set[str], home: str) -> list[str]:
    return [
        f"{module} uses {name}"
        for module, source in modules.items()
        if module.rpartition(".")[2] != home
        for name in sorted(module_of(source).uses & forbidden)
    ]


def empty_names(modules: Mapping[str, str]) -> list[str]:
    """Where a variable or a parameter of these modules has one of EMPTY_NAMES. Fields of results may: files have them."""
    return [
        f"{module}:{node.lineno}: {name}"
        for module, source in modules.items()
        for tree in [ast.parse(source)]
        for fields in [{id(s.target) for of in ast.walk(tree) if isinstance(of, ast.ClassDef) for s in of.body
                        if isinstance(s, ast.AnnAssign)}]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Name, ast.arg)) and id(node) not in fields
        and (name := node.id if isinstance(node, ast.Name) else node.arg) in EMPTY_NAMES
    ]  # fmt: skip


def function_sizes(modules: Mapping[str, str]) -> list[FunctionSize]:
    """Every function of these modules, including nested ones."""
    return [
        replace(size, name=f"{module}.{size.name}")
        for module, source in modules.items()
        for size in module_of(source).sizes
    ]
