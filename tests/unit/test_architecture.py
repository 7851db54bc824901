"""Who may import whom. The rules of docs/architecture.md, "Who may import whom", read from the syntax of every module."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"bench": ROOT / "bench", "mockserver": ROOT / "mockserver", "promptset": ROOT / "datasets" / "promptset"}

MAY_IMPORT: dict[str, frozenset[str]] = {
    # Of our own modules, besides those of its own folder. The closest entry counts: bench.transport is for all below it.
    # Values and what everything stands on:
    "bench": frozenset({"bench.api", "bench.load_search.found", "bench.load_sweep.measure", "bench.observer"}),
    "bench.errors": frozenset(),
    "bench.clock": frozenset(),
    "bench.rng": frozenset(),
    "bench.secrets": frozenset(),
    "bench.loads": frozenset(),
    "bench.run_state": frozenset(),
    "bench.records": frozenset({"bench.errors"}),
    "bench.stock": frozenset(),
    "bench.workload": frozenset({"bench.stock", "promptset.samples"}),
    "bench.schedule": frozenset({"bench.rng"}),
    # Stages: each knows the values it is given and the values it makes.
    "bench.endpoints": frozenset({"bench.records", "bench.workload", "promptset.samples"}),
    "bench.transport": frozenset(
        {"bench.clock", "bench.endpoints", "bench.errors", "bench.records", "bench.secrets", "bench.workload",
         "promptset.samples"}
    ),
    "bench.conversations": frozenset({"bench.stock", "bench.workload", "promptset"}),
    "bench.sources": frozenset({"bench.conversations", "bench.workload", "promptset"}),
    "bench.dispatch": frozenset(
        {"bench.clock", "bench.conversations", "bench.records", "bench.transport.interface", "bench.workload"}
    ),
    # The settings by type alone: a mode reads them, and the declaration of the settings reads the modes.
    "bench.modes": frozenset(
        {"bench.clock", "bench.config.settings", "bench.conversations", "bench.dispatch", "bench.endpoints",
         "bench.errors", "bench.rng", "bench.schedule", "bench.sources", "bench.stock", "bench.workload", "promptset"}
    ),
    "bench.metrics": frozenset({"bench.errors", "bench.records", "bench.statistics"}),
    # Pure functions of plain values, and the decisions of a search that stand on them.
    "bench.statistics": frozenset(),
    "bench.load_search": frozenset({"bench.errors", "bench.statistics"}),
    # Around the decisions: what visits bring back, the files, and what people see.
    "bench.load_search.visit_result": frozenset(
        {"bench.clock", "bench.load_search", "bench.metrics", "bench.records", "bench.statistics"}
    ),
    "bench.load_search.options": frozenset({"bench.config.values", "bench.errors", "bench.load_search"}),
    "bench.load_search.files": frozenset({"bench.config", "bench.errors", "bench.load_search", "bench.run_directory"}),
    "bench.load_search.real_time": frozenset({"bench.clock"}),
    "bench.load_search.run_visits": frozenset(
        {"bench.clock", "bench.config", "bench.evaluate", "bench.load_search", "bench.manifest"}
    ),
    "bench.load_search.visit_numbers": frozenset({"bench.load_search", "bench.run_directory"}),
    "bench.load_search.answer": frozenset({"bench.errors", "bench.load_search", "bench.report.formatting"}),
    "bench.load_search.charts": frozenset({"bench.load_search", "bench.report"}),
    "bench.load_search.visit_table": frozenset({"bench.load_search", "bench.report"}),
    "bench.load_search.text": frozenset({"bench.load_search", "bench.report"}),
    "bench.load_search.page": frozenset({"bench.errors", "bench.load_search", "bench.report"}),
    "bench.load_search.render": frozenset({"bench.errors", "bench.load_search"}),
    "bench.load_search.found": frozenset({"bench.errors", "bench.load_search"}),
    "bench.load_search.whole": frozenset(
        {"bench.clock", "bench.config", "bench.load_search", "bench.load_test", "bench.machine", "bench.secrets"}
    ),
    "bench.load_search.follower": frozenset(
        {"bench.load.live", "bench.load_search", "bench.observer", "bench.terminal"}
    ),
    "bench.load_sweep": frozenset({"bench.errors", "bench.loads", "bench.statistics"}),
    "bench.load_sweep.measure": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.evaluate", "bench.load_search.visits", "bench.load_sweep",
         "bench.loads", "bench.machine", "bench.report", "bench.run_directory", "bench.run_series", "bench.secrets"}
    ),
    "bench.load_sweep.repeats": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.evaluate", "bench.load_sweep", "bench.loads",
         "bench.machine", "bench.run_directory", "bench.run_series", "bench.secrets"}
    ),
    "bench.verdict": frozenset(),
    "bench.report": frozenset({"bench.metrics.bounds", "bench.metrics.catalog", "bench.metrics.step_histograms"}),
    "bench.report.sweep_page": frozenset({"bench.accuracy.sweep", "bench.report"}),
    "bench.report.metamorphic_table": frozenset({"bench.accuracy.metamorphic", "bench.report"}),
    "bench.run_directory": frozenset({"bench.errors", "bench.records"}),
    # The truth is computed by code that shares nothing with bench.metrics: a shared mistake would cancel out.
    "bench.accuracy": frozenset({"bench.errors", "bench.records", "bench.run_directory"}),
    # How far chance may move a mean is no truth about a number: one code of intervals serves both sides.
    "bench.accuracy.closed_form": frozenset({"bench.accuracy.distribution", "bench.statistics"}),
    # Which certificate covers which load is decided from plain values.
    "bench.accuracy.coverage": frozenset({"bench.accuracy.load_shape"}),
    "bench.accuracy.load_shape": frozenset(),
    "bench.accuracy.sweep": frozenset({"bench.errors", "bench.loads"}),
    "bench.accuracy.metamorphic": frozenset({"bench.errors"}),
    # Around the load:
    "bench.machine_cache": frozenset({"bench.errors"}),
    "bench.mock_process": frozenset({"bench.errors"}),
    "bench.notices": frozenset({"bench.clock"}),
    "bench.observer": frozenset({"bench.load.live"}),
    "bench.terminal": frozenset({"bench.load.live", "bench.notices", "bench.observer"}),
    "bench.preflight": frozenset({"bench.errors"}),
    "bench.priority": frozenset({"bench.clock", "bench.errors"}),
    "bench.machine": frozenset({"bench.load.sampling"}),
    "bench.target": frozenset(
        {"bench.clock", "bench.endpoints", "bench.errors", "bench.records", "bench.transport", "bench.workload",
         "promptset.samples"}
    ),
    "bench.event_loop": frozenset(),
    "bench.config": frozenset(
        {"bench.clock", "bench.endpoints", "bench.errors", "bench.metrics.objectives", "bench.metrics.precision",
         "bench.modes", "bench.schedule", "bench.secrets", "bench.sources", "bench.transport", "bench.verdict", "promptset"}
    ),
    "bench.config.flags": frozenset({"bench.errors"}),
    "bench.config.values": frozenset(
        {"bench.errors", "bench.metrics.objectives", "bench.metrics.precision", "bench.secrets", "promptset"}
    ),
    "bench.config.segments": frozenset({"bench.config.values", "bench.loads", "bench.schedule.segments"}),
    "bench.manifest": frozenset(
        {"bench.config", "bench.errors", "bench.priority", "bench.run_directory", "bench.run_state",
         "bench.target.prefix_cache"}
    ),
    "bench.ceiling": frozenset(
        {"bench.config", "bench.machine_cache", "bench.metrics.per_request", "bench.records", "promptset.distributions"}
    ),
    # One worker runs the middle of the way, from the workload to the records; several are made of it.
    "bench.load": frozenset(
        {"bench.clock", "bench.config", "bench.dispatch", "bench.endpoints", "bench.errors", "bench.metrics",
         "bench.modes", "bench.preflight", "bench.priority", "bench.records", "bench.run_directory", "bench.secrets",
         "bench.sources", "bench.transport", "bench.workload", "promptset"}
    ),
    "bench.load.sampling": frozenset({"bench.clock"}),
    "bench.load.live": frozenset(
        {"bench.clock", "bench.load.progress_tally", "bench.metrics", "bench.records", "bench.run_state"}
    ),
    "bench.load.live_log": frozenset(
        {"bench.load.live", "bench.load.sampling", "bench.metrics", "bench.records", "bench.run_state"}
    ),
    "bench.load.progress_tally": frozenset({"bench.clock", "bench.metrics", "bench.records"}),
    "bench.load.supervision": frozenset(
        {"bench.clock", "bench.load.crew", "bench.load.progress_tally", "bench.records"}
    ),
    "bench.scale": frozenset(
        {"bench.clock", "bench.errors", "bench.event_loop", "bench.load", "bench.metrics.objectives", "bench.modes",
         "bench.records", "bench.run_directory"}
    ),
    # Who puts the stages together, and is imported by nobody but those further down in this list.
    "bench.evaluate": frozenset({"bench"}),
    "bench.load_test": frozenset({"bench", "promptset"}),
    "bench.calibrate": frozenset(
        {"bench.accuracy", "bench.clock", "bench.config", "bench.endpoints", "bench.errors", "bench.evaluate",
         "bench.load_test", "bench.loads", "bench.machine", "bench.machine_cache", "bench.mock_process", "bench.observer",
         "bench.report", "bench.run_directory"}
    ),
    "bench.limits": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.load_test", "bench.loads", "bench.machine",
         "bench.mock_process", "bench.observer", "bench.preflight"}
    ),
    # What search, sweep, repeats and pairs have in common: a directory of run directories.
    "bench.run_series": frozenset(
        {"bench.config", "bench.errors", "bench.evaluate", "bench.load_test", "bench.manifest", "bench.observer",
         "bench.run_directory"}
    ),
    "bench.api": frozenset({"bench"}),
    "bench.comparison": frozenset(
        {"bench.config", "bench.errors", "bench.evaluate", "bench.manifest", "bench.metrics", "bench.observer",
         "bench.records", "bench.report", "bench.run_directory", "bench.run_series", "bench.statistics"}
    ),
    "bench.release_gate": frozenset({"bench.comparison", "bench.errors", "bench.metrics", "bench.statistics"}),
    # It starts `python -m bench` in a process of its own, and reads what runs leave behind.
    "bench.console": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.manifest", "bench.mock_process", "bench.rng",
         "bench.run_directory", "bench.run_state", "bench.secrets", "bench.verdict.limits", "promptset.recipes"}
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
    "mockserver.priority": frozenset({"mockserver.clock", "mockserver.errors"}),
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
         "mockserver.faults", "mockserver.plans.latencies", "mockserver.priority", "mockserver.record",
         "mockserver.replies.wire", "mockserver.rng", "mockserver.worker", "mockserver.workers", "promptset"}
    ),
    # Ways in.
    "mockserver.cli": frozenset(
        {"mockserver.config", "mockserver.errors", "mockserver.faults", "mockserver.http.server", "mockserver.presets"}
    ),
    "mockserver.__main__": frozenset({"mockserver.cli"}),
    "mockserver.child": frozenset({"mockserver.cli"}),
    "mockserver.api": frozenset({"mockserver.clock", "mockserver.errors", "mockserver.record.assertions"}),
    "mockserver.pytest_plugin": frozenset({"mockserver.api"}),
    # promptset, from what everything stands on up to the command:
    "promptset": frozenset(),
    "promptset.errors": frozenset(),
    "promptset.clock": frozenset(),
    "promptset.rng": frozenset(),
    "promptset.distributions": frozenset({"promptset.errors", "promptset.rng"}),
    # Counting: a tokenizer, and the places where one is found. None of them knows what a prompt is made of.
    "promptset.chat": frozenset({"promptset.clock", "promptset.errors"}),
    "promptset.tokenizer_files": frozenset({"promptset.errors"}),
    "promptset.tokenizer": frozenset({"promptset.chat", "promptset.errors"}),
    "promptset.hub": frozenset({"promptset.errors", "promptset.tokenizer"}),
    "promptset.server_tokens": frozenset({"promptset.chat", "promptset.errors", "promptset.tokenizer"}),
    "promptset.tokens": frozenset(
        {"promptset.errors", "promptset.hub", "promptset.server_tokens", "promptset.tokenizer", "promptset.tokenizer_files"}
    ),
    "promptset.tools": frozenset({"promptset.chat", "promptset.errors", "promptset.tokenizer"}),
    # Text of a given length:
    "promptset.kinds": frozenset({"promptset.errors", "promptset.rng"}),
    "promptset.text": frozenset({"promptset.errors", "promptset.rng", "promptset.tokenizer"}),
    "promptset.drafts": frozenset({"promptset.kinds", "promptset.rng", "promptset.text", "promptset.tokenizer"}),
    "promptset.exact": frozenset(
        {"promptset.chat", "promptset.drafts", "promptset.errors", "promptset.kinds", "promptset.rng", "promptset.text",
         "promptset.tokenizer"}
    ),
    # A way of sharing names segments of text and never sees one.
    "promptset.sharing": frozenset({"promptset.distributions.family", "promptset.errors", "promptset.rng"}),
    # Prompts, one by one:
    "promptset.outline": frozenset(
        {"promptset.chat", "promptset.drafts", "promptset.exact", "promptset.kinds", "promptset.rng", "promptset.sharing",
         "promptset.text", "promptset.tokenizer"}
    ),
    "promptset.samples": frozenset(
        {"promptset.chat", "promptset.distributions", "promptset.drafts", "promptset.errors", "promptset.kinds",
         "promptset.outline", "promptset.rng", "promptset.sharing", "promptset.tokenizer"}
    ),
    "promptset.loaders": frozenset(
        {"promptset.errors", "promptset.outline", "promptset.rng", "promptset.samples", "promptset.sharing",
         "promptset.tokenizer", "promptset.tokens", "promptset.tools"}
    ),
    # Files and their rows are read without a tokenizer.
    "promptset.loaders.containers": frozenset({"promptset.errors"}),
    "promptset.loaders.rows": frozenset(
        {"promptset.errors", "promptset.outline", "promptset.samples", "promptset.tools"}
    ),
    "promptset.sessions": frozenset(
        {"promptset.chat", "promptset.distributions", "promptset.errors", "promptset.exact", "promptset.loaders",
         "promptset.outline", "promptset.rng", "promptset.samples", "promptset.sharing", "promptset.text",
         "promptset.tokenizer"}
    ),
    "promptset.recipes": frozenset({"promptset.distributions", "promptset.errors", "promptset.rng", "promptset.sharing"}),
    # Data sets as files, and the command:
    "promptset.output_formats": frozenset(
        {"promptset.chat", "promptset.errors", "promptset.samples", "promptset.sessions", "promptset.sharing",
         "promptset.tokenizer"}
    ),
    "promptset.lines": frozenset(
        {"promptset.chat", "promptset.distributions", "promptset.errors", "promptset.kinds", "promptset.loaders",
         "promptset.output_formats", "promptset.samples", "promptset.sessions", "promptset.sharing",
         "promptset.tokenizer", "promptset.tokens"}
    ),
    "promptset.manifest": frozenset({"promptset.output_formats", "promptset.sharing", "promptset.tokenizer"}),
    "promptset.job": frozenset(
        {"promptset.distributions", "promptset.errors", "promptset.kinds", "promptset.lines", "promptset.loaders",
         "promptset.output_formats", "promptset.recipes", "promptset.sharing", "promptset.tokens", "promptset.tools"}
    ),
    "promptset.output": frozenset({"promptset.job", "promptset.lines", "promptset.manifest"}),
    "promptset.cli": frozenset({"promptset"}),
    "promptset.__main__": frozenset({"promptset.cli"}),
}  # fmt: skip

COMPOSERS = (
    "bench.evaluate", "bench.load_test", "bench.run_series", "bench.load_search", "bench.comparison", "bench.release_gate",
    "bench.calibrate", "bench.load_sweep.measure", "bench.load_sweep.repeats", "bench.limits",
    "bench.api", "bench.commands", "bench.cli", "bench.__main__",
)  # fmt: skip
"""From the lowest to the highest: each may import those before it."""

LAYERS: tuple[frozenset[str], ...] = (
    # The rooms of bench, from the lowest to the highest: folders, and files beside them. At run time a room imports rooms of
    # the layers before its own, and none of its own layer.
    frozenset(
        {
            "clock",
            "errors",
            "event_loop",
            "loads",
            "machine",
            "rng",
            "run_state",
            "secrets",
            "statistics",
            "stock",
            "verdict",
        }
    ),
    frozenset({"machine_cache", "mock_process", "notices", "preflight", "priority", "records", "schedule", "workload"}),
    frozenset({"conversations", "endpoints", "metrics", "run_directory"}),
    frozenset({"accuracy", "sources", "transport"}),
    frozenset({"dispatch", "report", "target"}),
    frozenset({"modes"}),
    frozenset({"config"}),
    frozenset({"ceiling", "load", "manifest"}),
    frozenset({"evaluate", "observer", "scale"}),
    frozenset({"load_test", "terminal"}),
    frozenset({"calibrate", "load_search", "run_series"}),
    frozenset({"comparison", "limits", "load_sweep"}),
    frozenset({"release_gate"}),
    frozenset({"api", "console"}),
    frozenset({"commands"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
LAYER_OF = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}

CLOCKS = {"time", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "asyncio.sleep"}
CHANCE = {
    "random",
    "secrets",
    "uuid",
    "os.urandom",
    "numpy.random",
    "numpy.random.default_rng",
    "numpy.random.Generator",
}


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


@functools.cache
def imports_at_run_time(source: str) -> tuple[str, ...]:
    """The full name of everything that a module may import while it runs, in its functions too: not for types alone."""
    names: list[str] = []
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            nodes += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            names += [name for _, name in imports_of(ast.unparse(node))]
        nodes += ast.iter_child_nodes(node)
    return tuple(names)


def files_imported(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """For each file, those that it may import while it runs; a package's __init__ counts where it is named from outside."""
    found = {}
    for module, source in modules.items():
        files = set()
        for name in imports_at_run_time(source):
            while name and name not in modules:
                name = name.rpartition(".")[0]
            files.add(name)
        found[module] = {name for name in files if name and not inside(module, (name,))}
    return found


