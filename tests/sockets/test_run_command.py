"""`bench run` as users run it: exit statuses, the amount and form of requests, the run directory, terminals."""

from __future__ import annotations

import contextlib
import json
import locale
import os
import pty
import re
import resource
import select
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench import cli
from bench.errors import Exit
from tests.support.literal_replies import GOOD, api, content, error, stream, whole
from tests.support.literal_server import LiteralServer, Pause, Received, Step, Until, closed_port, in_turn
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.run_process import SMALL, finished, flags, loaded, records, summary

pytestmark = pytest.mark.usefixtures("work_folder")


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "4ms", "--tpot", "1ms") as running:
        yield running.url


# ---- Exit statuses -------------------------------------------------------------------------------------------------


def test_a_good_run_leaves_its_directory_and_exits_0(mock: str, tmp_path: Path) -> None:
    status, out, err = finished(flags(mock, tmp_path, "--requests", "6", "--concurrency", "2"))
    assert status == Exit.GOOD, err
    told = summary(tmp_path)
    assert told["verdict"]["status"] == "VALID", told["verdict"]
    assert (told["counts"]["sent"], told["counts"]["succeeded"], told["counts"]["failed"]) == (6, 6, 0)
    assert told["latency"]["ttft_ms"]["n"] == 6
    assert 4 <= told["latency"]["ttft_ms"]["p50"] < 60_000
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "run.yaml",
        "requests.jsonl",
        "samples.jsonl",
        "live.jsonl",
        "server.jsonl",
        "changes.jsonl",
        "summary.json",
        "report.html",
    }
    assert "VALID" in out
    assert out.index("VALID") < out.index("TTFT")
    assert "\x1b" not in out + err
    assert sorted(int(r["id"].rpartition("-")[2]) for r in records(tmp_path)) == list(range(6))
    assert not any("probe" in r["id"] for r in records(tmp_path))


@pytest.mark.parametrize(("objective", "status"), [("ttft:p50<0.001ms", 1), ("ttft:p50<100s", 0)])
def test_an_objective_decides_between_0_and_1(mock: str, tmp_path: Path, objective: str, status: int) -> None:
    assert cli.main(flags(mock, tmp_path, "--requests", "3", "--slo", objective, "--quiet")) == status
    assert summary(tmp_path)["slo"]["held"] is (status == 0)


def test_too_many_errors_fail_the_run_and_end_it(tmp_path: Path) -> None:
    def chat(request: Received) -> Sequence[Step]:
        index = int(request.headers["x-request-id"].rpartition("-")[2])
        return [Pause(0.02), *(whole("500 Oops", b"no") if index % 2 else stream(*GOOD))]

    with LiteralServer(loaded(chat)) as server:
        words = ("--requests", "500", "--concurrency", "1", "--quiet")
        assert cli.main(flags(server.url, tmp_path, *words, "--max-errors", "3")) == Exit.OBJECTIVE_FAILED
        few = ("--requests", "4", "--quiet", "--max-errors")
        assert cli.main(flags(server.url, tmp_path, *few, "10%", out="b")) == Exit.OBJECTIVE_FAILED
        assert cli.main(flags(server.url, tmp_path, *few, "60%", out="c")) == Exit.GOOD
    counts = summary(tmp_path)["counts"]
    assert 4 <= counts["failed"] < counts["sent"] < 500  # The failures are checked now and then, not after each one.
    assert summary(tmp_path)["run"]["stop_reason"] == "errors"


def test_an_invalid_measurement_exits_3_and_outranks_an_objective(mock: str, tmp_path: Path) -> None:
    # Users always wait for the client for a few microseconds.
    none = "{suspect: 0, invalid: 0}"
    (tmp_path / "strict.yaml").write_text(f"limits: {{ready_not_sent: {none}, ready_not_sent_ms: {none}}}\n")
    words = flags(mock, tmp_path, "--requests", "3", "--slo", "ttft:p50<0.001ms", "--quiet", limits="strict.yaml")
    assert cli.main(words) == Exit.INVALID
    assert summary(tmp_path)["verdict"]["status"] == "INVALID"


def test_wrong_usage_exits_2_with_every_problem_and_sends_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with LiteralServer(api(in_turn(stream(*GOOD)))) as server:
        status = cli.main(flags(server.url, tmp_path, "--rate", "-1", "--durration", "5s", "--timeout", "soon"))
    assert status == Exit.USAGE
    said = capfd.readouterr().err
    assert "3 problems" in said
    assert "--duration" in said
    assert not server.received
    assert not (tmp_path / "run").exists()


