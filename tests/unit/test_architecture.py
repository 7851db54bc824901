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
    "mockserver": frozenset({"mockserver", "promptset"}),
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


def test_every_module_of_bench_has_a_rule_of_its_own_or_of_its_folder() -> None:
    assert [module for module in sources() if rule_for(module) == "bench" and module != "bench"] == []


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
