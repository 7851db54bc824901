"""What a run sends and how it waits for its server, without a server; and what its files say of its load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rich.console

from bench import load_test, manifest, readiness, run_facts, supply
from bench.api import qualities
from bench.clock import NS_PER_S, LoopClock
from bench.commands import compare, gate, plan, tasks
from bench.commands.options import ConfigFile, resolve_flags
from bench.config import resolve
from bench.endpoints.interface import BodyOptions
from bench.errors import TargetError, UsageError
from bench.evaluate import Result
from bench.observer import Observer
from bench.readiness import wait_for_server
from bench.records import Outcome
from bench.run_files.load_change import LoadChange
from bench.run_files.run_state import RunState
from bench.sources.mixed import Mixed
from bench.supply import Supply
from bench.watched_load import Measurement
from promptset.errors import SpecError
from tests.support.made_records import START_NS as RECORDED_NS
from tests.support.made_records import made_record
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual
from tests.unit.bench.test_evaluate import run_directory


class Waits(Observer):
    """Records its messages, and what is waited for."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.waited: list[Any] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def waiting(self, what: Any) -> Any:
        self.waited.append(what)
        return super().waiting(what)


@pytest.mark.parametrize(
    ("settings", "waited", "probes", "salt"),
    [
        ({}, "getting the data ready", False, "fresh"),
        ({"same_prompts": True}, "getting the data ready", False, None),
        ({"check_answers": "0.5", "probes": "canary=2"}, "getting the data ready", True, "fresh"),
        ({"dataset": "azure-2023-code"}, "reading azure-2023-code", False, "fresh"),
    ],
)
def test_the_data_of_a_run_is_opened_and_its_probes_are_stored(
    settings: dict[str, Any], waited: str, probes: bool, salt: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []
    monkeypatch.setattr(supply, "source_of", lambda config, tokenizer, *, salt: ("source", tokenizer, salt))
    monkeypatch.setattr(supply, "fresh_salt", lambda: "fresh")
    monkeypatch.setattr(supply, "write_probes", lambda directory, made: written.append((directory, len(made))))
    config = resolve({"url": "http://h", "requests": 9, **settings})
    load = SimpleNamespace(plan=lambda length, source: ("plan", length, source))
    observer = Waits()

    class Config:
        def __getattr__(self, name: str) -> object:
            return load if name == "load" else getattr(config, name)

    run: Any = SimpleNamespace(config=Config(), observer=observer, directory="directory")
    tokenizer: Any = "tokenizer"
    made: Any = Supply.of(run, tokenizer)
    source = ("source", "tokenizer", salt)
    assert (made.tokenizer, made.salt, made.source) == ("tokenizer", salt, source)
    assert made.plan == ("plan", config.length, source)
    assert (observer.waited, written) == ([waited], [("directory", 2)] if probes else [])


@pytest.mark.parametrize(("total", "asked"), [(None, 10_000), (9_999, 9_999), (10_000, 10_000), (10_001, 10_000)])
def test_what_prompts_share_is_planned_over_ten_thousand_requests_at_most(total: int | None, asked: int) -> None:
    def planned_sharing(requests: int) -> int:
        if requests == 9_999:
            raise SpecError(["one", "two"])
        return requests

    source: Any = SimpleNamespace(planned_sharing=planned_sharing)
    plan: Any = SimpleNamespace(total=total)
    made = Supply(None, None, source, plan)
    if total == 9_999:
        with pytest.raises(UsageError) as refused:
            made.planned_sharing()
        assert refused.value.problems == ["one", "two"]
    else:
        found: object = made.planned_sharing()
        assert found == asked


@pytest.mark.parametrize(
    ("tokenizer", "salt", "texts"),
    [(None, "x", ("own", None)), ("t", "x", ("fresh", "x")), ("t", None, ("same", None))],
)
def test_the_texts_of_prompts_are_the_datas_own_or_made_with_a_salt_or_without(
    tokenizer: str | None, salt: str | None, texts: tuple[str, str | None]
) -> None:
    source: Any = SimpleNamespace(tokenizer=tokenizer)
    plan: Any = None
    found = Supply(None, salt, source, plan).texts
    assert (found.texts, found.salt) == texts


CHANGES = (LoadChange(t_ns=RECORDED_NS + 7 * NS_PER_S, before=5.0, after=8.0, by="x"),
           LoadChange(t_ns=RECORDED_NS + 9 * NS_PER_S, before=8.0, after=2.0, by="y"))  # fmt: skip


def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **of: Any) -> tuple[Any, Any]:
    directory = run_directory(tmp_path / "run", made_record(0, sent_ms=500.0), **of)
    monkeypatch.setattr(type(directory), "changes", lambda _: CHANGES)
    return manifest.read(directory), directory


