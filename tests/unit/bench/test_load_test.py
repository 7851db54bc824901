"""The steps before a load: what each says and passes on. No load is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import cli, evaluate, load_test
from bench.commands import COMMANDS, completion, mcp, parsers, report, sweep
from bench.config import resolve
from bench.documents.document import Level
from bench.errors import Exit, UsageError
from bench.load_sweep.measure import PAGE
from bench.observer import Observer
from bench.server_metrics.by_name import UnknownName
from tests.support.made_records import made_record
from tests.unit.bench.test_evaluate import run_directory


class Heard(Observer):
    """Records its messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def run(**of: Any) -> tuple[Any, Heard]:
    heard = Heard()
    return SimpleNamespace(observer=heard, **{"config": resolve({"url": "http://h"}), "telemetry": None, **of}), heard


@pytest.mark.parametrize("wait", [True, False])
def test_each_address_of_a_name_becomes_a_target_after_a_wait_for_the_server(
    wait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[object] = []
    addresses = tuple(SimpleNamespace(name=name) for name in ("10.0.0.1:80", "10.0.0.2:80"))
    monkeypatch.setattr(load_test, "wait_until_ready", lambda config, observer: waited.append(config.targets))
    monkeypatch.setattr(load_test, "resolved", lambda found: addresses)
    heard = Heard()
    config = load_test._resolved(resolve({"url": "http://lab"}), heard, wait=wait)
    assert (config.targets, waited) == (addresses, [()] if wait else [])
    assert heard.said == ["--resolve-all: 10.0.0.1:80, 10.0.0.2:80"]


@pytest.mark.parametrize(
    ("page", "notes", "said"),
    [
        (None, (), []),
        ("http://h:9464/metrics", (), ["metrics at http://h:9464/metrics"]),
        (None, ("slow", "old"), ["note: slow", "note: old"]),
    ],
)
def test_the_page_and_the_notes_of_an_export_are_said(
    page: str | None, notes: tuple[str, ...], said: list[str]
) -> None:
    async def ready() -> tuple[str, ...]:
        return notes

    of_run, heard = run(telemetry=SimpleNamespace(ready=ready, page=page))
    assert asyncio.run(load_test._ready_to_export(of_run)) == notes
    assert heard.said == said
    assert asyncio.run(load_test._ready_to_export(run()[0])) == ()


def test_workers_of_this_machine_are_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.scale.processes.WorkerProcesses", lambda assignments: ("crew", assignments))
    of_run, heard = run()
    workers = load_test._Workers(2, (), None)
    plan: Any = None
    assignments: Any = ["a", "b"]
    crew: Any = asyncio.run(load_test._several(of_run, plan, workers, assignments))
    assert (crew, heard.said) == (("crew", ["a", "b"]), ["starting 2 workers"])


@pytest.mark.parametrize(
    ("count", "said"), [(1, "starting 1 worker on the cluster"), (3, "starting 3 workers on the cluster")]
)
def test_workers_of_a_cluster_are_placed_on_it(count: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def place(number: int) -> list[str]:
        return [f"worker {n}" for n in range(number)]

    def crew(handles: list[str], *of: object, **more: object) -> tuple[object, ...]:
        return handles, of, more

    monkeypatch.setattr("bench.scale.cluster.crew.ClusterCrew", crew)
    cluster: Any = SimpleNamespace(place=place, release="release")
    of_run, heard = run(clock="clock")
    plan: Any = SimpleNamespace(at_once=7, bounded=True)
    assignments: Any = ["a"]
    made: Any = asyncio.run(load_test._several(of_run, plan, load_test._Workers(count, (), cluster), assignments))
    handles = [f"worker {n}" for n in range(count)]
    assert made == (handles, (["a"], "clock", "release"), {"at_once": 7, "certain": True})
    assert heard.said == [said]


def test_a_cluster_is_joined_and_released_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []

    async def join(address: str, per_node: object, environment: object) -> object:
        done.append((address, per_node, environment))
        return SimpleNamespace(
            release=lambda: done.append("released"), workers=lambda asked: 4 if asked == "auto" else 0, processors=16
        )

    monkeypatch.setattr("bench.scale.cluster.ray_cluster.RayCluster", SimpleNamespace(join=join))
    monkeypatch.setattr(load_test, "workers_of", lambda plan, asked, processors: asked + processors)
    plan: Any = SimpleNamespace(shares=lambda count: [f"share {n}" for n in range(count)])
    config = resolve({"url": "http://h", "cluster": "ray://127.0.0.1:1"})

    async def main() -> tuple[Any, list[object]]:
        async with AsyncExitStack() as opened:
            workers = await load_test._workers(run(config=config)[0], plan, {"env": 1}, opened)
            before = list(done)
        return workers, before

    workers, before = asyncio.run(main())
    assert (workers.count, workers.shares) == (20, [f"share {n}" for n in range(20)])
    assert before == [("ray://127.0.0.1:1", config.workers_per_node, {"env": 1})]
    assert done == [*before, "released"]


# Other commands.


def test_the_words_of_a_command_with_an_object_in_a_store_are_placed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    @contextmanager
    def placed(command: str, words: list[str]) -> Iterator[object]:
        given.append((command, words))
        yield SimpleNamespace(words=["local"], finish=lambda status: status + 1)

    def main(words: list[str]) -> int:
        given.append(words)
        return 5

    monkeypatch.setattr("bench.stores.words.placed", placed)
    monkeypatch.setattr(report, "main", main)
    assert cli.main(["report", "s3://bucket/run", "--quiet"]) == 6
    assert given == [("report", ["s3://bucket/run", "--quiet"]), ["local"]]
    assert cli.main(["report", "http://h/run"]) == 5
    assert given[2:] == [["http://h/run"]]


def test_output_that_is_lost_while_help_is_printed_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "output_is_lost", lambda: True)
    assert cli.main(["report", "--help"]) == Exit.USAGE
    assert capsys.readouterr().err == (
        "error: the output cannot be written (is the disk full?): send it to another file\n"
    )
    monkeypatch.setattr(cli, "output_is_lost", lambda: False)
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", "--help"])
    assert ended.value.code == 0


def test_completions_know_each_command_its_flags_and_the_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parsers, "COMMANDS", {name: COMMANDS[name] for name in ("completion", "set-load")})
    assert completion.main(["bash"]) == Exit.GOOD
    out = capsys.readouterr().out
    assert all(word in out for word in ("completion", "set-load", "--version", "--help"))
    subparsers = parsers.whole()._subparsers
    assert subparsers is not None
    (chosen,) = (action for action in subparsers._group_actions)
    assert [(choice.dest, choice.help) for choice in chosen._choices_actions] == [  # type: ignore[attr-defined]
        (name, COMMANDS[name].summary) for name in ("completion", "set-load")
    ]


