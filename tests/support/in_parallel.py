"""How tests are distributed among parallel processes (pytest-xdist).

Files are the units, so that a module's shared fixtures (a mock, a browser, a console) are started once. The browser
tests form one unit, so they never run in parallel. Files that measure the same tokenizers form one unit, too, because
each process measures a tokenizer once. So do the files that compare with scipy, which takes a second to import, and the
files that use the clients of Anthropic, OpenAI and the Model Context Protocol, whose packages take one to three.

An idle process takes the next unit. Units that wait a lot come first, the longest in front; units that only compute
come last: they are short, so that no process works alone for long. With three or more processes, one begins with
computing units: it uses the processor time that the others leave while they wait.

A process may end in the middle of a test (an interpreter crash). That test has failed, and its other tests go to other
processes. The file-based schedulers of pytest-xdist would hand out tests that such a process had already finished, and
might then wait for ever.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
from xdist.report import report_collection_diff
from xdist.workermanage import WorkerController, parse_tx_spec_config

BROWSER = "a browser"
TEXTS, SENTENCES = "tests/unit/promptset/test_fresh_texts.py", "tests/unit/promptset/test_recorded_text.py"
"""The units of the files that make texts of kinds, and of those that make texts of sentences."""
SCIPY = "tests/unit/bench/statistics/"
"""The unit of the files that compare with scipy, whose import takes a second in each process that runs one of them."""
CLIENTS = "tests/sockets/test_mock_openai_client.py"
"""The unit of the files in which OpenAI's and Anthropic's clients talk to the mock: importing them takes four seconds."""
UNITS: dict[str, str] = {
    "tests/browser/": BROWSER,
    "tests/sockets/test_audio_endpoints.py": CLIENTS,
    "tests/sockets/test_images_endpoint.py": CLIENTS,
    "tests/sockets/test_mock_anthropic_client.py": CLIENTS,
    "tests/sockets/test_mock_dialect_tools.py": CLIENTS,
    "tests/sockets/test_mock_endpoints.py": CLIENTS,
    "tests/sockets/test_mock_openai_features.py": CLIENTS,
    "tests/sockets/test_mock_openai_responses.py": CLIENTS,
    "tests/sockets/test_mock_rerank.py": CLIENTS,
    "tests/sockets/test_mock_stored_responses.py": CLIENTS,
    "tests/sockets/test_mock_websocket.py": CLIENTS,
    "tests/sockets/test_realtime.py": CLIENTS,
    "tests/unit/bench/agents/test_server.py": "tests/sockets/test_mcp.py",
    "tests/unit/test_architecture_planted.py": "tests/unit/test_architecture.py",
    SCIPY: SCIPY,
    "tests/unit/bench/accuracy/test_compare.py": SCIPY,
    "tests/unit/bench/answers/test_reach.py": SCIPY,
    "tests/unit/bench/fit/test_fit_sampled_by_hand.py": SCIPY,
    "tests/unit/bench/fit/test_robust.py": SCIPY,
    "tests/unit/bench/load_sweep/test_sweep_points.py": SCIPY,
    "tests/unit/bench/test_schedule.py": SCIPY,
    "tests/unit/bench/test_segments.py": SCIPY,
    "tests/unit/mockserver/test_mock_plan.py": SCIPY,
    "tests/unit/promptset/test_distributions.py": SCIPY,
    "tests/unit/promptset/test_exact.py": TEXTS,
    "tests/unit/promptset/test_kinds.py": TEXTS,
    "tests/unit/promptset/test_agents.py": SENTENCES,
    "tests/unit/promptset/test_sentences.py": SENTENCES,
    "tests/unit/promptset/test_sessions.py": SENTENCES,
}
"""Path prefixes, and the units of their tests. Every other file is its own unit."""
APART = ("tests/sockets/test_documentation_examples.py",)
"""Files whose tests are separate units: each is long, and shares nothing expensive."""
COMPUTING = ("tests/unit/", "tests/virtual/")
FIRST = (*COMPUTING, BROWSER, "tests/sockets/")
"""The order of the units when one process runs them all."""
LONG = (
    "tests/sockets/test_documentation_examples.py::test_every_example_of_a_page_runs[docs/python.md]",
    BROWSER,
    "tests/sockets/test_documentation_examples.py",
    "tests/sockets/test_first_run.py",
    CLIENTS,
    "tests/sockets/test_gpu_measure.py",
    "tests/sockets/test_examples.py",
    "tests/sockets/test_console_tasks.py",
    "tests/sockets/test_cluster_crew.py",
    "tests/sockets/test_fresh_prompts.py",
    "tests/sockets/test_hard_use.py",
    "tests/sockets/test_ci_workflows.py",
    "tests/sockets/test_calibrate_command.py",
    "tests/sockets/test_calibrate_endpoints.py",
    "tests/sockets/test_console_go_on.py",
    "tests/sockets/test_feed.py",
    "tests/sockets/test_fit_command.py",
)
"""Prefixes of the units that come first when several processes share them, so that none is left for the end."""
HEAVY = (
    SENTENCES,
    TEXTS,
    SCIPY,
    "tests/virtual/test_statistics_claims.py",
    "tests/virtual/test_planted_defects.py",
    "tests/virtual/test_comparison_reach.py",
    "tests/unit/promptset/test_real_tokenizers.py",
    "tests/unit/test_packaging.py",
    "tests/unit/mockserver/test_mock_pytest_plugin.py",
    "tests/unit/test_platforms.py",
    "tests/unit/bench/fit/test_fit_batching.py",
    "tests/unit/bench/release_gate/test_gate_command.py",
    "tests/unit/test_fuzz.py",
    "tests/virtual/test_session_graphs.py",
    "tests/unit/bench/comparison/test_compare.py",
)
"""The slowest computing files: they come before the other computing files."""


def unit_of(node_id: str) -> str:
    """The unit of a test."""
    file = node_id.partition("::")[0]
    if file in APART:
        return node_id
    return next((unit for start, unit in UNITS.items() if file.startswith(start)), file)


def place_of(node_id: str) -> int:
    """A test's place in the order; tests with the same place keep their own order."""
    unit = unit_of(node_id)
    return next((place for place, start in enumerate(FIRST) if unit.startswith(start)), len(FIRST))


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _rank(unit: str) -> int:
    """The place of a unit: long units come first, then other waiting units, then computing units, of which the heavy ones
    lead."""
    if unit.startswith(COMPUTING):
        return len(LONG) + 1 + (HEAVY.index(unit) if unit in HEAVY else len(HEAVY))
    return next((place for place, start in enumerate(LONG) if unit.startswith(start)), len(LONG))


