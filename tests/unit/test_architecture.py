"""Who may import whom. The rules of docs/architecture.md, "The data's way", read from the syntax of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"bench": ROOT / "bench", "mockserver": ROOT / "mockserver", "promptset": ROOT / "datasets" / "promptset"}

MAY_IMPORT: dict[str, frozenset[str]] = {
    # Of our own modules, besides those of its own folder. The closest entry counts: bench.transport is for all below it.
    # Values and what everything stands on:
    "bench": frozenset(),
    "bench.errors": frozenset(),
    "bench.clock": frozenset(),
    "bench.rng": frozenset(),
    "bench.secrets": frozenset(),
    "bench.records": frozenset({"bench.errors"}),
    "bench.stock": frozenset(),
    "bench.workload": frozenset({"bench.stock", "promptset"}),
    "bench.schedule": frozenset({"bench.rng"}),
    # Stages: each knows the values it is given and the values it makes.
    "bench.transport": frozenset(
        {"bench.clock", "bench.errors", "bench.records", "bench.workload", "promptset.samples"}
    ),
    "bench.conversations": frozenset({"bench.stock", "bench.workload", "promptset"}),
    "bench.dispatch": frozenset(
        {"bench.clock", "bench.conversations", "bench.records", "bench.transport.interface", "bench.workload"}
    ),
    "bench.metrics": frozenset({"bench.errors", "bench.records", "bench.rng"}),
    "bench.verdict": frozenset(),
    "bench.report": frozenset({"bench.metrics.catalog"}),
    "bench.run_directory": frozenset({"bench.errors", "bench.records"}),
    # The truth is computed by code that shares nothing with bench.metrics: a shared mistake would cancel out.
    "bench.calibrate": frozenset({"bench.errors", "bench.records", "bench.run_directory"}),
    # Which certificate covers which load is decided from plain values.
    "bench.calibrate.covers": frozenset(),
    # Around the load:
    "bench.kept": frozenset({"bench.errors"}),
    "bench.preflight": frozenset({"bench.errors"}),
    "bench.sampling": frozenset({"bench.clock"}),
    "bench.machine": frozenset({"bench.sampling"}),
    "bench.live": frozenset({"bench.clock", "bench.metrics", "bench.records"}),
    "bench.probe": frozenset(
        {"bench.clock", "bench.errors", "bench.records", "bench.side_requests", "bench.transport", "bench.workload",
         "promptset.samples"}
    ),
    "bench.side_requests": frozenset({"bench.transport.interface"}),
    "bench.prefix_cache": frozenset({"bench.side_requests", "bench.transport"}),
    "bench.flags": frozenset({"bench.errors"}),
    "bench.values": frozenset({"bench.errors", "bench.metrics.objectives", "bench.secrets", "promptset"}),
    "bench.supervision": frozenset({"bench.clock", "bench.live"}),
    "bench.config": frozenset(
        {"bench.errors", "bench.metrics.objectives", "bench.schedule", "bench.secrets", "bench.transport", "bench.values",
         "bench.verdict", "promptset"}
    ),
    # A worker process runs the middle of the way, from the workload to the records; run.py alone starts it.
    "bench.scale": frozenset(
        {"bench.clock", "bench.config", "bench.conversations", "bench.dispatch", "bench.errors",
         "bench.live", "bench.records", "bench.rng", "bench.run_directory",
         "bench.sampling", "bench.schedule", "bench.secrets", "bench.supervision", "bench.transport",
         "bench.workload", "promptset"}
    ),
    # The ladders stand on runs, and nothing of a run stands on them but the ceiling that they found.
    "bench.limits": frozenset(),
    "bench.limits.source": frozenset({"bench.clock"}),
    "bench.limits.servers": frozenset({"bench.calibrate.mock", "bench.errors", "bench.limits.source"}),
    "bench.limits.ladder": frozenset({"bench.verdict"}),
    "bench.limits.ceiling": frozenset(
        {"bench.config", "bench.kept", "bench.metrics.per_request", "bench.records", "promptset.distributions"}
    ),
    "bench.limits.table": frozenset({"bench.limits.ladder", "bench.report"}),
    # Who puts the stages together, and is imported by nobody but the next one in this list.
    "bench.evaluate": frozenset({"bench"}),
    "bench.run": frozenset({"bench", "promptset"}),
    "bench.limits.measure": frozenset({"bench"}),
    "bench.calibrate.measure": frozenset({"bench"}),
    "bench.cli": frozenset({"bench", "promptset.cli"}),
    "bench.__main__": frozenset({"bench.cli"}),
    # The mock, from the bottom up. Nobody imports upwards. "mockserver" is for the package itself.
    "mockserver": frozenset({"mockserver.api"}),
    "mockserver.errors": frozenset(),
    "mockserver.clock": frozenset(),
    "mockserver.rng": frozenset(),
    "mockserver.step_cost": frozenset(),
    "mockserver.faults": frozenset({"promptset"}),
    "mockserver.presets": frozenset({"mockserver.step_cost"}),
    "mockserver.combinations": frozenset({"mockserver.config", "mockserver.faults", "mockserver.step_cost"}),
    "mockserver.config": frozenset(
        {"mockserver.combinations", "mockserver.errors", "mockserver.faults", "mockserver.presets", "mockserver.step_cost",
         "promptset"}
    ),
    # Shared by the processes of one mock; knows nothing of requests.
    "mockserver.workers": frozenset({"mockserver.errors"}),
    # What is drawn, and the engines that are driven by it: pure, no clock.
    "mockserver.plans": frozenset(
        {"mockserver.config", "mockserver.errors", "mockserver.faults", "mockserver.rng", "mockserver.workers.shared_state",
         "promptset"}
    ),
    "mockserver.engine": frozenset(
        {"mockserver.combinations", "mockserver.config", "mockserver.plans", "mockserver.step_cost"}
    ),
    "mockserver.expect": frozenset(
        {"mockserver.clock", "mockserver.combinations", "mockserver.config", "mockserver.engine.closed_form",
         "mockserver.errors", "mockserver.plans", "mockserver.step_cost", "promptset"}
    ),
    "mockserver.tokencount": frozenset({"mockserver.engine.chain", "promptset"}),
    "mockserver.pacing": frozenset({"mockserver.clock", "mockserver.engine"}),
    # The protocol as values, then the replies that send it, then what is written down about them.
    "mockserver.dialect": frozenset(
        {"mockserver.clock", "mockserver.config", "mockserver.faults", "mockserver.plans", "promptset"}
    ),
    "mockserver.replies": frozenset(
        {"mockserver.clock", "mockserver.config", "mockserver.dialect", "mockserver.engine.chain", "mockserver.faults",
         "mockserver.pacing", "mockserver.plans", "mockserver.tokencount", "promptset"}
    ),
    "mockserver.record": frozenset(
        {"mockserver.clock", "mockserver.engine", "mockserver.errors", "mockserver.faults", "mockserver.plans"}
    ),
    # One request, one process, the HTTP server around it.
    "mockserver.settings": frozenset(
        {"mockserver.config", "mockserver.plans", "mockserver.replies", "mockserver.workers.shared_state"}
    ),
    "mockserver.entries": frozenset(
        {"mockserver.clock", "mockserver.dialect", "mockserver.faults", "mockserver.plans", "mockserver.record",
         "mockserver.replies", "mockserver.tokencount"}
    ),
    "mockserver.handler": frozenset(
        {"mockserver.clock", "mockserver.combinations", "mockserver.config", "mockserver.dialect", "mockserver.engine",
         "mockserver.entries", "mockserver.errors", "mockserver.faults", "mockserver.pacing", "mockserver.plans",
         "mockserver.record", "mockserver.replies", "mockserver.rng", "mockserver.settings", "mockserver.tokencount",
         "mockserver.workers.shared_state", "promptset"}
    ),
    "mockserver.worker": frozenset(
        {"mockserver.clock", "mockserver.config", "mockserver.dialect", "mockserver.errors", "mockserver.expect",
         "mockserver.handler", "mockserver.record", "mockserver.settings", "mockserver.workers", "promptset"}
    ),
    "mockserver.http": frozenset(
        {"mockserver.clock", "mockserver.config", "mockserver.dialect", "mockserver.errors", "mockserver.expect",
         "mockserver.faults", "mockserver.plans.latencies", "mockserver.record", "mockserver.replies.wire", "mockserver.rng",
         "mockserver.worker", "mockserver.workers", "promptset"}
    ),
    # Ways in.
    "mockserver.cli": frozenset(
        {"mockserver.config", "mockserver.errors", "mockserver.faults", "mockserver.http.server", "mockserver.presets"}
    ),
    "mockserver.__main__": frozenset({"mockserver.cli"}),
    "mockserver.child": frozenset({"mockserver.cli"}),
    "mockserver.api": frozenset({"mockserver.clock", "mockserver.errors", "mockserver.record.assertions"}),
    "mockserver.pytest_plugin": frozenset({"mockserver.api"}),
    "promptset": frozenset({"promptset"}),
}  # fmt: skip

COMPOSERS = (
    "bench.evaluate", "bench.run", "bench.limits.measure", "bench.calibrate.measure", "bench.cli", "bench.__main__"
)  # fmt: skip

CLOCKS = {"time", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "asyncio.sleep"}
CHANCE = {"random", "secrets", "uuid", "os.urandom"}


def sources() -> dict[str, str]:
    """Every module by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(part for part in parts if part != "__init__")] = path.read_text(encoding="utf-8")
    return found


