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
    "bench.endpoints": frozenset({"bench.records", "bench.workload", "promptset.samples"}),
    "bench.transport": frozenset(
        {"bench.clock", "bench.endpoints", "bench.errors", "bench.records", "bench.workload", "promptset.samples"}
    ),
    "bench.conversations": frozenset({"bench.stock", "bench.workload", "promptset"}),
    "bench.dispatch": frozenset(
        {"bench.clock", "bench.conversations", "bench.records", "bench.transport.interface", "bench.workload"}
    ),
    "bench.metrics": frozenset({"bench.errors", "bench.records", "bench.rng"}),
    "bench.verdict": frozenset(),
    "bench.report": frozenset({"bench.metrics.catalog"}),
    "bench.report.sweep_page": frozenset({"bench.accuracy.sweep", "bench.report"}),
    "bench.report.metamorphic_table": frozenset({"bench.accuracy.metamorphic", "bench.report"}),
    "bench.run_directory": frozenset({"bench.errors", "bench.records"}),
    # The truth is computed by code that shares nothing with bench.metrics: a shared mistake would cancel out.
    "bench.accuracy": frozenset({"bench.errors", "bench.records", "bench.run_directory"}),
    # Which certificate covers which load is decided from plain values.
    "bench.accuracy.coverage": frozenset({"bench.accuracy.load_shape"}),
    "bench.accuracy.load_shape": frozenset(),
    "bench.accuracy.sweep": frozenset({"bench.errors"}),
    "bench.accuracy.metamorphic": frozenset({"bench.errors"}),
    # Around the load:
    "bench.machine_cache": frozenset({"bench.errors"}),
    "bench.mock_process": frozenset({"bench.errors"}),
    "bench.preflight": frozenset({"bench.errors"}),
    "bench.machine": frozenset({"bench.load.sampling"}),
    "bench.target": frozenset(
        {"bench.clock", "bench.endpoints", "bench.errors", "bench.records", "bench.transport", "bench.workload",
         "promptset.samples"}
    ),
    "bench.config.flags": frozenset({"bench.errors"}),
    "bench.config.values": frozenset({"bench.errors", "bench.metrics.objectives", "bench.secrets", "promptset"}),
    "bench.config": frozenset(
        {"bench.endpoints", "bench.errors", "bench.metrics.objectives", "bench.schedule", "bench.secrets",
         "bench.transport", "bench.verdict", "promptset"}
    ),
    "bench.ceiling": frozenset(
        {"bench.config", "bench.machine_cache", "bench.metrics.per_request", "bench.records", "promptset.distributions"}
    ),
    # One worker runs the middle of the way, from the workload to the records; several are made of it.
    "bench.load": frozenset(
        {"bench.clock", "bench.config", "bench.conversations", "bench.dispatch", "bench.endpoints", "bench.errors",
         "bench.metrics", "bench.records", "bench.rng", "bench.run_directory", "bench.schedule", "bench.secrets",
         "bench.transport", "bench.workload", "promptset"}
    ),
    "bench.load.sampling": frozenset({"bench.clock"}),
    "bench.load.live": frozenset({"bench.clock", "bench.metrics", "bench.records"}),
    "bench.load.supervision": frozenset({"bench.clock", "bench.load.live"}),
    "bench.scale": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.load", "bench.records", "bench.run_directory",
         "bench.schedule", "bench.workload"}
    ),
    # Who puts the stages together, and is imported by nobody but those further down in this list.
    "bench.evaluate": frozenset({"bench"}),
    "bench.run": frozenset({"bench", "promptset"}),
    "bench.calibrate": frozenset(
        {"bench.accuracy", "bench.clock", "bench.config", "bench.endpoints", "bench.errors", "bench.evaluate",
         "bench.machine", "bench.machine_cache", "bench.mock_process", "bench.report", "bench.run", "bench.run_directory"}
    ),
    "bench.limits": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.machine", "bench.mock_process", "bench.preflight",
         "bench.run"}
    ),
    "bench.commands": frozenset({"bench", "promptset.cli"}),
    "bench.cli": frozenset({"bench"}),
    "bench.__main__": frozenset({"bench.cli"}),
    # Below the drivers: what they decide, and what they start.
    "bench.calibrate.remote": frozenset({"bench.errors"}),
    "bench.calibrate.slow_reader": frozenset({"bench.accuracy.ledger"}),
    "bench.limits.ladder": frozenset({"bench.verdict"}),
    "bench.limits.result": frozenset({"bench.limits.ladder"}),
    "bench.limits.servers": frozenset({"bench.errors", "bench.limits.source", "bench.mock_process"}),
    "bench.limits.source": frozenset({"bench.clock"}),
    "bench.limits.table": frozenset({"bench.limits.ladder", "bench.limits.result", "bench.report"}),
    "mockserver": frozenset({"mockserver", "promptset"}),
    "promptset": frozenset({"promptset"}),
}  # fmt: skip

