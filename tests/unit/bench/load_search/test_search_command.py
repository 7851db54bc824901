"""`python -m bench search`: problems with its flags, reported at once; whole searches are in tests/sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.commands.options import own_settings, read_file
from bench.commands.search import _plan
from bench.config import Settings, resolve
from bench.errors import Exit
from bench.load_search.decisions import Search
from bench.load_search.decisions import Settings as Limits
from bench.load_search.files import SearchDirectory, config_sha256
from bench.load_search.goals import Goal
from bench.load_search.options import LEFT_TO_THE_SEARCH, OPTIONS
from bench.load_search.visits import Result
from bench.load_search.whole import plan
from tests.support.made_visits import made_visit

URL = ("--url", "http://127.0.0.1:1")
SLO = ("--slo", "ttft:p99<500ms")


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
    assert main(["search", *flags]) == Exit.USAGE
    lines = capsys.readouterr().err.splitlines()
    return [line.removeprefix("error: ").removeprefix("  - ") for line in lines]


def test_a_search_needs_an_objective(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, *URL) == ['a search needs an objective: give --slo, for example --slo "ttft:p99<500ms"']


@pytest.mark.parametrize("name", LEFT_TO_THE_SEARCH)
def test_what_a_search_chooses_itself_is_refused_with_what_to_give_instead(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = f"--{name.replace('_', '-')}"
    assert name in Settings.model_fields
    (line,) = refused(capsys, *URL, *SLO, flag, "5")
    assert line == f"{flag} cannot be combined with a search: {LEFT_TO_THE_SEARCH[name]}"


def test_every_problem_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = refused(
        capsys, *URL, "--slo", "requests_per_s>5", "--slo", "ttft:p99>5ms", "--rate", "3", "--budget", "1s",
        "--output-tokens", "none", "--nonsense",
    )  # fmt: skip
    assert lines[0] == "6 problems"
    for said in ("rises with the load", "write ttft:p99<5ms", "--rate cannot", "--budget", "--output-tokens",
                 "--nonsense is not a flag: python -m bench search --help-all lists all"):  # fmt: skip
        assert sum(said in line for line in lines) == 1, said


def test_objectives_of_a_file_are_looked_at_whatever_else_is_wrong_unless_it_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "load.yaml"
    file.write_text("url: http://127.0.0.1:1\nslo: ['requests_per_s>5']\n")
    lines = refused(capsys, "--config", str(file), "--nonsense")
    assert lines[0] == "2 problems"
    for word in ("rises with the load", "--nonsense"):
        assert sum(word in line for line in lines) == 1
    file.write_text("url: [")
    said = "\n".join(refused(capsys, "--config", str(file)))
    assert "load.yaml" in said
    assert "needs an objective" not in said
    said = "\n".join(refused(capsys, "--config", str(file), "--slo", "ttft:p99>5ms"))
    assert "write ttft:p99<5ms" in said


def test_a_wrong_objective_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = refused(capsys, *URL, "--slo", "ttft:p99<500")
    assert line.count("needs a unit") == 1


def kept_search(folder: Path, *results: Result) -> Path:
    """The directory of a search with the results of these visits."""
    config = resolve({"url": URL[1], "rate": 1.0, "slo": ["ttft:p99<500ms"], "name": "search"})
    place = SearchDirectory.create(folder / "kept", config, {"started": "now"})
    search = Search(Limits("rate", (Goal("ttft:p99<500ms", 0.01),)), results)
    place.write(search, config_sha256(config, "rate"), None, None)
    return place.path


def test_only_the_directory_of_a_search_can_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = refused(capsys, "--resume", str(tmp_path))
    assert "not the directory of a search" in line


def test_a_search_is_resumed_with_the_settings_that_it_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept_search(tmp_path)
    (line,) = refused(capsys, "--resume", str(path), "--output-tokens", "3")
    assert "made with another configuration" in line
    (line,) = refused(capsys, "--resume", str(path), "--load", "concurrency")
    assert "the search to resume varies the rate" in line
    lines = refused(capsys, "--resume", str(path), "--out", "elsewhere", "--config", "other.yaml")
    assert len(lines) == 3


def test_a_search_that_has_begun_has_its_start_behind_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = kept_search(tmp_path, made_visit(1, 8.0, verdict="FAILED", phase="scout"))
    (line,) = refused(capsys, "--resume", str(begun), "--start", "50")
    assert line == "--start has no effect: the search to resume has begun; --min and --max limit its next loads"


@pytest.mark.processes
def test_a_search_of_a_server_that_is_not_there_ends_with_status_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kept_search(tmp_path)
    # The command need not repeat the URL and the objective: they come from the search.
    assert main(["search", "--resume", str(path), "--quiet"]) == Exit.TARGET
    said = capsys.readouterr()
    assert said.out == "No answer yet. No visit has ended.\n"
    assert said.err.startswith("error: ")
    assert "127.0.0.1:1" in said.err


@pytest.mark.processes
def test_a_file_may_say_how_hard_an_earlier_run_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "load.yaml"
    # Without this, a process that reads metrics would start before the server is contacted.
    off = "server_metrics: ['off']\ngpu_metrics: 'off'\n"
    file.write_text(
        f"url: http://127.0.0.1:1\nrate: 5\nduration: 10s\nwarmup: 3s\nmode: rate\nslo: [ttft:p99<500ms]\n{off}"
    )
    out = str(tmp_path / "out")
    assert main(["search", "--config", str(file), "--load", "concurrency", "--out", out, "--quiet"]) == Exit.TARGET
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_what_a_search_chooses_itself_is_not_that_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    given = {"rate": 5, "duration": "10s", "warmup": "3s", "mode": "rate", "max_errors": 3, "timeout": "7s"}
    file.write_text("".join(f"{name}: {value}\n" for name, value in given.items()))
    words = [*URL, *SLO, "--config", str(file), "--load", "concurrency", "--out", str(tmp_path / "out")]
    base = _plan(words, ["bench", "search", *words])[0].base
    own = _plan([*URL, *SLO, "--load", "concurrency", "--out", str(tmp_path / "other")], ["bench"])[0].base
    changed = {name for name in given if getattr(base, name) != getattr(own, name)}
    assert (changed, base.timeout, base.name) == ({"timeout"}, 7.0, "search")


def test_visits_of_sessions_begin_in_their_middle_where_nothing_else_is_said(tmp_path: Path) -> None:
    rows = tmp_path / "agents.jsonl"
    rows.write_text('{"turns": [{"content": "a"}]}\n')
    load = {"load": "sessions"}

    def begin(**settings: object) -> str:
        given = {"url": URL[1], "slo": ["job:p90<2s"], **settings}
        return plan(given, load, lambda more: resolve({**given, **more})).base.sessions_begin

    assert begin() == "middle"
    assert begin(sessions_begin="first") == "first"
    # The rows of a file may lack the answers that this objective needs.
    assert begin(dataset=str(rows)) == "first"


def test_a_wrong_setting_is_named_where_a_search_is_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept_search(tmp_path)
    (line,) = refused(capsys, "--resume", str(path), *SLO, "--output-tokens", "many")
    assert "--output-tokens" in line


def test_a_number_of_a_file_keeps_all_its_digits(tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    file.write_text("min: 0.1234567\nmax: 1234567.5\nstart: 8.0\n")
    own = own_settings(OPTIONS, {}, read_file({"config": str(file)}, []))
    assert own == {"min": "0.1234567", "max": "1234567.5", "start": "8"}