def imports_of(source: str) -> Iterator[tuple[str, str]]:
    """(where it comes from, the full name) of everything that a module imports, at its head or inside a function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield str(node.module), f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = ast.unparse(node.func)
            if name in ("importlib.import_module", "import_module", "__import__"):
                yield str(node.args[0].value), str(node.args[0].value)


def inside(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def rule_for(module: str) -> str:
    """The entry of MAY_IMPORT that is closest to the module."""
    parts = module.split(".")
    for n in range(len(parts), 1, -1):
        if ".".join(parts[:n]) in MAY_IMPORT:
            return ".".join(parts[:n])
    return parts[0]


def violations(modules: Mapping[str, str]) -> list[str]:
    """A sentence for each import that a rule forbids."""
    found = []
    for module, source in modules.items():
        rule = rule_for(module)
        allowed = MAY_IMPORT[rule]
        known = (*allowed, rule) if "." in rule else tuple(allowed)
        for origin, name in imports_of(source):
            if origin.partition(".")[0] not in PACKAGES:
                continue
            composer = next((c for c in COMPOSERS if inside(name, (c,)) or origin == c), None)
            if composer is not None:
                late_enough = rule in COMPOSERS and COMPOSERS.index(rule) > COMPOSERS.index(composer)
                if not late_enough:
                    found.append(f"{module} imports {name}: only what composes the stages may import {composer}")
            elif not (inside(origin, known) or inside(name, known)):
                found.append(f"{module} imports {name}: {rule} may import {sorted(allowed)}")
    return found


def run_time_imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Which modules of ours each module loads when it is imported: the packages above what it names are loaded first."""
    found: dict[str, set[str]] = {}
    for module, source in modules.items():
        loaded: set[str] = set()
        for node in _at_import(ast.parse(source)):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" for name in names] + [str(node.module)]
            for name in names:
                parts = name.split(".")
                loaded |= {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
        # The packages that a module is in are loaded before it, and do not wait for it.
        found[module] = {name for name in loaded & modules.keys() if name != module and not inside(module, (name,))}
    return found


def _at_import(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when a module is loaded: not those in functions, nor those for the type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _at_import(node)


def circles(imports: Mapping[str, set[str]]) -> list[str]:
    """Every module that loads itself by a detour, with the detour."""
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


def used_names(source: str) -> set[str]:
    """Imported modules and names, and dotted names spelled out (`os.urandom`), with import aliases resolved."""
    tree = ast.parse(source)
    aliases: dict[str, str] = {}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name] = alias.name
                found.add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                found.add(f"{node.module}.{alias.name}")
                found.add(str(node.module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            head, _, rest = ast.unparse(node).partition(".")
            found.add(f"{aliases.get(head, head)}.{rest}")
    return found


def forbidden_uses(modules: Mapping[str, str], forbidden: set[str], home: str) -> list[str]:
    return [
        f"{module} uses {name}"
        for module, source in modules.items()
        if module.rpartition(".")[2] != home
        for name in sorted(used_names(source) & forbidden)
    ]


def test_every_module_keeps_the_rules() -> None:
    assert violations(sources()) == []


def test_only_clock_reads_clocks() -> None:
    assert forbidden_uses(sources(), CLOCKS, "clock") == []


def test_only_rng_makes_chance() -> None:
    assert forbidden_uses(sources(), CHANCE, "rng") == []


def test_the_rules_speak_of_modules_that_exist() -> None:
    assert set(MAY_IMPORT) - set(sources()) == set()


def test_every_module_of_bench_and_of_the_mock_has_a_rule_of_its_own_or_of_its_folder() -> None:
    assert [module for module in sources() if rule_for(module) in ("bench", "mockserver") and "." in module] == []


def test_no_file_of_the_mock_loads_itself_by_a_detour() -> None:
    mock = {module: source for module, source in sources().items() if inside(module, ("mockserver",))}
    assert circles(run_time_imports(mock)) == []


def test_the_rooms_of_the_mock_stand_above_each_other() -> None:
    rules = {name: allowed for name, allowed in MAY_IMPORT.items() if name.startswith("mockserver.")}
    rooms: dict[str, set[str]] = {}
    for name, allowed in rules.items():
        own = ".".join(name.split(".")[:2])
        rooms.setdefault(own, set()).update(".".join(other.split(".")[:2]) for other in allowed if "." in other)
    # Only for the type checker: these two name the class whose fields they read.
    rooms["mockserver.combinations"].discard("mockserver.config")
    assert circles({room: others - {room} for room, others in rooms.items()}) == []


def test_the_mock_has_at_most_25_files_outside_its_rooms() -> None:
    assert len(list(PACKAGES["mockserver"].glob("*.py"))) <= 25


@pytest.mark.parametrize(
    ("line", "is_a_circle"),
    [
        ("from mockserver.http.server import serve", True),
        ("import mockserver.http.server", True),
        ("from mockserver.http import server", True),
        ("try:\n    import mockserver.worker\nexcept ImportError:\n    pass", True),
        ("class A:\n    import mockserver.worker", True),
        ("def f():\n    import mockserver.worker", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mockserver.worker", False),
        ("import mockserver.clock", False),
    ],
)
def test_a_circle_of_imports_is_seen(line: str, is_a_circle: bool) -> None:
    mock = {module: source for module, source in sources().items() if inside(module, ("mockserver",))}
    mock["mockserver.tokencount"] += f"\n{line}\n"
    assert bool(circles(run_time_imports(mock))) is is_a_circle


def test_the_folder_of_data_sets_is_no_package() -> None:
    assert not (ROOT / "datasets" / "__init__.py").exists()


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("bench.workload", "from bench.schedule import ARRIVALS"),
        ("bench.workload", "import bench.records"),
        ("bench.records", "from bench.workload import Request"),
        ("bench.schedule.poisson", "from bench.records import RequestRecord"),
        ("bench.schedule.poisson", "from bench.clock import now_ns"),
        ("bench.transport.wire", "from bench.schedule import ARRIVALS"),
        ("bench.transport.wire", "from bench.metrics import per_request"),
        ("bench.transport.wire", "from bench.dispatch import Stop"),
        ("bench.dispatch.open_loop", "from bench.schedule import ARRIVALS"),
        ("bench.dispatch.open_loop", "from bench.transport.scripted import Script"),
        ("bench.dispatch.open_loop", "from bench import transport"),
        ("bench.metrics.summary", "from bench.transport import TRANSPORTS"),
        ("bench.metrics.summary", "from bench.clock import now_ns"),
        ("bench.metrics.summary", "from bench.verdict import judge"),
        ("bench.report.html", "from bench.records import RequestRecord"),
        ("bench.report.html", "from bench.metrics.summary import Summary"),
        ("bench.report.html", "from bench.run_directory import RunDirectory"),
        ("bench.verdict", "from bench.transport import TRANSPORTS"),
        ("bench.calibrate.truth", "from bench.metrics import per_request"),
        ("bench.calibrate.truth", "from bench.metrics.quantile import quantile"),
        ("bench.calibrate.distribution", "from bench.metrics.histogram import LogHistogram"),
        ("bench.calibrate.compare", "from bench.metrics.catalog import METRICS"),
        ("bench.calibrate.covers", "from bench.records import Outcome"),
        ("bench.calibrate.compare", "from bench.calibrate.measure import keep"),
        ("bench.evaluate", "from bench.calibrate.measure import keep"),
        ("bench.probe", "from bench.run import run"),
        ("bench.live", "from bench import evaluate"),
        ("bench.evaluate", "from bench.run import run"),
        ("bench.run", "from bench.limits.measure import measure"),
        ("bench.run", "from bench.limits import measure"),
        ("bench.limits.ladder", "from bench.run import run"),
        ("bench.limits.ceiling", "from bench.limits.measure import measure"),
        ("bench.limits.ceiling", "from bench.transport import TRANSPORTS"),
        ("bench.limits.source", "from bench.records import RequestRecord"),
        ("bench.run", "import bench.cli"),
        ("bench.workload", "import mockserver"),
        ("bench.cli", "from mockserver.http.server import serve"),
        ("bench.run", "def f():\n    from mockserver import plan"),
        ("bench.cli", "import importlib\nimportlib.import_module('mockserver.cli')"),
        ("mockserver.plans.plan", "from bench.records import Outcome"),
        ("mockserver.plans.plan", "from mockserver.clock import now_ns"),
        ("mockserver.plans.plan", "from mockserver.engine import ENGINES"),
        ("mockserver.plans.arrival", "from mockserver.workers.peers import Peers"),
        ("mockserver.engine.batching", "from mockserver.clock import now_ns"),
        ("mockserver.engine.batching", "from mockserver.replies.reply import Content"),
        ("mockserver.dialect.openai", "from mockserver.replies.wire import Wire"),
        ("mockserver.replies.reply", "from mockserver.record.ledger import Ledger"),
        ("mockserver.replies.reply", "from mockserver.worker import Worker"),
        ("mockserver.replies.wire", "from mockserver.http.protocol import MockProtocol"),
        ("mockserver.record.ledger", "from mockserver.replies.reply import ReplyWriter"),
        ("mockserver.expect.sampled", "from mockserver.engine import ENGINES"),
        ("mockserver.workers.peers", "from mockserver.config import MockConfig"),
        ("mockserver.handler", "from mockserver.worker import Worker"),
        ("mockserver.worker", "from mockserver.http.app import create_app"),
        ("mockserver.config", "from mockserver.engine import ENGINES"),
        ("mockserver.api", "from mockserver.config import MockConfig"),
        ("mockserver.new_module", "from mockserver.clock import now_ns"),
        ("mockserver.pacing", "import bench.clock"),
        ("promptset.exact", "from bench.rng import stream"),
        ("promptset.exact", "import mockserver.tokencount"),
        ("bench.new_module", "from bench.records import RequestRecord"),
    ],
)
def test_each_rule_can_be_broken(module: str, line: str) -> None:
    assert len(violations({module: line})) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("bench.dispatch.open_loop", "from bench.transport.interface import Transport"),
        ("bench.dispatch.open_loop", "from bench.dispatch.stop import Stop"),
        ("bench.transport", "from bench.transport.wire import WireTransport"),
        ("bench.metrics.summary", "from bench.metrics import series"),
        ("bench.run", "from bench.dispatch import OpenLoop\nfrom promptset.tokens import load_tokenizer"),
        ("bench.cli", "from bench.run import run\nfrom bench import evaluate"),
        ("bench.cli", "from bench.limits import ceiling, measure, table"),
        ("bench.limits.measure", "from bench.run import run"),
        ("bench.run", "from bench.limits import ceiling"),
        ("bench.workload", "import os\nfrom promptset import loaders"),
        ("mockserver.plans.plan", "from promptset.distributions import parse\nfrom mockserver.rng import stream"),
    ],
)
def test_what_the_rules_allow_is_allowed(module: str, line: str) -> None:
    assert violations({module: line}) == []


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "from time import monotonic_ns",
        "import time as t",
        "from datetime import datetime\ndatetime.now()",
        "import datetime as d\nd.datetime.now()",
        "import asyncio\nasyncio.sleep(1)",
        "from asyncio import sleep",
    ],
)
def test_each_way_to_a_clock_is_seen(line: str) -> None:
    assert forbidden_uses({"bench.dispatch.stop": line}, CLOCKS, "clock")
    assert not forbidden_uses({"bench.clock": line}, CLOCKS, "clock")


@pytest.mark.parametrize(
    "line",
    ["import random", "from random import Random", "import os\nos.urandom(4)", "from os import urandom", "import uuid"],
)
def test_each_way_to_chance_is_seen(line: str) -> None:
    assert forbidden_uses({"bench.schedule.poisson": line}, CHANCE, "rng")
    assert not forbidden_uses({"mockserver.rng": line}, CHANCE, "rng")