def test_changes_of_the_rate_count_from_the_start_of_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun_ns = RECORDED_NS - 3 * NS_PER_S
    run, directory = changed(tmp_path, monkeypatch, settings={"rate": 5.0}, start_ns=begun_ns)
    assert [(change.at_ns, change.rate) for change in run_facts.rate_changes(run, directory)] == [
        (10 * NS_PER_S, 8.0), (12 * NS_PER_S, 2.0),
    ]  # fmt: skip
    # In the report they count from the end of the warm-up.
    facts = run_facts.facts_of(run, directory)
    assert [(change.at_ns, change.before, change.after, change.by) for change in facts.changes] == [
        (7 * NS_PER_S, 5.0, 8.0, "x"), (9 * NS_PER_S, 8.0, 2.0, "y"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "start_s"),
    [({"run_start_ns": RECORDED_NS + NS_PER_S}, 1.0), ({"run_start_ns": None}, 0.5)],
)
def test_a_run_begins_at_the_end_of_its_warm_up_or_at_its_first_request(
    stored: dict[str, Any], start_s: float, tmp_path: Path
) -> None:
    records = [
        made_record(2, sent_ms=900.0),
        made_record(1, sent_ms=500.0),
        made_record(0, sent_ms=100.0, phase="warmup"),
    ]
    directory = run_directory(tmp_path / "run", *records, **stored)
    run = manifest.read(directory)
    assert run_facts.run_start_ns(run, directory) == RECORDED_NS + round(start_s * NS_PER_S)