def _rank_where_computing_is_first(unit: str) -> tuple[bool, int]:
    return not unit.startswith(COMPUTING), _rank(unit)


def tell_less(sender: Any) -> None:
    """Make a pytest-xdist process report only how each test ended. Four more messages per test (started, set up, torn
    down, finished) would cost more than most tests."""
    send = sender.sendevent

    def tell(name: str, **event: Any) -> None:
        report = event.get("data", {})
        around = name == "testreport" and report["when"] != "call" and report["outcome"] == "passed"
        if name not in ("logstart", "logfinish") and not (around and report["duration"] < 1):  # For --durations.
            send(name, **event)

    sender.sendevent = tell


class Units:
    """Hands out unit after unit: a pytest-xdist scheduler (`xdist.scheduler.protocol.Scheduling`).

    A process runs a test only when it also has the next one, or knows that there is none. So each holds at least two,
    until nothing is left to hand out.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config  # pytest-rerunfailures uses this to decide about a retry after a crash.
        self._processes = len(parse_tx_spec_config(config))
        self._collected: dict[WorkerController, list[str]] = {}
        self._given: dict[WorkerController, list[int]] = {}
        self._tests: list[str] | None = None
        self._waiting: dict[str, list[int]] = {}
        self._computes_first: WorkerController | None = None

    @property
    def nodes(self) -> list[WorkerController]:
        """The current processes."""
        return list(self._given)

    @property
    def collection_is_completed(self) -> bool:
        """Whether every process has reported its tests."""
        return self._tests is not None or len(self._collected) >= self._processes

    @property
    def tests_finished(self) -> bool:
        """Whether all tests are handed out, and no process waits for a test after its current one."""
        everything = self._tests is not None and not self._waiting
        return everything and all(len(given) < 2 for given in self._given.values())

    @property
    def has_pending(self) -> bool:
        """Whether tests remain to be run."""
        return bool(self._waiting) or any(self._given.values())

    def add_node(self, node: WorkerController) -> None:
        """A process has started."""
        self._given[node] = []
        if self._processes > 2 and self._tests is None:
            self._computes_first = node  # The last process to start.

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """The tests that a process has found; raises RuntimeError unless they match the others'."""
        known = self._tests if self._tests is not None else next(iter(self._collected.values()), collection)
        if list(collection) != list(known):
            raise RuntimeError(report_collection_diff(known, collection, "others", node.gateway.id))
        self._collected[node] = list(collection)

    def schedule(self) -> None:
        """Every process has found its tests, or a replacement process has."""
        if self._tests is None:
            self._tests = next(iter(self._collected.values()))
            for index, node_id in enumerate(self._tests):
                self._waiting.setdefault(unit_of(node_id), []).append(index)
        self._hand_out()

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """A process has run a test."""
        self._given[node].remove(item_index)
        self._hand_out()

    def mark_test_pending(self, item: str) -> None:
        """A test is to be run again: for plugins not used here."""
        raise NotImplementedError

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        """A process has given tests back: never requested here."""
        raise NotImplementedError

    def remove_node(self, node: WorkerController) -> str | None:
        """A process has ended; returns the test that it ended in, if any."""
        given = self._given.pop(node)
        self._collected.pop(node, None)
        if not given or self._tests is None:
            return None
        left: dict[str, list[int]] = {}
        for index in given[1:]:
            left.setdefault(unit_of(self._tests[index]), []).append(index)
        self._waiting = {**left, **self._waiting}
        self._hand_out()
        return self._tests[given[0]]

    def _hand_out(self) -> None:
        for node, given in self._given.items():
            while node in self._collected and not node.shutting_down and len(given) < 2:
                if self._waiting:
                    rank = _rank_where_computing_is_first if node is self._computes_first else _rank
                    self._give(node, min(self._waiting, key=rank))
                else:
                    node.shutdown()

    def _give(self, node: WorkerController, unit: str) -> None:
        indices = self._waiting.pop(unit)
        self._given[node] += indices
        node.send_runtest_some(indices)