def test_a_server_that_is_not_there_exits_4_and_leaves_no_directory(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with closed_port() as url:
        assert cli.main(flags(url, tmp_path)) == Exit.TARGET
    assert "Is the server running there" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_when_every_request_fails_the_report_is_whole_and_the_exit_4(tmp_path: Path) -> None:
    with LiteralServer(loaded(lambda request: whole("500 Oops", error("it broke")))) as server:
        status, out, err = finished(flags(server.url, tmp_path, "--requests", "5", "--slo", "ttft:p50<1s"))
    assert status == Exit.TARGET, err
    told = summary(tmp_path)
    assert (told["counts"]["failed"], told["counts"]["succeeded"]) == (5, 0)
    assert told["counts"]["by_status"] == {"500": 5}
    assert told["counts"]["by_outcome"] == {"http_error": 5}
    assert "</html>" in (tmp_path / "run" / "report.html").read_text()
    assert "http_error" in out
    assert [r["error"] for r in records(tmp_path)] == ["it broke"] * 5


@pytest.mark.parametrize("tail", ["/", "/v1", "/v1/chat/completions"])
def test_the_url_may_end_where_it_likes(mock: str, tmp_path: Path, tail: str) -> None:
    assert cli.main(flags(mock + tail, tmp_path, "--requests", "1", "--quiet")) == Exit.GOOD


# ---- The amount and form of requests ------------------------------------------------------------------------------


def test_requests_end_the_run(mock: str, tmp_path: Path) -> None:
    assert cli.main(flags(mock, tmp_path, "--requests", "5", "--duration", "60s", "--quiet")) == Exit.GOOD
    assert (len(records(tmp_path)), summary(tmp_path)["run"]["stop_reason"]) == (5, "requests")


def test_the_duration_ends_the_run(mock: str, tmp_path: Path) -> None:
    words = ("--requests", "100000", "--duration", "600ms", "--concurrency", "2", "--quiet")
    assert cli.main(flags(mock, tmp_path, *words)) == Exit.GOOD
    intended = [r["intended_ns"] for r in records(tmp_path)]
    assert summary(tmp_path)["run"]["stop_reason"] == "duration"
    assert 2 <= len(intended) < 100_000
    assert max(intended) - min(intended) < 600e6


@pytest.mark.parametrize("warmup", ["4", "150ms"])
def test_the_warm_up_is_recorded_and_counts_in_no_number(tmp_path: Path, warmup: str) -> None:
    # The first two replies are slow and long. Both belong to the warm-up, and would show in any number.
    cold = [Pause(0.3), *stream(*[content("x")] * 50, *GOOD[4:])]
    with LiteralServer(loaded(in_turn(cold, cold, stream(*GOOD)))) as server:
        words = ("--requests", "6", "--concurrency", "2", "--warmup", warmup, "--quiet")
        assert cli.main(flags(server.url, tmp_path, *words)) == Exit.GOOD
    phases = [r["phase"] for r in records(tmp_path)]
    assert phases.count("run") == 6
    assert phases.count("warmup") == (4 if warmup == "4" else 2)
    told = summary(tmp_path)
    assert (told["counts"]["sent"], told["counts"]["succeeded"]) == (6, 6)
    assert told["latency"]["ttft_ms"]["n"] == 6
    ttfts_ms = [(r["chunk_ns"][1] - r["sent_ns"]) / 1e6 for r in records(tmp_path) if r["phase"] == "run"]
    assert told["latency"]["ttft_ms"]["max"] == pytest.approx(max(ttfts_ms))  # After the chunk with the role.
    first_sent = min(r["sent_ns"] for r in records(tmp_path) if r["phase"] == "run")
    last_end = max(r["end_ns"] for r in records(tmp_path) if r["phase"] == "run")
    assert told["throughput"]["duration_s"] == pytest.approx((last_end - first_sent) / 1e9)
    assert told["throughput"]["output_tokens_per_s"] == pytest.approx(18 / told["throughput"]["duration_s"])


@pytest.mark.parametrize(
    ("words", "mode", "most"),
    [
        (("--concurrency", "3"), "concurrency", 3),
        (("--rate", "200"), "rate", 12),
        (("--rate", "200", "--burstiness", "0.5", "--max-concurrency", "2"), "rate", 2),
        (("--rate", "200", "--arrivals", "constant"), "rate", 12),
        (("--mode", "throughput"), "throughput", 12),
        (("--mode", "throughput", "--max-concurrency", "4"), "throughput", 4),
    ],
    ids=["concurrency", "rate", "rate with a cap", "constant rate", "all at once", "all at once with a cap"],
)
@pytest.mark.wall_clock
def test_each_mode_sends_what_was_asked(tmp_path: Path, words: tuple[str, ...], mode: str, most: int) -> None:
    fills = mode != "rate" or most < 12
    together = threading.Barrier(most if fills else 1)

    def chat(request: Received) -> Sequence[Step]:
        together.wait(PATIENCE_S)  # No reply begins before this many requests have come.
        return stream(*GOOD)

    with LiteralServer(loaded(chat)) as server:
        assert cli.main(flags(server.url, tmp_path, "--requests", "12", *words, "--quiet")) == Exit.GOOD
    told = summary(tmp_path)
    assert (told["load"]["mode"], told["counts"]["succeeded"]) == (mode, 12)
    spans = [(r["sent_ns"], r["end_ns"]) for r in records(tmp_path)]
    at_once = max(sum(a <= sent < b for a, b in spans) for sent, _ in spans)
    assert at_once == most if fills else at_once <= most


def test_whole_responses_have_no_ttft(mock: str, tmp_path: Path) -> None:
    assert cli.main(flags(mock, tmp_path, "--requests", "3", "--no-stream", "--quiet")) == Exit.GOOD
    told = summary(tmp_path)["latency"]
    assert (told["e2el_ms"]["n"], told["ttft_ms"]["n"]) == (3, 0)


def test_completions_are_an_endpoint_too(mock: str, tmp_path: Path) -> None:
    assert cli.main(flags(mock, tmp_path, "--requests", "2", "--endpoint", "completions", "--quiet")) == Exit.GOOD
    assert summary(tmp_path)["run"]["endpoint"] == "completions"


ROWS: dict[str, tuple[str, str, list[str]]] = {
    "prompts": (
        "rows.jsonl",
        '{"prompt": "one", "output_tokens": 2}\n{"prompt": "two", "output_tokens": 2}\n',
        ["one", "two", "one", "two"],
    ),
    "messages": (
        "rows.jsonl",
        '{"messages": [{"role": "user", "content": "one"}], "output_tokens": 2}\n',
        ["one"] * 4,
    ),
    "full bodies": (
        "rows.jsonl",
        '{"model": "own-model", "messages": [{"role": "user", "content": "one"}], "temperature": 0.5}\n',
        ["one"] * 4,
    ),
    "ShareGPT": (
        "share.json",
        '[{"conversations": [{"from": "human", "value": "one"}, {"from": "gpt", "value": "two three"}]}]',
        ["one"] * 4,
    ),
}


@pytest.mark.parametrize(("name", "text", "asked"), ROWS.values(), ids=ROWS.keys())
def test_a_data_set_is_sent_row_by_row_and_again_from_the_start(
    tmp_path: Path, name: str, text: str, asked: list[str]
) -> None:
    (tmp_path / name).write_text(text)
    with LiteralServer(api(in_turn(stream(*GOOD)))) as server:
        words = ["run", "--url", server.url, "--config", str(tmp_path / "calm.yaml"), "--out", str(tmp_path / "run")]
        words += ["--dataset", str(tmp_path / name), "--requests", "4", "--concurrency", "1", "--quiet"]
        assert cli.main(words) == Exit.GOOD
    sent = [
        json.loads(r.body) for r in server.received if not r.headers.get("x-request-id", "probe-").startswith("probe-")
    ]
    assert [body["messages"][-1]["content"] for body in sent] == asked
    assert all(body["stream"] is True for body in sent)
    assert {body["model"] for body in sent} == {"own-model" if "own-model" in text else "literal-model"}
    assert [body.get("temperature") for body in sent] == [0.5 if "temperature" in text else None] * 4
    assert any("repeat" in note for note in summary(tmp_path)["run"]["notes"])


# ---- The run directory ---------------------------------------------------------------------------------------------


def test_a_report_that_is_rendered_again_has_the_same_bytes(mock: str, tmp_path: Path) -> None:
    words = ("--requests", "8", "--warmup", "2", "--slo", "ttft:p99<5s", "--quiet")
    first = cli.main(flags(mock, tmp_path, *words))
    made = {name: (tmp_path / "run" / name).read_bytes() for name in ("summary.json", "report.html", "run.yaml")}
    (tmp_path / "run" / "report.html").unlink()
    again, _, _ = finished(["report", str(tmp_path / "run")])
    assert again == first == Exit.GOOD
    assert {name: (tmp_path / "run" / name).read_bytes() for name in made} == made


def test_a_directory_that_holds_a_run_is_refused_and_stays_as_it_was(
    mock: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(flags(mock, tmp_path, "--requests", "1", "--quiet")) == Exit.GOOD
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert cli.main(flags(mock, tmp_path, "--requests", "1")) == Exit.USAGE
    assert "already holds a run" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_without_out_the_directory_is_under_runs_with_its_name(mock: str, tmp_path: Path) -> None:
    words = ["run", "--url", mock, *SMALL, "--requests", "1", "--name", "nightly", "--quiet"]
    assert cli.main([*words, "--config", str(tmp_path / "calm.yaml")]) == Exit.GOOD
    (made,) = Path("runs").iterdir()
    assert made.name.endswith("-nightly")


def test_json_is_what_summary_json_holds_and_nothing_else_is_on_stdout(mock: str, tmp_path: Path) -> None:
    status, out, _ = finished(flags(mock, tmp_path, "--requests", "2", "--format", "json"))
    assert status == Exit.GOOD
    assert json.loads(out) == summary(tmp_path)


def test_quiet_prints_the_verdict_and_no_more(mock: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(flags(mock, tmp_path, "--requests", "2", "--quiet")) == Exit.GOOD
    told = capfd.readouterr()
    assert told.err == ""
    assert "VALID" in told.out
    assert "TTFT (ms)" not in told.out


def test_a_full_disk_loses_no_record(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "TMPDIR": str(elsewhere)}
    with LiteralServer(loaded(in_turn(stream(*GOOD)))) as server:
        words = flags(server.url, tmp_path, "--requests", "45", "--concurrency", "2")
        status, _, err = finished(words, limits={resource.RLIMIT_FSIZE: 20_000}, env=environment)
    assert status == Exit.USAGE, err
    assert "Traceback" not in err
    assert f"python -m bench report {tmp_path / 'run'}" in err
    kept = (tmp_path / "run" / "requests.jsonl").read_bytes()
    (rescued,) = elsewhere.glob("*requests.jsonl")
    assert str(rescued) in err
    lines = (kept + rescued.read_bytes()).splitlines()
    assert sorted(json.loads(line)["index"] for line in lines) == list(range(45))
    # With the lines restored, the report is complete.
    (tmp_path / "run" / "requests.jsonl").write_bytes(kept + rescued.read_bytes())
    assert cli.main(["report", str(tmp_path / "run"), "--quiet"]) == Exit.GOOD
    assert summary(tmp_path)["counts"]["succeeded"] == 45


# ---- Terminals -------------------------------------------------------------------------------------------------------


def on_a_terminal(
    words: Sequence[str], look: Callable[[str], object] = lambda seen: None, **environment: str
) -> tuple[int, str]:
    """The exit status, and everything that a terminal of 100 columns showed from both outputs. `look` is called with
    the output so far."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bench", *words]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    if locale.getencoding().lower() != "utf-8":  # A different locale needs a new interpreter.
        env["LC_ALL"] = "C.UTF-8"
    seen: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):
            while select.select([ours], [], [], PATIENCE_S)[0] and (data := os.read(ours, 65536)):
                seen.append(data)
                look(b"".join(seen).decode(errors="replace"))

    reader = threading.Thread(target=read)
    try:
        with popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as running:
            os.close(theirs)
            reader.start()
            try:
                status = running.wait(timeout=PATIENCE_S)
            finally:
                running.kill()
        reader.join()
    finally:
        os.close(ours)
    return status, b"".join(seen).decode()


def test_a_terminal_shows_progress_while_the_load_runs(tmp_path: Path) -> None:
    words = ("━", "of 10 requests", "of 600 s", "sent", "done", "tokens/s", "TTFT p50", "TPOT p50", "failed 0 (0.0%)")
    over_each_other = "\x1b[4A\x1b[J"  # The moving lines overwrite each other.
    is_shown = threading.Event()

    def look(seen: str) -> None:
        if all(word in seen for word in (*words, over_each_other)) and seen.count("in flight") >= 2:
            is_shown.set()

    def chat(request: Received) -> Sequence[Step]:
        index = int(request.headers["x-request-id"].rpartition("-")[2])
        return stream(*GOOD) if index < 8 else [Until(is_shown.is_set), *stream(*GOOD)]

    with LiteralServer(loaded(chat)) as server:
        more = ("--duration", "600s", "--requests", "10", "--concurrency", "2")
        status, seen = on_a_terminal(flags(server.url, tmp_path, *more, out=f"{tmp_path.name}/run"), look)
    assert status == Exit.GOOD
    assert is_shown.is_set()
    assert seen.index("in flight") < seen.index("VALID")


def test_no_color_takes_the_colours_out_of_the_report(mock: str, tmp_path: Path) -> None:
    assert cli.main(flags(mock, tmp_path, "--requests", "2", "--quiet")) == Exit.GOOD
    _, coloured = on_a_terminal(["report", str(tmp_path / "run")])
    _, plain = on_a_terminal(["report", str(tmp_path / "run")], NO_COLOR="1")
    colour = re.compile(r"\x1b\[[0-9;]*3[1-6][0-9;]*m")
    assert colour.search(coloured)
    assert not colour.search(plain)
