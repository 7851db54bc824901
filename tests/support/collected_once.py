"""Several processes run the tests (pytest-xdist). Each imports only the files whose tests it runs.

The process that distributes the tests collects them all before it starts the others, and sends them the list. Each of
them has the folders with their conftest.py, and collects a file's tests when it is about to run the first. Otherwise
each process would import 800 files and create 19,000 tests: 9 s of processor time.
"""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.workermanage import WorkerController

TOLD = pytest.StashKey[str]()
"""The list sent to the other processes, kept in the process that distributes the tests."""
LATER = pytest.StashKey["Later"]()
"""The tests of a process that collects a file when it is needed."""


def collect(config: pytest.Config) -> None:
    """Collect all tests in the process that distributes them; pytest-xdist would leave it to the others."""
    plugins = config.pluginmanager
    session = plugins.getplugin("session")
    plugins.subset_hook_caller("pytest_collection", [plugins.getplugin("dsession")])(session=session)
    config.stash[TOLD] = json.dumps([(str(item.path), item.nodeid) for item in session.items])


def tell(node: WorkerController) -> None:
    """Send the list of tests to another process."""
    if TOLD in node.config.stash:
        node.workerinput["tests"] = node.config.stash[TOLD]


def collect_later(config: pytest.Config, sender: Any) -> None:
    """Make a process that received the list collect each file when it needs it."""
    told = config.workerinput.get("tests")  # type: ignore[attr-defined]
    if told is not None:
        config.stash[LATER] = Later(json.loads(told), sender)


class NotYet(pytest.File):
    """A file whose tests are not needed yet."""

    def collect(self) -> Sequence[pytest.Item]:
        """No tests."""
        return ()


class Later(Sequence[Any]):
    """A session's tests, by index, as pytest-xdist's plugin requests them."""

    def __init__(self, told: list[tuple[str, str]], sender: Any) -> None:
        self._told, self._sender = told, sender
        self._ids: defaultdict[str, set[str]] = defaultdict(set)
        for path, node_id in told:
            self._ids[path].add(node_id)
        self._folders: dict[Path, pytest.Collector] = {}
        self._items: dict[str, pytest.Item] = {}
        self._session: pytest.Session | None = None

    def file(self, path: Path, folder: pytest.Collector) -> pytest.File | None:
        """The placeholder of a file that pytest has found."""
        self._folders[path] = folder
        return NotYet.from_parent(folder, path=path)

    def take_the_place_of(self, session: pytest.Session) -> None:
        """Replace the tests of a session that has found its files."""
        self._session = session
        session.items = self  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._told)

    def __iter__(self) -> Iterator[Any]:
        return (SimpleNamespace(nodeid=node_id) for _, node_id in self._told)

    def __getitem__(self, at: Any) -> Any:
        path, node_id = self._told[at]
        if node_id not in self._items:
            if at != self._sender.item_index:
                # Used as the next item, which tells pytest what may stay set up: only the session. So the fixtures of
                # the current file are torn down before another file is imported.
                return self._session
            self._collect(Path(path))
        return self._items[node_id]

    def _collect(self, path: Path) -> None:
        assert self._session is not None
        config = self._session.config
        gc.disable()
        try:
            module = pytest.Module.from_parent(self._folders[path], path=path)
            items = list(self._session.genitems(module))
            config.hook.pytest_collection_modifyitems(session=self._session, config=config, items=items)
        finally:
            gc.enable()
        self._items.update((item.nodeid, item) for item in items)
        missing = self._ids[str(path)] - self._items.keys()
        assert not missing, (
            f"only other processes have these tests: does a parameter change from process to process? {missing}"
        )
