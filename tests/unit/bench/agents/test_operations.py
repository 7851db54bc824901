"""The guard of an agent's actions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.agents.operations import GateRules, Operations, brief
from bench.console.errors import ConsoleError, Refused
from bench.console.service import Console
from bench.console.task import BEING_READ, Task
from bench.errors import BenchError
from tests.support.made_runs import made_run
from tests.support.made_tasks import made_run as made_task
from tests.support.ready_made import run_to_end

HERE = "http://127.0.0.1:8000"
LOAD = {"concurrency": 1, "requests": 1}


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[Operations]:
    console = Console(tmp_path / "runs")
    yield Operations(console, ["http://gpu-box:8000/v1"])
    console.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"url": HERE},
        {"url": "http://localhost:9/v1"},
        {"url": "http://[::1]:9"},
        {"url": "http://gpu-box:8000"},
        {"url": "http://gpu-box:8000/other/path"},
        {"url": [f"{HERE}=2", {"url": "http://gpu-box:8000", "weight": 3}]},
    ],
)
def test_this_machine_and_allowed_servers_may_be_loaded(operations: Operations, settings: dict[str, Any]) -> None:
    assert list(operations.address_problems({**LOAD, **settings})) == []


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"url": "http://10.0.0.1:8000"}, "http://10.0.0.1:8000 is not an allowed target"),
        ({"url": "http://gpu-box:8001"}, "http://gpu-box:8001 is not an allowed target"),
        ({"url": "https://gpu-box:8000"}, "https://gpu-box:8000 is not an allowed target"),
        ({"url": "http://127.0.0.1@evil:8000"}, "http://evil:8000 is not an allowed target"),
        ({"url": "http://127.0.0.1.evil.com"}, "http://127.0.0.1.evil.com:80 is not an allowed target"),
        (
            {"url": ["http://gpu-box:8001", "http://gpu-box:8002"]},
            "gpu-box:8001 is not .*; http://gpu-box:8002 is not an",
        ),
        ({"url": [HERE, "http://gpu-box:8001=2"]}, "http://gpu-box:8001 is not an allowed target"),
        ({"url": [{"url": "http://gpu-box:8001", "weight": 2}]}, "http://gpu-box:8001 is not an allowed target"),
        ({"url": ["@addresses.txt"]}, "write it whole"),
        ({"url": "10.0.0.1:8000"}, "write it whole"),
        ({"url": HERE, "server_metrics": "http://10.0.0.1/metrics"}, "http://10.0.0.1:80 is not an allowed target"),
        ({"url": HERE, "server_metrics": r"http://127.0.0.1\@evil:1/x"}, "http://evil:1 is not an allowed target"),
        ({"url": HERE, "gpu_metrics": ["http://127.0.0.1'@evil:1/x"]}, "http://evil:1 is not an allowed target"),
        ({"url": HERE, "slo": ["x", {"y": "see wss://evil/x"}]}, "evil is not an allowed target"),
        ({"url": HERE, "otlp": "http:///traces"}, "http:///traces is not an allowed target"),
        ({"url": HERE, "cluster": "10.0.0.1:6379"}, "cluster"),
        ({"url": HERE, "cluster": "ray://10.0.0.1:10001"}, "ray://10.0.0.1:10001 is not an allowed target"),
    ],
)
def test_another_address_is_refused_whatever_setting_names_it(
    operations: Operations, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        operations.start({**LOAD, **settings}, kind="run", target=None, key_variable=None, title=None)
    assert operations.tasks() == []


def test_a_saved_server_is_no_way_around_the_guard(operations: Operations) -> None:
    operations.console.save_target({"name": "far", "url": "http://10.0.0.1:8000"})
    with pytest.raises(Refused, match=r"http://10\.0\.0\.1:8000 is not an allowed target"):
        operations.start(LOAD, kind="run", target="far", key_variable=None, title=None)


@pytest.mark.parametrize(
    ("saved", "target", "why"),
    [
        ((), "lab", "there is no target 'lab', and none is saved: give the URL instead"),
        (("a", "b"), "lab", "there is no target 'lab': choose a, b, or save it"),
        (("a",), "mock", "the built-in mock does not run: start it on the page Targets, or with POST /api/mock/start"),
    ],
)
def test_a_target_that_is_not_there_is_refused_with_what_to_do(
    operations: Operations, saved: tuple[str, ...], target: str, why: str
) -> None:
    for name in saved:
        operations.console.save_target({"name": name, "url": HERE})
    with pytest.raises(BenchError) as caught:
        operations.start(LOAD, kind="run", target=target, key_variable=None, title=None)
    assert str(caught.value) == why


def test_a_kind_that_is_not_there_is_refused_with_the_kinds(operations: Operations) -> None:
    with pytest.raises(BenchError, match=r"^kind: 'runs' is not one of run, search, sweep, quality, calibrate$"):
        operations.start({"url": HERE, **LOAD}, kind="runs", target=None, key_variable=None, title=None)


def test_a_key_must_be_in_a_variable_that_is_allowed(operations: Operations) -> None:
    with pytest.raises(Refused, match="HOME may not be used as a key"):
        operations.start({"url": HERE, **LOAD}, kind="run", target=None, key_variable="HOME", title=None)


def test_a_key_typed_by_an_agent_and_a_file_of_this_machine_are_refused(operations: Operations) -> None:
    for settings in ({"api_key": "secret"}, {"dataset": "/etc/passwd"}, {"out": "/tmp/elsewhere"}):
        with pytest.raises(BenchError):
            operations.start({"url": HERE, **LOAD, **settings}, kind="run", target=None, key_variable=None, title=None)


def test_a_saved_target_has_its_own_key(operations: Operations) -> None:
    operations.console.save_target({"name": "here", "url": HERE})
    with pytest.raises(Refused, match="give target or key_variable: a saved target has its own key"):
        operations.start(LOAD, kind="run", target="here", key_variable="OPENAI_API_KEY", title=None)


@pytest.mark.parametrize(("settings", "refused"), [({"model": "m"}, ["model"]), ({"model": None}, []), ({}, [])])
def test_what_a_kind_sets_itself_is_left_out(
    settings: dict[str, Any], refused: list[str], operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(*_: object, **__: object) -> None:
        raise Refused([])

    monkeypatch.setattr(operations.console, "create", create)
    with pytest.raises(Refused) as caught:
        operations.start({**LOAD, **settings}, kind="calibrate", target=None, key_variable=None, title=None)
    said = str(caught.value)
    assert [name for name in ("url", "model", "endpoint") if f"{name}: the kind calibrate sets it" in said] == refused


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "", ".x", "x" * 65])
def test_a_baseline_has_a_name_and_no_path(operations: Operations, name: str) -> None:
    with pytest.raises(ConsoleError, match="give it a name"):
        operations.gate([], GateRules(baseline=name))


def test_the_first_baseline_makes_their_folder(operations: Operations) -> None:
    path = operations._baseline("main")
    assert (path.name, path.parent.is_dir()) == ("main.json", True)
    assert operations._baseline("other").parent == path.parent


@pytest.mark.processes
def test_the_gate_says_what_the_command_says(operations: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = {**vars(subprocess), "run": lambda command, **_: run_to_end(command)}
    monkeypatch.setattr("bench.agents.operations.subprocess", SimpleNamespace(**copies))
    for n in range(3):
        made_run(operations.console.runs / f"r{n}", at=n, seed=n, ttft_ms=50.0 + n)
    names = ["r0", "r1", "r2"]
    held = operations.gate(names, GateRules(["ttft:p90<10s"], baseline="main", update=True))
    assert held["exit_status"] == 0
    assert isinstance(held["gate"], dict)
    assert len(held["gate"]["objectives"]) == 1
    assert (operations.console.runs / ".console" / "baselines" / "main.json").is_file()
    assert operations.gate(names, GateRules(["ttft:p90<1ms"]))["exit_status"] == 1
    with pytest.raises(ConsoleError, match="nothing to check the runs against: give objectives"):
        operations.gate(names, GateRules())
    with pytest.raises(ConsoleError, match="ttft:p9x"):
        operations.gate(names, GateRules(["ttft:p9x<1ms"]))


def test_every_address_that_may_not_be_loaded_is_named_once(operations: Operations) -> None:
    operations.console.save_target({"name": "far", "url": "http://10.0.0.1:8000"})
    settings = {"url": "http://10.0.0.2", "server_metrics": "http://10.0.0.2/metrics", **LOAD}
    with pytest.raises(Refused) as refused:
        operations.start(settings, kind="run", target="far", key_variable=None, title=None)
    assert str(refused.value).count("http://10.0.0.2:80 is not an allowed target") == 1
    assert str(refused.value).count("http://10.0.0.1:8000 is not an allowed target") == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:99999", "x://localhost", "http://?"])
def test_an_address_without_an_origin_is_refused_whatever_its_host(operations: Operations, address: str) -> None:
    (problem,) = operations.address_problems({"url": HERE, "proxy": address})
    assert "is not an allowed target: start python -m bench mcp with --allow-url, or use this machine" in problem


@pytest.mark.parametrize("settings", [{}, {"url": None}, {"url": ""}, {"url": []}, {"url": HERE, "cluster": "ray"}])
def test_settings_without_an_address_are_left_to_the_saved_server(
    operations: Operations, settings: dict[str, Any]
) -> None:
    assert list(operations.address_problems(settings)) == []


def test_each_of_several_urls_is_looked_at(operations: Operations) -> None:
    assert list(operations.address_problems({"url": 8000})) == ["url '8000': write it whole, such as " + HERE]
    assert list(operations.address_problems({"url": [HERE, "localhost:1", "http://10.0.0.1"]})) == [
        "url 'localhost:1': write it whole, such as http://127.0.0.1:8000",
        "http://10.0.0.1:80 is not an allowed target: start python -m bench mcp with --allow-url, or use this machine",
    ]


def test_a_key_makes_a_saved_server_of_its_url_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    console = Console(tmp_path / "runs", key_env=["MY_KEY"])
    monkeypatch.setattr(
        console, "create", lambda settings, **given: Task(id="a", state="queued", target=given["target"])
    )
    made = Operations(console).start({"url": HERE, **LOAD}, kind="run", target=None, key_variable="MY_KEY", title=None)
    assert made["target"] == "http-127-0-0-1-8000-MY-KEY"
    saved = console.target("http-127-0-0-1-8000-MY-KEY")
    assert (saved.url, saved.key_variable) == (HERE, "MY_KEY")
    with pytest.raises(Refused, match="--url is missing"):
        Operations(console).start({}, kind="run", target=None, key_variable="MY_KEY", title=None)
    console.close()


def test_tasks_of_an_earlier_server_are_read_and_the_last_second_of_one_that_runs(tmp_path: Path) -> None:
    made_task(tmp_path, "done", held=True)
    console = Console(tmp_path)
    operations = Operations(console)
    (task,) = operations.tasks()
    assert (task["id"], task["state"], task["held"], task["over"]) == ("done", "ended", True, True)
    assert {"share_done", "needs", "problem"} & task.keys() == set()
    live = operations.live("done")
    assert live is not None
    assert isinstance(live["second"], dict)
    assert live["second"]["output_tokens"] == 1  # The last of four lines.
    (tmp_path / "done" / "live.jsonl").unlink()
    assert operations.live("done") is None
    with pytest.raises(ConsoleError, match="there is no task 'gone'"):
        operations.live("gone")
    console.close()


def test_a_result_is_the_task_its_report_and_where_its_page_is(operations: Operations) -> None:
    run = made_run(operations.console.runs / "r0", at=0, seed=0, ttft_ms=50.0)
    found = operations.result("r0")
    assert (found["id"], found["page"]) == ("r0", str(run.resolve() / "report.html"))
    assert str(found["report"]).startswith("#")


def test_a_comparison_is_of_the_tasks_and_names_what_it_left_out(
    operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    answers = iter([({"sides": 2}, ("r2 has no result",)), (None, ("a", "b")), (None, ())])

    def compared(names: Sequence[str], **how: str) -> SimpleNamespace:
        asked.append((names, how))
        document, left_out = next(answers)
        return SimpleNamespace(document=document, left_out=left_out)

    monkeypatch.setattr(operations.console, "compared", compared)
    found = operations.compare(["r0", "r1"], "2%", ["seed", "name"])
    assert found == {"comparison": {"sides": 2}, "left_out": ["r2 has no result"]}
    assert asked == [(["r0", "r1"], {"margin": "2%", "allow": "seed,name"})]
    for sentence in ("a; b", "there is nothing to compare"):
        with pytest.raises(ConsoleError, match=f"^{sentence}$"):
            operations.compare([], "", [])


class Gate:
    """The parts of the command that an agent sees."""

    TimeoutExpired, DEVNULL = subprocess.TimeoutExpired, subprocess.DEVNULL

    def __init__(self, status: int = 0, out: str = '{"verdict": "PASSED"}', err: str = "", late: bool = False) -> None:
        self._ended = subprocess.CompletedProcess[str]([], status, out, err)
        self._late = late
        self.words: list[str] = []

    def run(self, command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        assert how == {"stdin": -3, "capture_output": True, "text": True, "check": False, "timeout": 300}
        self.words = command
        if self._late:
            raise subprocess.TimeoutExpired(command, 300)
        return self._ended


@pytest.fixture
def gate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate(**getattr(request, "param", {}))
    monkeypatch.setattr("bench.agents.operations.subprocess", made)
    return made


def test_the_gate_is_asked_with_every_rule(operations: Operations, gate: Gate) -> None:
    runs = operations.console.runs.resolve()
    for name in ("a", "b"):
        made_run(runs / name, at=0, seed=0, ttft_ms=50.0)
    rules = GateRules(["ttft<1s", "e2el<9s"], "main", True, "2%", True)
    assert operations.gate(["a", "b"], rules) == {"exit_status": 0, "gate": {"verdict": "PASSED"}}
    kept = operations.console.runs / ".console" / "baselines"
    assert gate.words == [
        sys.executable, "-m", "bench", "gate", "--slo=ttft<1s", "--slo=e2el<9s", "--margin=2%",
        f"--baseline={kept / 'main.json'}", "--update", "--strict", "--format", "json", "--", str(runs / "a"),
        str(runs / "b"),
    ]  # fmt: skip
    operations.gate(["a"], GateRules(["ttft<1s"]))
    assert gate.words[4:] == ["--slo=ttft<1s", "--margin=5%", "--format", "json", "--", str(runs / "a")]
    operations.gate(["a"], GateRules(baseline="main"))  # The folder of the gate exists already.
    assert gate.words[4:-4] == ["--margin=5%", f"--baseline={kept / 'main.json'}"]


@pytest.mark.parametrize(
    ("gate", "status"),
    [({"status": status}, status) for status in (0, 1, 3, 4)],
    indirect=["gate"],
)
def test_the_gate_answers_with_its_status(operations: Operations, gate: Gate, status: int) -> None:
    assert operations.gate([], GateRules(["x"])) == {"exit_status": status, "gate": {"verdict": "PASSED"}}


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ({"status": 2, "err": "error: one\nerror: two\n"}, "one; two"),
        ({"status": 70, "err": "error: broken"}, "broken"),
        ({"status": 0, "out": "", "err": "error: nothing"}, "nothing"),
        ({"late": True}, "the gate took more than 300 s: run it in a terminal"),
    ],
    indirect=["gate"],
)
def test_a_gate_that_gives_no_answer_says_why(operations: Operations, gate: Gate, sentence: str) -> None:
    with pytest.raises(ConsoleError) as refused:
        operations.gate([], GateRules(["x"]))
    assert str(refused.value) == sentence


def test_a_gate_without_rules_is_not_asked(operations: Operations, gate: Gate) -> None:
    with pytest.raises(ConsoleError, match="nothing to check the runs against: give objectives, a baseline, or both"):
        operations.gate([], GateRules())
    assert gate.words == []


def test_a_task_is_told_without_what_is_empty() -> None:
    task = Task(id="a", state="running", held=False, share_done=0.0, reasons=("r",), headline="", needs=())
    assert brief(task) == {
        "id": "a", "kind": "run", "state": "running", "title": "a", "held": False, "share_done": 0.0, "reasons": ("r",),
        "over": False,
    }  # fmt: skip


def test_no_task_is_told_before_its_directory_was_read(operations: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    def tasks(*, whole: bool = False) -> list[Task]:
        return [Task(id="a", state="ended" if whole else BEING_READ)]

    monkeypatch.setattr(operations.console, "tasks", tasks)
    assert [task["state"] for task in operations.tasks()] == ["ended"]
