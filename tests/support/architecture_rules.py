"""Who may import whom: the tables that tests/unit/test_architecture.py checks every module against.

The tables of bench, the mock and promptset have files beside this one.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.architecture_rules_of_bench import BENCH
from tests.support.architecture_rules_of_mock import MOCKSERVER
from tests.support.architecture_rules_of_promptset import PROMPTSET

ROOT = Path(__file__).parents[2]
PACKAGES = {"bench": ROOT / "bench", "mockserver": ROOT / "mockserver", "promptset": ROOT / "datasets" / "promptset"}

MAY_IMPORT: dict[str, frozenset[str]] = {**BENCH, **MOCKSERVER, **PROMPTSET}

_NS = ("NS_PER_S", "NS_PER_MS", "NS_PER_US")
FOR_ALL = {
    "bench": ("bench.documents", "bench.results", *(f"bench.clock.{name}" for name in _NS)),
    "mockserver": tuple(f"mockserver.clock.{name}" for name in _NS),
    "promptset": ("promptset.clock.NS_PER_S",),
}
"""Types of published files, and units of time, which each package defines once, beside its clock."""

COMPOSERS = (
    "bench.evaluate", "bench.load_test", "bench.series", "bench.load_search", "bench.comparison", "bench.release_gate",
    "bench.answer_quality", "bench.calibrate", "bench.load_sweep.measure", "bench.load_sweep.repeats", "bench.tuning",
    "bench.limits", "bench.stores",
    "bench.console", "bench.api", "bench.agents", "bench.commands", "bench.cli", "bench.__main__",
)  # fmt: skip
"""From the lowest to the highest: each may import those before it."""

LAYERS: tuple[frozenset[str], ...] = (
    # The rooms of bench, from the lowest to the highest: folders, and files beside them. At run time a room imports
    # only from layers below its own.
    frozenset({"clock"}),
    frozenset(
        {"errors", "lazy_exports", "loads", "native", "proxy", "rng", "secrets", "statistics", "trust", "workload"}
    ),
    frozenset({"machine", "notices", "records", "schedule", "sources", "traffic"}),
    frozenset({"dispatch", "endpoints", "process", "results", "run_files"}),
    frozenset({"answers", "metrics", "modes", "verdict"}),
    frozenset({"accuracy", "documents", "server_metrics", "transport"}),
    frozenset({"config", "report", "target"}),
    frozenset({"ceiling", "damage", "load", "manifest", "observer", "run_facts", "telemetry"}),
    frozenset({"companions", "control", "evaluate", "fit", "readiness", "scale", "terminal", "watched_load"}),
    frozenset({"capacity_plan", "supply"}),
    frozenset({"load_test"}),
    frozenset({"series"}),
    frozenset({"answer_quality", "calibrate", "comparison", "exports", "imports", "limits", "load_search", "load_sweep"}),
    frozenset({"stores", "tuning"}),
    frozenset({"api", "console", "release_gate"}),
    frozenset({"agents"}),
    frozenset({"commands"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)  # fmt: skip
LAYER_OF = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}

TIES = (
    ("bench.endpoints.stream_reader", "bench.endpoints.openai"),
    ("bench.endpoints.whole_reply", "bench.endpoints.openai"),
    ("bench.metrics.by_part", "bench.metrics.summary"),
)
"""Files of bench that name the type of their owner: the file, and the owner's file. No other file does."""

EMPTY_NAMES = frozenset({"found", "one", "said", "told"})
"""Names of variables and parameters that do not say what the value is."""

MOST_LINES = 60
"""Of a function, with its signature and docstring."""
MOST_PARAMETERS = 8
"""Of a function: values that belong together form one frozen value with a name."""

_OPTIONS = "options of the public interface: users name the few that they need, and docs describe each"
MORE_PARAMETERS = {
    "bench.api.searches.search": _OPTIONS,
    "bench.config.fields.option": "the keywords of a declared setting, as pydantic's Field has them",
    "promptset.exact.exact_messages": _OPTIONS,
    "promptset.loaders.dataset.DataSet.__init__": _OPTIONS,
    "promptset.sessions.simulated.simulated_sessions": _OPTIONS,
    "promptset.simulated.simulated_prompts": _OPTIONS,
}
"""Functions that take more, and why."""

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