def circle(modules: Mapping[str, str]) -> list[str]:
    """The files that import each other, directly or through others, at run time; none where there is no circle."""
    try:
        TopologicalSorter(files_imported(modules)).prepare()
    except CycleError as e:
        return sorted(set(e.args[1]))
    return []


def arrows_upwards(modules: Mapping[str, str]) -> list[str]:
    """A sentence for each import of a room that is not in a layer below."""
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
            late_enough |= module == "bench"  # The package passes on its API when it is asked for.
            if composer is not None and not late_enough:
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


def test_every_room_of_bench_has_one_layer() -> None:
    assert sum(map(len, LAYERS)) == len(LAYER_OF)
    rooms = {module.split(".")[1] for module in sources() if module.startswith("bench.")}
    assert rooms == set(LAYER_OF)


def test_the_readme_names_every_folder_of_bench() -> None:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Where things are")[2].partition("\n## ")[0]
    folders = sorted(path.parent.name for path in (ROOT / "bench").glob("*/__init__.py"))
    assert [folder for folder in folders if f"{folder}/" not in tree] == [], "add a line to the tree in README.md"


def test_no_room_of_bench_imports_one_above_it() -> None:
    assert arrows_upwards(sources()) == []


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("bench.errors", "from bench.records import Outcome", 2),
        ("bench.errors", "def f():\n    from bench.records import Outcome", 2),
        ("bench.errors", "import importlib\nimportlib.import_module('bench.records')", 2),
        ("bench.modes.rate", "from bench.config import RunConfig", 2),
        ("bench.modes.rate", "from bench import config", 2),
        ("bench.modes.share", "from bench.modes.rate import Rate", 1),
        ("bench.load.crew", "from bench.load.worker import Worker", 1),
        ("bench.load.crew", "from bench.scale import plan", 1),
        ("bench.machine", "from bench.clock import NS_PER_S", 1),
        ("bench.modes.rate", "if TYPE_CHECKING:\n    from bench.config import RunConfig", 0),
    ],
)
def test_a_circle_and_an_arrow_upwards_are_seen(module: str, line: str, found: int) -> None:
    planted = sources()
    planted[module] += f"\n{line}\n"
    assert len(arrows_upwards(planted)) + bool(circle(planted)) == found