def test_the_server_of_an_agent_needs_its_package_and_whole_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as refused:
        mcp.main(["--runs", str(tmp_path / "runs"), "--allow-url", "lab", "--allow-url", "http://lab:8000"])
    assert [*refused.value.problems] == [
        "--allow-url lab: write it whole, such as http://host:8000",
        "the command mcp needs a package: pip install 'mcp>=2'",
    ]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("ended", [None, "interrupted"])
def test_a_sweep_that_ended_too_soon_says_how_to_continue(
    ended: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[object, ...]] = []
    asked: list[Any] = []
    result = SimpleNamespace(content=SimpleNamespace(ended=ended), exit=7)

    def measured(config_at: object, loads: Any, series: object, *, given: Any, gpus: object, resume: bool) -> object:
        asked.append((loads.values, given["name"], gpus, resume))
        return result

    monkeypatch.setattr("bench.load_sweep.measure.sweep", measured)
    monkeypatch.setattr(sweep, "sweep_document", lambda contents: contents)
    monkeypatch.setattr(sweep, "show", lambda *of: shown.append(of))
    folder = tmp_path / "sweep"
    words = ["--url", "http://127.0.0.1:9", "--loads", "rate=5,10", "--requests", "9", "--out", str(folder)]
    assert sweep.main(words) == 7
    again = "" if ended is None else f"\nto continue, run the same command with --resume {folder}"
    below = f"sweep: {folder / PAGE}{again}"
    assert shown == [(result.content, [result.content], "text", Level.USUAL, below)]
    assert asked == [((5.0, 10.0), "sweep", None, False)]


def test_a_metric_that_the_server_does_not_have_is_named_with_those_near_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = run_directory(tmp_path / "run", made_record(0))
    for near, hint in (((), ""), (("a", "b"), ": did you mean a or b?")):
        error = UnknownName("vllm:x", near)

        def unknown(*_: object, error: UnknownName = error) -> None:
            raise error

        monkeypatch.setattr(evaluate, "named_series", unknown)
        with pytest.raises(UsageError) as refused:
            evaluate._named(directory, ["vllm:x"], [0.0], 1.0, 0)
        assert str(refused.value) == f"{directory.path}: the server's metrics have no 'vllm:x'{hint}"


def test_the_summary_without_files_is_that_which_is_written(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", *(made_record(n, sent_ms=10.0 * n) for n in range(20)))
    before = sorted(path.name for path in directory.path.iterdir())
    summary = evaluate.summary_of(directory)
    assert sorted(path.name for path in directory.path.iterdir()) == before
    assert evaluate.evaluate(directory).summary == summary
