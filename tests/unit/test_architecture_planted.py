"""Planted violations of each rule of tests/support/architecture_rules.py are detected."""

from __future__ import annotations

import pytest

from tests.support.architecture_rules import CHANCE, CLOCKS
from tests.support.function_sizes import FunctionSize
from tests.support.imports import (
    arrows_upwards,
    circle,
    circles,
    forbidden_uses,
    function_sizes,
    inside,
    run_time_imports,
    sources,
    tied,
    violations,
)


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("bench.clock", "from bench.errors import UsageError", 1),
        ("bench.errors", "from bench.records import Outcome", 2),
        ("bench.errors", "def f():\n    from bench.records import Outcome", 2),
        ("bench.errors", "import importlib\nimportlib.import_module('bench.records')", 2),
        ("bench.modes.rate", "from bench.config import RunConfig", 2),
        ("bench.modes.rate", "from bench import config", 2),
        ("bench.modes.share", "from bench.modes.rate import Rate", 1),
        ("bench.load.crew", "from bench.load.worker import Worker", 1),
        ("bench.load.crew", "from bench.scale import plan", 1),
        ("bench.loads", "from bench.errors import UsageError", 1),
        ("bench.modes.rate", "if TYPE_CHECKING:\n    from bench.config import RunConfig", 0),
    ],
)
def test_a_circle_and_an_arrow_upwards_are_seen(module: str, line: str, found: int) -> None:
    planted = sources()
    planted[module] += f"\n{line}\n"
    assert len(arrows_upwards(planted)) + bool(circle(planted)) == found


def test_files_that_name_each_other_for_types_alone_are_seen() -> None:
    modules = {"p": "", "p.a": "from p.b import B", "p.b": "if TYPE_CHECKING:\n    from p.a import A"}
    assert tied(modules) == ["p.a", "p.b"]
    assert tied(modules, [("p.b", "p.a")]) == []


def test_a_long_function_and_one_of_many_parameters_are_seen() -> None:
    source = (
        "def short(a, b): ...\n"
        "class Room:\n"
        "    def __init__(self, a, *rest, b=1, **more):\n"
        "        async def inner(c):\n"
        "            return c\n"
        "    @staticmethod\n"
        "    def of(a): ...\n"
    )
    assert function_sizes({"m": source}) == [
        FunctionSize("m.short", 1, 2),
        FunctionSize("m.Room.__init__", 3, 2),
        FunctionSize("m.Room.__init__.inner", 2, 1),
        FunctionSize("m.Room.of", 1, 1),
    ]


def test_a_circle_is_found_whichever_way_it_is_closed() -> None:
    modules = {"p": "", "p.a": "from p.b import x", "p.b": "def f():\n    from p import c", "p.c": "import p.a"}
    assert circle(modules) == ["p.a", "p.b", "p.c"]
    assert circle({**modules, "p.c": "if TYPE_CHECKING:\n    import p.a"}) == []


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
        ("bench.transport.wire", "from bench.dispatch.stop import Stop"),
        ("bench.dispatch.open_loop", "from bench.schedule import ARRIVALS"),
        ("bench.dispatch.open_loop", "from bench.transport.scripted import ScriptedReply"),
        ("bench.dispatch.open_loop", "from bench import transport"),
        ("bench.metrics.summary", "from bench.transport import TRANSPORTS"),
        ("bench.metrics.summary", "from bench.clock import now_ns"),
        ("bench.metrics.summary", "from bench.verdict import judge"),
        ("bench.report.html", "from bench.records import RequestRecord"),
        ("bench.report.html", "from bench.metrics.summary import Summary"),
        ("bench.report.html", "from bench.run_files.run_directory import RunDirectory"),
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
        ("bench.limits.measure", "from bench.calibrate import remote"),
        ("bench.limits.measure", "from bench.accuracy.sweep import Point"),
        ("bench.calibrate.measure", "from bench.limits.measure import Server"),
        ("bench.process.mock_process", "from bench.load_test import run"),
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
        ("bench.watched_load", "from bench.load_test import run"),
        ("bench.limits.ladder", "from bench.load_test import run"),
        ("bench.series.drive", "from bench.load_search.decisions import Search"),
        ("bench.series.drive", "from bench.load_test import run"),
        ("bench.series.runs", "from bench.load_sweep.visits import Visit"),
        ("bench.load_test", "from bench.series.runs import RunSeries"),
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
        ("mockserver.record.ledger", "from mockserver.replies.reply import Reply"),
        ("mockserver.expect.sampled", "from mockserver.engine import ENGINES"),
        ("mockserver.workers.peers", "from mockserver.config import MockConfig"),
        ("mockserver.worker", "from mockserver.http.app import create_app"),
        ("mockserver.config", "from mockserver.engine import ENGINES"),
        ("mockserver.api", "from mockserver.config import MockConfig"),
        ("mockserver.new_module", "from mockserver.clock import now_ns"),
        ("mockserver.pacing", "import bench.clock"),
        ("promptset.exact", "from bench.rng import stream"),
        ("promptset.rng", "from promptset.errors import SpecError"),
        ("promptset.distributions.gamma", "from promptset.tokenizer import Tokenizer"),
        ("promptset.chat", "from promptset.tokenizer import Tokenizer"),
        ("promptset.tokenizer_files.wordpiece", "from promptset.tokenizer import Tokenizer"),
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
        ("promptset.simulated", "from promptset.loaders import DataSet"),
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
        (
            "bench.load_test",
            "from bench.dispatch.open_loop import OpenLoop\nfrom promptset.tokens import load_tokenizer",
        ),
        ("bench.cli", "from bench.load_test import run\nfrom bench import evaluate"),
        ("bench.commands.limits", "from bench.limits import measure, table"),
        ("bench.limits.measure", "from bench.series.runs import RunSeries"),
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
