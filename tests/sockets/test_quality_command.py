"""`bench quality` against the mock: planted faults are found, a correct server raises no alarm, a series resumes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

import bench
import bench.report
from bench.cli import main
from bench.errors import Exit
from bench.results.base import to_plain
from bench.results.quality import QualityContent
from tests.support.calm import CALM
from tests.support.mock_process import mock_process
from tests.support.results import filled

SCHEMA = Path(bench.report.__file__).parent / "quality.schema.json"
LOAD = ["--concurrency", "8", "--requests", "100", "--share", "40%"]
SHORT = ["--input-tokens", "20", "--output-tokens", "8", "--quiet"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    # Replies take longer than the client needs per request, even on a slow machine, as the faults grow with the
    # requests in flight.
    with mock_process("--ttft", "30ms", "--tpot", "200us") as mock:
        yield mock.url


def quality(url: str, folder: Path, *words: str, fault: str | None = None, probes: str = "arithmetic=40") -> int:
    assert httpx.patch(f"{url}/admin/config", json={"fault": [] if fault is None else [fault]}).status_code == 200
    return main(["quality", *of(url, folder), "--out", str(folder), "--probes", probes, *words])


def of(url: str, folder: Path) -> list[str]:
    """The flags of each command, with limits that no busy machine exceeds."""
    calm = folder.with_name("calm.yaml")
    calm.write_text(CALM)
    return ["--config", str(calm), "--url", url, *SHORT, *LOAD]


def kept(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "quality.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(content)
    return content


def measure(content: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = (row for row in content["measures"] if row["name"] == name)
    return dict(row)


def test_a_true_server_raises_no_alarm_and_its_series_is_read_again(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "true"
    assert quality(url, folder, probes="24") == Exit.GOOD
    content = kept(folder)
    assert [(run["name"], run["answers"], run["failed"]) for run in content["runs"]] == [
        ("alone", 48, 0), ("loaded", 40, 0), ("back", 24, 0),
    ]  # fmt: skip
    assert {row["decision"] for row in content["measures"]} == {"not shown"}
    assert measure(content, "right")["alone"]["share"] == measure(content, "right")["loaded"]["share"] == 1
    assert content["cross_talk"]["found"] == 0
    assert [row["kind"] for row in content["kinds"]] == ["canary", "retrieve", "arithmetic", "sort", "schema", "tool"]
    assert "No change is shown: right answers fall by no more than" in capsys.readouterr().out
    # Probes are marked among the requests of the load, and no other text is stored.
    lines = [json.loads(line) for line in (folder / "loaded" / "requests.jsonl").read_text().splitlines()]
    assert sorted(line["probe"] for line in lines if "probe" in line) == list(range(40))
    assert all(("answer" in line) == ("probe" in line) for line in lines)
    # A finished series is read again; a different one is refused.
    before = (folder / "loaded" / "requests.jsonl").read_bytes()
    assert main(["quality", *of(url, folder), "--probes", "24", "--resume", str(folder)]) == Exit.GOOD
    assert (folder / "loaded" / "requests.jsonl").read_bytes() == before
    assert main(["quality", *of(url, folder), "--probes", "30", "--resume", str(folder)]) == Exit.USAGE
    assert "its runs were made with other settings (--probes)" in capsys.readouterr().err
    assert quality(url, folder, probes="24") == Exit.USAGE
    assert "already holds a result of quality" in capsys.readouterr().err
    assert main(["report", str(folder), "--format", "json"]) == content["exit"]
    assert json.loads(capsys.readouterr().out) == kept(folder)
    assert kept(folder)["measures"] == content["measures"]
    # The same from Python.
    found = bench.quality(
        config=str(folder.with_name("calm.yaml")), url=url, concurrency=8, requests=100, share="40%", probes="24",
        input_tokens="20", output_tokens="8", out=str(folder), resume=True,
    )  # fmt: skip
    assert (int(found.exit), found.changed, found.page) == (Exit.GOOD, False, folder / "quality.html")
    assert to_plain(found.content)["measures"] == content["measures"]


@pytest.mark.parametrize(
    ("fault", "probes", "name"),
    [
        ("wrong_answer:crowd=0.1", "arithmetic=40", "right"),
        pytest.param("cut_json:crowd=0.1", "schema=40", "valid_json", marks=pytest.mark.long),
        pytest.param("cut_json:crowd=0.1", "tool=40", "valid_call", marks=pytest.mark.long),
        pytest.param("garble:crowd=0.1", "canary=40", "readable", marks=pytest.mark.long),
        pytest.param("batch_dependent:crowd=0.1", "sort=40", "same_text", marks=pytest.mark.long),
    ],
)
def test_a_planted_fault_is_found(fault: str, probes: str, name: str, url: str, tmp_path: Path) -> None:
    assert quality(url, tmp_path / "q", fault=fault, probes=probes) == Exit.OBJECTIVE_FAILED
    content = kept(tmp_path / "q")
    row = measure(content, name)
    assert (row["decision"], row["alone"]["bad"]) == ("changed", 0)
    assert row["fall"] > 0
    assert content["examples"]
    page = (tmp_path / "q" / "quality.html").read_text()
    assert "Load changes the answers" in page
    assert "<mark>" in page


@pytest.mark.parametrize(
    "fault", ["cross_talk:crowd=0.05", pytest.param("stale_prefix:crowd=0.05", marks=pytest.mark.long)]
)
def test_cross_talk_is_found(fault: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quality(url, tmp_path / "q", "--requests", "200", fault=fault, probes="canary=80") == Exit.OBJECTIVE_FAILED
    talk = kept(tmp_path / "q")["cross_talk"]
    assert talk["found"] > 0
    assert {foreign["phase"] for foreign in talk["first"]} == {"loaded"}
    assert all(foreign["owner"] != foreign["probe"] for foreign in talk["first"])
    assert "Cross-talk: " in capsys.readouterr().out


def test_what_does_not_go_with_quality_is_told_at_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--alone", "1", "--margin", "2", "--check-answers", "5%", "--probes", "canaries"]
    assert main(["quality", "--url", url, *words]) == Exit.USAGE
    said = capsys.readouterr().err
    for part in (
        "--alone 1: give a whole number from 2 to 100",
        "--margin 2: not a share",
        "--check-answers cannot be combined with quality: --share says",
        "did you mean canary?",
    ):
        assert part in said
    assert main(["quality", "--url", url, "--endpoint", "embeddings", "--requests", "5"]) == Exit.USAGE
    assert "--share needs an endpoint that answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    "how",
    [
        ("--mode", "sessions", "--endpoint", "responses", "--history", "stored", "--websocket"),
        pytest.param(("--mode", "sessions", "--turns", "2", "--history", "planned"), marks=pytest.mark.long),
        pytest.param(("--endpoint", "responses", "--websocket"), marks=pytest.mark.long),
    ],
)
def test_probes_are_asked_among_sessions_and_over_a_websocket(how: tuple[str, ...], url: str, tmp_path: Path) -> None:
    assert (
        quality(url, tmp_path / "q", *how, "--requests", "200", fault="wrong_answer:crowd=0.12")
        == Exit.OBJECTIVE_FAILED
    )
    content = kept(tmp_path / "q")
    row = measure(content, "right")
    assert (row["decision"], row["alone"]["bad"]) == ("changed", 0)
    lines = [json.loads(line) for line in (tmp_path / "q" / "loaded" / "requests.jsonl").read_text().splitlines()]
    probes = [line for line in lines if "probe" in line]
    assert len({line["probe"] for line in probes}) == len(probes) >= 20
    assert {line.get("job") for line in probes} == {None}
    if "sessions" in how:
        assert {line["session_turns"] for line in probes} == {1}


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_interrupted_series_says_how_to_go_on_except_in_json(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = filled(QualityContent, ended="interrupted", margin=0.01, alpha=0.05)
    ended = SimpleNamespace(content=content, exit=Exit.INTERRUPTED)
    monkeypatch.setattr("bench.answer_quality.measure.measure", lambda *args, **more: ended)
    words = [*of("http://127.0.0.1:9", tmp_path), "--out", str(tmp_path), "--probes", "arithmetic=20", "--format", form]
    assert main(["quality", *words]) == Exit.INTERRUPTED
    said = f"to continue, run the same command with --resume {tmp_path}" in capsys.readouterr().out
    assert said is (form == "text")