def test_a_killed_run_without_a_request_begins_with_its_load(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", run_start_ns=None, start_ns=RECORDED_NS - 5)
    assert run_facts.run_start_ns(manifest.read(directory), directory) == RECORDED_NS - 5


@pytest.mark.parametrize(
    ("classes", "mixed", "found"), [((), True, ()), (("a",), True, ("a", "b")), (("a",), False, ())]
)
def test_only_a_mix_of_classes_has_a_class_for_each_of_its_ways(
    classes: tuple[str, ...], mixed: bool, found: tuple[str, ...]
) -> None:
    config: Any = SimpleNamespace(classes=classes)
    source: Any = object.__new__(Mixed) if mixed else object()
    if mixed and classes:

        class Known(Mixed):
            classes_of_ways = ("a", "b")

        source = object.__new__(Known)
    assert readiness._classes_of_ways(config, source) == found


def answers_after(monkeypatch: pytest.MonkeyPatch, ready_s: dict[str, float]) -> list[tuple[float, str, int, float]]:
    """Servers that answer from these seconds on. Returns what was asked: when, which, its number, and its timeout."""
    asked: list[tuple[float, str, int, float]] = []

    async def answer(config: Any, clock: LoopClock, number: int, timeout_s: float) -> tuple[Any, None, None]:
        now_s = (clock.now_ns() - START_NS) / NS_PER_S
        url = config.addresses[0].url
        asked.append((now_s, url, number, timeout_s))
        return SimpleNamespace(ready=now_s >= ready_s[url], url=url), None, None

    monkeypatch.setattr(readiness, "_answer", answer)
    monkeypatch.setattr(readiness, "is_starting", lambda record, listed: not record.ready)
    monkeypatch.setattr(readiness, "_reason", lambda record: f"{record.url} starts")
    monkeypatch.setattr(readiness, "_what_is_wrong", lambda config, answer: f"{answer[0].url} is broken")
    return asked


def test_a_server_is_asked_every_second_until_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers_after(monkeypatch, {"http://h": 1.5})
    observer = Waits()

    async def main(loop: VirtualTimeLoop) -> str:
        await wait_for_server(resolve({"url": "http://h", "probe_timeout": 60}), 9.0, LoopClock(), observer)
        return str(observer.waited[0]())

    assert run_virtual(main) == "waiting up to 9 s for the server: http://h starts"
    assert asked == [(0, "http://h", 0, 9.0), (1, "http://h", 1, 8.0), (2, "http://h", 2, 7.0)]
    assert observer.said == ["the server is ready after 2 s"]


def test_a_server_that_is_ready_is_asked_once_and_without_patience_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers_after(monkeypatch, {"http://h": 0.0})
    observer = Waits()

    async def main(loop: VirtualTimeLoop) -> None:
        config = resolve({"url": "http://h", "probe_timeout": 3})
        await wait_for_server(config, None, LoopClock(), observer)
        assert asked == []
        await wait_for_server(config, 9.0, LoopClock(), observer)

    run_virtual(main)
    assert (asked, observer.said) == ([(0, "http://h", 0, 3)], [])


def test_of_several_servers_only_those_that_are_not_ready_are_asked_again_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = answers_after(monkeypatch, {"http://a": 0.0, "http://b": 60.0, "http://c": 1.0})
    observer = Waits()

    async def main(loop: VirtualTimeLoop) -> str:
        config = resolve({"url": ["http://a", "http://b", "http://c"], "probe_timeout": 60})
        with pytest.raises(TargetError) as late:
            await wait_for_server(config, 2.5, LoopClock(), observer)
        assert observer.waited[0]() == "waiting up to 2.5 s for the server: 1 of 3 addresses: http://b starts"
        return str(late.value)

    assert run_virtual(main) == "the server was not ready within 2.5 s (--wait-for-server): http://b is broken"
    assert [(at_s, url, timeout_s) for at_s, url, _, timeout_s in asked] == [
        (0, "http://a", 2.5), (0, "http://b", 2.5), (0, "http://c", 2.5), (1, "http://b", 1.5), (1, "http://c", 1.5),
        (2, "http://b", 1.0), (2.5, "http://b", 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "exit_", "lost", "is_new", "sentence"),
    [
        ([], 0, (), False, "b.json is unchanged: no run can be used"),
        ([], 1, (), True, "b.json is unchanged: no run can be used"),
        (["run"], 1, (), True, "b.json was not written, because something failed"),
        (
            ["run"],
            1,
            ("x",),
            False,
            "b.json is unchanged, because something failed. To accept the change, begin another file",
        ),
        (["run"], 0, ("x",), True, "b.json was not written, because a number of it cannot be compared"),
        (["run"], 0, (), True, "b.json now holds 1 run"),
        (["run"], 0, (), False, "b.json now holds 3 runs"),
    ],
)
def test_what_became_of_a_baseline_is_one_sentence(
    runs: list[str], exit_: int, lost: tuple[str, ...], is_new: bool, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[object] = []

    def add(path: Path, run: str, entries: str) -> SimpleNamespace:
        added.append((path, run, entries))
        return SimpleNamespace(runs=["run"] if is_new else ["a", "b", "run"])

    monkeypatch.setattr("bench.release_gate.baseline.add", add)
    decided: Any = SimpleNamespace(runs=runs, exit=exit_, lost=lost, entries="entries")
    baseline: Any = None if is_new else "baseline"
    assert gate._update(Path("b.json"), baseline, decided) == sentence
    assert added == ([(Path("b.json"), "run", "entries")] if "now holds" in sentence else [])


def test_a_key_that_a_server_refuses_after_a_wait_is_not_called_missing() -> None:
    record = made_record(0, outcome=Outcome.HTTP_ERROR, status=401, chunks_ms=(), error="no")
    options = BodyOptions(endpoint="chat", model="m", stream=True)
    assert readiness._what_is_wrong(resolve({"url": "http://h"}), (record, None, options)) == (
        "the server refuses this key (status 401: no): check --api-key, OPENAI_API_KEY and --header"
    )


def test_a_directory_of_results_that_no_system_takes_is_a_problem_among_the_others() -> None:
    for settings in ({"out": "a\0b"}, {"header": [5]}, {"header": "X"}):
        with pytest.raises(UsageError) as refused:
            resolve_flags({"requests": 0}, [], ConfigFile({"url": "http://h", **settings}, "f.yaml"))
        assert len(refused.value.problems) == 2


def test_each_configuration_of_a_comparison_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    (tmp_path / "b.yaml").write_text("url: http://h\nrequests: 0\nrate: x\n")
    with pytest.raises(UsageError) as refused:
        compare.main(["--run", *names])
    assert [next(name for name in names if name in problem) for problem in refused.value.problems] == [
        names[0], names[1], names[1],
    ]  # fmt: skip


def test_a_trace_without_lengths_of_its_own_is_no_problem() -> None:
    args = plan._parser().parse_args(["--profile", "p", "--trace", "none"])
    with pytest.raises(UsageError) as refused:
        plan._traffic(args, None)
    (problem,) = refused.value.problems
    assert problem.startswith("--trace: the data set none")


@pytest.mark.parametrize(("given", "resume"), [({}, False), ({"resume": True}, True)])
def test_checked_answers_from_python_begin_anew_unless_asked_to_go_on(
    given: Any, resume: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qualities, "measure", lambda made, series, *, resume: (made.strict, resume))
    strict: Any = {"strict": True} if resume else {}
    found: object = qualities.quality({"url": "http://h"}, requests=100, **given, **strict)
    assert found == (resume, resume)


def test_a_run_whose_report_is_made_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []

    async def measure(config: Any, directory: Any, *_: object, **more: object) -> Measurement:
        done.append(more)
        return Measurement(directory, ("late",))

    @contextmanager
    def beside(config: object, directory: object) -> Iterator[object]:
        yield SimpleNamespace(
            load_ended=lambda: done.append("load ended"), linger=lambda observer: done.append("lingers")
        )

    def made(directory: Any) -> Result:
        nothing: Any = None
        return Result(directory, nothing, nothing, nothing)

    monkeypatch.setattr(load_test, "_measure", measure)
    monkeypatch.setattr(load_test, "companions", beside)
    monkeypatch.setattr("bench.evaluate.evaluate", made)
    monkeypatch.setattr(manifest, "mark", lambda directory, state: done.append((directory.path, state)))
    observer = Waits()
    config = resolve({"url": "http://h", "out": str(tmp_path / "run"), "wait_for_server": 9})
    result = load_test.run(config, observer=observer, before_evaluation=lambda directory: done.append("before"))
    steps = ["load ended", "before", (tmp_path / "run", RunState.ENDED), "lingers"]
    assert done == [{"changeable": False, "wait_s": 9.0}, *steps]
    assert (result.problems, observer.waited) == (("late",), ["making the report"])
    done.clear()
    again = config.model_copy(update={"out": str(tmp_path / "again")})
    load_test.run(again, observer=observer, wait=False, changeable=True)
    assert done[0] == {"changeable": True, "wait_s": None}


def test_the_progress_of_a_file_is_shown_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, object]] = []
    console = rich.console.Console

    def noted(**given: Any) -> rich.console.Console:
        made.append(given)
        return console(**given)

    monkeypatch.setattr("rich.console.Console", noted)
    with tasks._shown("a.csv") as show:
        show(1, None)
        show(5, 9)
    assert made[0] == {"stderr": True}
