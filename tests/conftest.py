"""Options shared by all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from xdist.workermanage import WorkerController

from tests.support import wall_clock
from tests.support.any_order import shuffled
from tests.support.collected_once import LATER, collect, collect_later, tell
from tests.support.heavy import function_of, listed
from tests.support.in_parallel import Units, place_of, processors, tell_less
from tests.support.last_lines import Ended, both
from tests.support.learned import give, take
from tests.support.pauses import PAUSES, Pauses
from tests.support.timing import failed_tries, forget_the_last_try, last_words, passed_again

# The duration of an example depends on the machine, so there is no deadline. A test that needs more than 50 examples
# sets its own number.
settings.register_profile("any machine", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
# A check that gates changes tries the same examples each time; other runs look for new ones.
settings.register_profile("same examples", settings.get_profile("any machine"), derandomize=True, max_examples=25)
if os.environ.get("TRUELOAD_SAME_EXAMPLES"):
    settings.load_profile("same examples")
    # Examples must not depend on the modules that this process has imported, but Hypothesis also takes examples from
    # their constants.
    vars(providers)["is_local_module_file"] = lambda path: False
else:
    settings.load_profile("any machine")
# Texts are counted a few at a time. Next to other processes, the tokenizers' own threads cost more than they save.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A pytest that a test starts in another folder does not read pyproject.toml: leave out the same plugins (1 s each).
os.environ.setdefault("PYTEST_ADDOPTS", "-p no:langsmith_plugin -p no:faker -p no:anyio")

GOLDEN = Path(__file__).parent / "golden"
QUICK = [Path(__file__).parent / folder for folder in ("unit", "virtual")]
LEFT_OUT_BY_QUICK = ("processes", "slow", "long", "heavy")
WITH_NOTHING_BESIDE = ("timing", "alone")
LEFT_OUT = pytest.StashKey[int]()
"""How many tests --quick left out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the files in tests/golden anew; review the diff"
    )
    parser.addoption(
        "--quick",
        action="store_true",
        help="only tests/unit and tests/virtual, without what starts processes, is slow or heavy",
    )
    parser.addoption(
        "--shuffle",
        type=int,
        metavar="SEED",
        help="the files, and the tests of each, in another order: that of the seed",
    )
    parser.addoption(
        "--timing",
        choices=("none", "only"),
        help="leave out the tests marked `timing` or `alone`, or all others (default: neither)",
    )
    parser.addoption(
        "--ended", type=Path, metavar="FILE", help="the last lines tell of the runs that this file knows, too"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Report a missing file by name; with several processes pytest itself would only report that no tests ran."""
    # Under nohup, or in the background of a script, these signals are ignored, and child processes inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if hasattr(config, "workerinput"):
        (sender,) = (plugin for plugin in config.pluginmanager.get_plugins() if hasattr(plugin, "sendevent"))
        tell_less(sender)
        collect_later(config, sender)
    if PAUSES in os.environ and config.getoption("timing") != "only":
        config.pluginmanager.register(Pauses(os.environ[PAUSES]))
    missing = [arg for arg in config.args if not Path(arg.partition("::")[0]).exists()]
    if missing:
        raise pytest.UsageError(f"file or directory not found: {', '.join(missing)}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: two more processes than processors, because most socket tests wait for more than half of their time
    while one process computes. --quick tests never wait, and each extra process would import everything again."""
    return min(processors(), 6) + (0 if config.getoption("quick") else 2)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> Units | None:
    """`-n` without `--dist` distributes the tests as described in tests/support/in_parallel.py."""
    if config.getoption("dist") != "load":
        return None
    return Units(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """The other processes do not collect the tests: see tests/support/collected_once.py."""
    if config.getoption("dist") == "load":
        collect(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Another process is about to start."""
    tell(node)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """A process that received the list of tests imports a file when it needs it."""
    later = parent.config.stash.get(LATER, None)
    return None if later is None else later.file(module_path, parent)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even read files that --quick and --timing leave out entirely."""
    elsewhere = collection_path.parent == GOLDEN.parent and collection_path.is_dir() and collection_path not in QUICK
    if config.getoption("quick") and elsewhere:
        return True
    if config.getoption("timing") == "only" and collection_path.match("test_*.py"):
        text = collection_path.read_text(encoding="utf-8")
        return None if "@timing(" in text or "mark.alone" in text else True
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Freeze imported and collected objects, as scanning them for garbage again and again takes seconds. Collecting
    garbage less often saves a fifth of the processor time of tests that only compute."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()
        if LATER in session.config.stash:
            session.testscollected = len(session.config.stash[LATER])


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """The same order with one process and with several."""
    if LATER in config.stash and not items:
        config.stash[LATER].take_the_place_of(session)
    seed = config.getoption("shuffle")
    if seed is not None:
        by_id = {item.nodeid: item for item in items}
        items[:] = [by_id[node_id] for node_id in shuffled(list(by_id), seed)]
    heavy = listed()
    for item in items:
        if function_of(item.nodeid) in heavy:
            item.add_marker("heavy")
    left_out: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        (left_out if _left_out(item) else left).append(item)
    config.hook.pytest_deselected(items=left_out)
    if config.getoption("quick"):
        config.stash[LEFT_OUT] = len(left_out)
    items[:] = left
    if os.environ.get("TRUELOAD_WITHOUT_LONG"):
        for item in items:
            if item.get_closest_marker("long") is not None:
                item.add_marker(pytest.mark.skip(reason="long: scripts/test runs it, and .ci/run has a limit of time"))
    items.sort(key=lambda item: place_of(item.nodeid))


def _left_out(item: pytest.Item) -> bool:
    timing = item.config.getoption("timing")
    if timing is not None and (timing == "only") != any(map(item.get_closest_marker, WITH_NOTHING_BESIDE)):
        return True
    return bool(item.config.getoption("quick")) and any(map(item.get_closest_marker, LEFT_OUT_BY_QUICK))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A retried test keeps nothing from the previous try."""
    forget_the_last_try(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The kernel's stamps use the wall clock: see tests/support/wall_clock.py."""
    report = yield
    wall_clock.excuse(item, report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the message of each failed try of a timing test."""
    for node_id, said in failed_tries(terminalreporter.stats.get("rerun", [])).items():
        terminalreporter.section(f"failed tries of {node_id}")
        for number, text in enumerate(said, 1):
            terminalreporter.write_line(f"{number}: {last_words(text)}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print, below pytest's last line, the tests that passed only on a retry and the skipped tests."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.getoption("collectonly") or hasattr(config, "workerinput"):
        return  # With several processes, the one that distributes the tests has all reports.
    passed = {report.nodeid for report in reporter.stats.get("passed", [])}
    again = failed_tries(reporter.stats.get("rerun", []))
    ended = Ended(
        {
            "passed": len(reporter.stats.get("passed", [])),
            "failed": len(reporter.stats.get("failed", [])) + len(reporter.stats.get("error", [])),
            "skipped": len(skipped := reporter.stats.get("skipped", [])),
        },
        [passed_again(len(said), node_id) for node_id, said in again.items() if node_id in passed],
        [report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)],
        config.stash.get(LEFT_OUT, 0),
    )
    kept = config.getoption("ended")
    for line in (ended if kept is None else both(kept, ended)).lines():
        reporter.write_line(line)


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every cache would contain (tests/support/learned.py)."""
    return tmp_path_factory.mktemp("learned")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, learned: Path) -> Iterator[None]:
    """Tests neither read nor write the cache of this machine, and no test file finds another's entries."""
    own = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(give(learned, own)))
        yield
    take(learned, own)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Checks that a text matches the golden file of this name."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} differs: if this is intended, use --update-golden"

    return check