def test_only_clock_reads_clocks() -> None:
    assert forbidden_uses(sources(), CLOCKS, "clock") == []


def test_only_rng_makes_chance() -> None:
    assert forbidden_uses(sources(), CHANCE, "rng") == []


def test_the_rules_speak_of_modules_that_exist() -> None:
    assert set(MAY_IMPORT) - set(sources()) == set()


@pytest.mark.parametrize("package", ["bench", "mockserver", "promptset"])
def test_every_module_has_a_rule_of_its_own_or_of_its_folder(package: str) -> None:
    assert [module for module in sources() if rule_for(module) == package and module != package] == []


@pytest.mark.parametrize("package", ["bench", "promptset"])
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    assert circle({name: source for name, source in sources().items() if inside(name, (package,))}) == []


def test_a_circle_is_found_whichever_way_it_is_closed() -> None:
    modules = {"p": "", "p.a": "from p.b import x", "p.b": "def f():\n    from p import c", "p.c": "import p.a"}
    assert circle(modules) == ["p.a", "p.b", "p.c"]
    assert circle({**modules, "p.c": "if TYPE_CHECKING:\n    import p.a"}) == []


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
        ("bench.dispatch.open_loop", "from bench.transport.scripted import ScriptedReply"),
        ("bench.dispatch.open_loop", "from bench import transport"),
        ("bench.metrics.summary", "from bench.transport import TRANSPORTS"),
        ("bench.metrics.summary", "from bench.clock import now_ns"),
        ("bench.metrics.summary", "from bench.verdict import judge"),
        ("bench.report.html", "from bench.records import RequestRecord"),
        ("bench.report.html", "from bench.metrics.summary import Summary"),
        ("bench.report.html", "from bench.run_directory import RunDirectory"),
        ("bench.verdict.server", "from bench.transport import TRANSPORTS"),
        ("bench.statistics.intervals", "from bench.metrics.quantile import quantile"),
        ("bench.statistics.capacity", "from bench.rng import stream"),
        ("bench.statistics.gate", "from bench.errors import UsageError"),
        ("bench.load_search.decisions", "from bench.load_test import run"),
        ("bench.load_search.goals", "from bench.metrics.objectives import Objective"),
        ("bench.metrics.summary", "from bench.load_search.decisions import Search"),
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
        ("bench.mock_process", "from bench.load_test import run"),
        ("bench.ceiling", "from bench.load_test import run"),
        ("bench.load.worker", "from bench.scale import plan"),
        ("bench.load.worker", "from bench.schedule import ARRIVALS"),
        ("bench.modes.rate", "from bench.transport import TRANSPORTS"),
        ("bench.modes.rate", "from bench.load.worker import Worker"),
        ("bench.scale.plan", "from bench.config import RunConfig"),
        ("bench.load.worker", "from bench.load_test import run"),
        ("bench.endpoints.openai", "from bench.transport.interface import Target"),
        ("bench.target.probe", "from bench.load.worker import Worker"),
        ("bench.load_test", "from bench.commands.output import progress"),
        ("bench.evaluate", "from bench.calibrate.measure import keep"),
        ("bench.target.probe", "from bench.load_test import run"),
        ("bench.load.live", "from bench import evaluate"),
        ("bench.evaluate", "from bench.load_test import run"),
        ("bench.load_test", "from bench.limits.measure import measure"),
        ("bench.load_test", "from bench.limits import measure"),
        ("bench.limits.ladder", "from bench.load_test import run"),
        ("bench.ceiling", "from bench.limits.measure import measure"),
        ("bench.ceiling", "from bench.transport import TRANSPORTS"),
        ("bench.limits.source", "from bench.records import RequestRecord"),
        ("bench.load_test", "import bench.cli"),
        ("bench.workload", "import mockserver"),
        ("bench.cli", "from mockserver.http.server import serve"),
        ("bench.load_test", "def f():\n    from mockserver import plan"),
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
        ("promptset.rng", "from promptset.errors import SpecError"),
        ("promptset.distributions.gamma", "from promptset.tokenizer import Tokenizer"),
        ("promptset.chat", "from promptset.tokenizer import Tokenizer"),
        ("promptset.tokenizer_files.tekken", "from promptset.tokenizer import Tokenizer"),
        ("promptset.tokenizer", "from promptset.tokens import load_tokenizer"),
        ("promptset.hub", "from promptset.tokens import load_tokenizer"),
        ("promptset.server_tokens", "from promptset import tokens"),
        ("promptset.tokens", "from promptset.text import word_bank"),
        ("promptset.kinds.english", "from promptset.text import word_bank"),
        ("promptset.text", "from promptset.drafts import draft"),
        ("promptset.drafts", "from promptset.exact import exact_prompt"),
        ("promptset.exact", "from promptset.outline import PromptMaker"),
        ("promptset.sharing.groups", "from promptset.text import word_bank"),
        ("promptset.outline", "from promptset.samples import Sample"),
        ("promptset.samples", "from promptset.loaders import DataSet"),
        ("promptset.loaders.containers", "from promptset.samples import Sample"),
        ("promptset.loaders.dataset", "from promptset.sessions import Session"),
        ("promptset.sessions", "from promptset.output_formats import Line"),
        ("promptset.recipes", "from promptset.samples import Sample"),
        ("promptset.output_formats", "from promptset.lines import LineMaker"),
        ("promptset.lines", "from promptset.manifest import FileSummary"),
        ("promptset.manifest", "from promptset.job import Job"),
        ("promptset.job", "from promptset.output import write"),
        ("promptset.output", "from promptset.cli import main"),
        ("promptset.new_module", "from promptset.rng import stream"),
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
        ("bench.load_test", "from bench.dispatch import OpenLoop\nfrom promptset.tokens import load_tokenizer"),
        ("bench.cli", "from bench.load_test import run\nfrom bench import evaluate"),
        ("bench.commands.limits", "from bench.limits import measure, table"),
        ("bench.limits.measure", "from bench.load_test import run"),
        ("bench.load_test", "from bench import ceiling"),
        ("bench.sources.rows", "import os\nfrom promptset import loaders"),
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
    [
        "import random",
        "from random import Random",
        "import os\nos.urandom(4)",
        "from os import urandom",
        "import uuid",
        "import numpy as np\nnp.random.default_rng(1)",
        "from numpy.random import default_rng",
    ],
)
def test_each_way_to_chance_is_seen(line: str) -> None:
    assert forbidden_uses({"bench.schedule.poisson": line}, CHANCE, "rng")
    assert not forbidden_uses({"mockserver.rng": line}, CHANCE, "rng")