COMPOSERS = (
    "bench.evaluate", "bench.run", "bench.calibrate", "bench.limits", "bench.commands", "bench.cli", "bench.__main__"
)  # fmt: skip
"""From the lowest to the highest: each may import those before it."""

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


def composer_of(module: str) -> str | None:
    """The entry of COMPOSERS that the module is, or lies in."""
    return next((composer for composer in COMPOSERS if inside(module, (composer,))), None)


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
            composer, own = composer_of(name), composer_of(module)
            if composer is None:
                composer = composer_of(origin)
            late_enough = own is not None and composer is not None and COMPOSERS.index(own) >= COMPOSERS.index(composer)
            if composer is not None and not late_enough:
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
        ("bench.accuracy.truth", "from bench.metrics import per_request"),
        ("bench.accuracy.truth", "from bench.metrics.quantile import quantile"),
        ("bench.accuracy.distribution", "from bench.metrics.histogram import LogHistogram"),
        ("bench.accuracy.compare", "from bench.metrics.catalog import METRICS"),
        ("bench.accuracy.coverage", "from bench.records import Outcome"),
        ("bench.accuracy.compare", "from bench.calibrate.measure import keep"),
        ("bench.accuracy.compare", "from bench import mock_process"),
        ("bench.limits.servers", "from bench.calibrate import remote"),
        ("bench.limits.measure", "from bench.accuracy.sweep import Point"),
        ("bench.calibrate.measure", "from bench.limits.servers import Server"),
        ("bench.mock_process", "from bench.run import run"),
        ("bench.ceiling", "from bench.run import run"),
        ("bench.load.worker", "from bench.scale import plan"),
        ("bench.load.worker", "from bench.run import run"),
        ("bench.endpoints.openai", "from bench.transport.interface import Target"),
        ("bench.target.probe", "from bench.load.worker import Worker"),
        ("bench.run", "from bench.commands.output import progress"),
        ("bench.evaluate", "from bench.calibrate.measure import keep"),
        ("bench.target.probe", "from bench.run import run"),
        ("bench.load.live", "from bench import evaluate"),
        ("bench.evaluate", "from bench.run import run"),
        ("bench.run", "from bench.limits.measure import measure"),
        ("bench.run", "from bench.limits import measure"),
        ("bench.limits.ladder", "from bench.run import run"),
        ("bench.ceiling", "from bench.limits.measure import measure"),
        ("bench.ceiling", "from bench.transport import TRANSPORTS"),
        ("bench.limits.source", "from bench.records import RequestRecord"),
        ("bench.run", "import bench.cli"),
        ("bench.workload", "import mockserver"),
        ("bench.cli", "from mockserver.server import serve"),
        ("bench.run", "def f():\n    from mockserver import plan"),
        ("bench.cli", "import importlib\nimportlib.import_module('mockserver.cli')"),
        ("mockserver.plan", "from bench.records import Outcome"),
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
        ("bench.commands.limits", "from bench.limits import measure, table"),
        ("bench.limits.measure", "from bench.run import run"),
        ("bench.run", "from bench import ceiling"),
        ("bench.workload", "import os\nfrom promptset import loaders"),
        ("mockserver.plan", "from promptset.distributions import parse\nfrom mockserver.rng import stream"),
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
