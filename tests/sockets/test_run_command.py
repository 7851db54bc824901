"""`python -m bench run` as its users meet it: exit statuses, sentences, files, signals, a full disk, and no secrets."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import Exit
from bench.transport import TRANSPORTS
from tests.support.calm import CALM
from tests.support.literal_replies import GOOD, api, completion, content, error, models, stream, whole
from tests.support.literal_server import (
    Close,
    Hang,
    LiteralServer,
    Pause,
    Received,
    Send,
    Step,
    closed_port,
    in_turn,
)
from tests.support.mock_process import mock_process

SMALL = ("--input-tokens", "16", "--output-tokens", "3")
MASK = "***"


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "calm.yaml").write_text(CALM)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "4ms", "--tpot", "1ms") as running:
        yield running.url


def flags(url: str, tmp_path: Path, *more: str, out: str = "run", limits: str = "calm.yaml") -> list[str]:
    return ["run", "--url", url, "--config", str(tmp_path / limits), "--out", str(tmp_path / out), *SMALL, *more]


def process(words: Sequence[str], **popen: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)


def finished(words: Sequence[str], **popen: Any) -> tuple[int, str, str]:
    with process(words, **popen) as running:
        out, err = running.communicate(timeout=30)
    return running.returncode, out, err


def summary(tmp_path: Path, out: str = "run") -> dict[str, Any]:
    told: dict[str, Any] = json.loads((tmp_path / out / "summary.json").read_text())
    return told


def records(tmp_path: Path, out: str = "run") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / out / "requests.jsonl").read_text().splitlines()]


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def loaded(chat: Callable[[Received], Sequence[Step]]) -> Callable[[Received], Sequence[Step]]:
    """A server that satisfies the probe, and answers the load by `chat`."""

    def script(request: Received) -> Sequence[Step]:
        return stream(*GOOD) if request.headers["x-request-id"].startswith("probe-") else chat(request)

    return api(script)


def hanging(request: Received) -> Sequence[Step]:
    return [*stream(*GOOD)[:3], Hang()]


# ---- Exit statuses -------------------------------------------------------------------------------------------------


def test_a_good_run_leaves_its_directory_and_exits_0(mock: str, tmp_path: Path) -> None:
    status, out, err = finished(flags(mock, tmp_path, "--requests", "6", "--concurrency", "2"))
    assert status == Exit.GOOD, err
    told = summary(tmp_path)
    assert told["verdict"]["status"] == "VALID", told["verdict"]
    assert (told["counts"]["sent"], told["counts"]["succeeded"], told["counts"]["failed"]) == (6, 6, 0)
    assert told["latency"]["ttft_ms"]["n"] == 6
    assert 4 <= told["latency"]["ttft_ms"]["p50"] < 1_000
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"run.yaml", "requests.jsonl", "samples.jsonl", "live.jsonl", "summary.json", "report.html"}
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
    assert 4 <= counts["failed"] < counts["sent"] < 100  # The failures are looked at now and then, not at each.
    assert summary(tmp_path)["run"]["stop_reason"] == "errors"


def test_an_invalid_measurement_exits_3_and_outranks_an_objective(mock: str, tmp_path: Path) -> None:
    (tmp_path / "strict.yaml").write_text("limits: {errors: {suspect: -1, invalid: -1}}\n")
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


def test_a_defect_of_ours_exits_70_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(argv: Sequence[str]) -> int:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("bench.commands.run.main", broken)
    assert cli.main(["run"]) == Exit.DEFECT == 70
    said = capfd.readouterr().err
    assert "ZeroDivisionError: planted" in said
    assert "this is a defect of Trueload" in said


# ---- Signals -------------------------------------------------------------------------------------------------------


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_ctrl_c_lets_what_is_in_flight_end_reports_it_and_exits_130(tmp_path: Path) -> None:
    def slow(request: Received) -> Sequence[Step]:
        return [Pause(0.1), *stream(*GOOD)]

    with LiteralServer(loaded(slow)) as server:
        running = process(flags(server.url, tmp_path, "--duration", "60s", "--concurrency", "3"))
        with running:
            wait_for(lambda: lines_of(tmp_path / "run" / "requests.jsonl") >= 3)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=20)
    assert running.returncode == Exit.INTERRUPTED, err
    told = summary(tmp_path)
    assert told["run"]["stop_reason"] == "interrupted"
    assert told["counts"]["by_outcome"] == {"ok": told["counts"]["sent"]}
    assert told["counts"]["sent"] == len(records(tmp_path)) >= 3
    assert "waiting for" in err
    assert "TTFT" in out
    assert f"The run was interrupted after {told['counts']['sent']:,} requests: the numbers are about these." in out


def test_a_second_ctrl_c_cuts_what_is_in_flight(tmp_path: Path) -> None:
    with (
        LiteralServer(loaded(hanging)) as server,
        process(flags(server.url, tmp_path, "--requests", "9", "--concurrency", "3")) as running,
    ):
        wait_for(lambda: len(server.received) >= 5)
        assert running.stderr is not None
        running.send_signal(signal.SIGINT)
        for line in running.stderr:
            if line.startswith("stopping"):
                break
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
    assert running.returncode == Exit.INTERRUPTED
    assert [r["outcome"] for r in records(tmp_path)] == ["interrupted"] * 3
    assert all(r["chunk_kind"] == "rc" for r in records(tmp_path))
    assert summary(tmp_path)["counts"]["by_outcome"] == {"interrupted": 3}


def test_sigterm_cuts_at_once_and_reports(tmp_path: Path) -> None:
    with (
        LiteralServer(loaded(hanging)) as server,
        process(flags(server.url, tmp_path, "--requests", "9", "--concurrency", "2")) as running,
    ):
        wait_for(lambda: len(server.received) >= 4)
        running.terminate()
        running.communicate(timeout=20)
    assert running.returncode == Exit.INTERRUPTED
    assert [r["outcome"] for r in records(tmp_path)] == ["interrupted"] * 2


def test_ctrl_c_before_the_load_exits_130_with_a_sentence(tmp_path: Path) -> None:
    with LiteralServer(api(in_turn([Hang()]))) as server, process(flags(server.url, tmp_path)) as running:
        wait_for(lambda: len(server.received) >= 2)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == Exit.INTERRUPTED
    assert "nothing was measured" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_killed_run_can_be_rendered_with_all_that_had_ended(tmp_path: Path) -> None:
    with (
        LiteralServer(loaded(in_turn(stream(*GOOD)))) as server,
        process(flags(server.url, tmp_path, "--duration", "60s", "--concurrency", "2")) as running,
    ):
        wait_for(lambda: lines_of(tmp_path / "run" / "requests.jsonl") >= 10)
        running.kill()
        running.communicate(timeout=20)
    whole_lines = lines_of(tmp_path / "run" / "requests.jsonl")
    assert not (tmp_path / "run" / "summary.json").exists()
    assert cli.main(["report", str(tmp_path / "run"), "--quiet"]) in (Exit.GOOD, Exit.INVALID)
    told = summary(tmp_path)
    assert told["counts"]["sent"] == whole_lines
    assert told["run"]["stop_reason"] == "killed"


# ---- The probe: each thing that is wrong has a sentence of its own ---------------------------------------------------


def needs_key(request: Received) -> Sequence[Step]:
    if request.headers.get("authorization") == "Bearer sk-right":
        return models("m") if request.path == "/v1/models" else stream(*GOOD)
    return whole("401 Unauthorized", {"error": "Unauthorized"})


def no_such_path(request: Received) -> Sequence[Step]:
    return whole("404 Not Found", {"detail": "Not Found"})


def no_such_model(request: Received) -> Sequence[Step]:
    name = json.loads(request.body)["model"] if request.body else None
    return whole("404 Not Found", error(f"The model `{name}` does not exist.", "NotFoundError", 404))


PATIENCE = ("--probe-timeout", "300ms")
GAVE_UP = ("did not answer the probe in time", "--probe-timeout")
GIVEN = in_turn(stream(*GOOD))
PROBES: dict[str, tuple[Callable[[Received], Sequence[Step]], tuple[str, ...], tuple[str, ...]]] = {
    "a wrong path": (no_such_path, (), ("is not there (status 404", "check the path")),
    "a wrong model": (api(no_such_model, "real-model"), ("--model", "dream"), ("no model 'dream'", "real-model")),
    "no key": (needs_key, (), ("the server needs a key (status 401", "give it with --api-key or OPENAI_API_KEY")),
    "a wrong key": (
        needs_key,
        ("--api-key", "sk-wrong"),
        (
            "the server refuses this key (status 401",
            "check --api-key, OPENAI_API_KEY and --header",
        ),
    ),
    "not streaming": (
        api(in_turn(whole("200 OK", completion("hello", 2)))),
        (),
        ("does not stream", "--no-stream"),
    ),
    "several models": (api(GIVEN, "first", "second"), (), ("several models", "first, second", "--model")),
    "no text in any chunk": (api(in_turn(stream(content(""), "[DONE]"))), (), ("no chunk has text",)),
    "a web page": (
        api(in_turn(whole("200 OK", b"<html><title>Welcome</title></html>"))),
        (),
        ("not what an OpenAI-compatible server", "HTML page", "Welcome", "Are the port and the path those of its API?"),
    ),
    "a redirect": (api(in_turn(whole("307 Moved", b"", "location: http://x/"))), (), ("redirects to http://x/",)),
    "broken": (
        api(in_turn(whole("500 Internal Server Error", error("CUDA error")))),
        (),
        ("the server failed (status 500: CUDA error): its log may say why",),
    ),
    "not ready": (api(in_turn(whole("503 Busy", error("loading")))), (), ("not taking requests", "loading")),
    "no answer": (api(in_turn([Hang()])), ("--first-byte-timeout", "200ms"), ("did not answer in time",)),
    "no byte": (api(in_turn([Hang()])), PATIENCE, (*GAVE_UP, "took the connection and the request, and sent no byte")),
    "half a head": (
        api(in_turn([Send(b"HTTP/1.1 200 OK\r\nserver: x"), Hang()])),
        PATIENCE,
        (*GAVE_UP, "the beginning of a response, and no whole head"),
    ),
    "a head and no body": (
        api(in_turn([*stream()[:1], Hang()])),
        PATIENCE,
        (*GAVE_UP, "the head of a response (status 200), and no body"),
    ),
    "half a stream": (api(hanging), PATIENCE, (*GAVE_UP, "bytes in 2 events (status 200), and no end")),
    "an https port": (
        api(in_turn(whole("400 Bad Request", b"The plain HTTP request was sent to HTTPS port"))),
        (),
        ("wants TLS", "with https:// instead of http://"),
    ),
    "a server that hangs up": (api(in_turn([Close()])), (), ("closed the connection", "http:// URL")),
    "an error in the stream": (api(in_turn(stream(error("no memory")))), (), ("inside the stream", "no memory")),
}


@pytest.mark.parametrize(("script", "words", "sentences"), PROBES.values(), ids=PROBES.keys())
def test_the_probe_says_what_is_wrong_before_any_load(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    script: Callable[[Received], Sequence[Step]],
    words: tuple[str, ...],
    sentences: tuple[str, ...],
) -> None:
    with LiteralServer(script) as server:
        assert cli.main(flags(server.url, tmp_path, *words)) == Exit.TARGET
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    for sentence in sentences:
        assert sentence in said
    assert not (tmp_path / "run").exists()
    assert all(r.path == "/v1/models" or r.headers["x-request-id"].startswith("probe-") for r in server.received)


@pytest.mark.parametrize("transport", sorted(TRANSPORTS))
def test_tls_problems_say_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], transport: str, mock: str
) -> None:
    with LiteralServer(api(GIVEN), tls=True) as server:
        assert cli.main(flags(server.url, tmp_path, "--transport", transport)) == Exit.TARGET
        said = capfd.readouterr().err
        assert "is not trusted (self-signed certificate)" in said
        assert "--ca-file" in said
        assert "--insecure" in said
        words = ("--transport", transport, "--insecure", "--requests", "1", "--quiet")
        assert cli.main(flags(server.url, tmp_path, *words)) == Exit.GOOD
    plain = flags(mock.replace("http://", "https://"), tmp_path, "--transport", transport, out="plain")
    assert cli.main(plain) == Exit.TARGET
    assert "does not speak TLS: give its URL with http:// instead of https://" in capfd.readouterr().err
    words = ("--transport", transport, "--connect-timeout", "200ms", "--probe-timeout", "1s")
    with LiteralServer(api(GIVEN)) as server:  # It waits for the end of a head that never comes.
        url = server.url.replace("http://", "https://")
        assert cli.main(flags(url, tmp_path, *words, out="silent")) == Exit.TARGET
        assert "no TLS handshake in time" in capfd.readouterr().err


def test_a_ca_file_that_is_none_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = flags("https://127.0.0.1:1", tmp_path, "--ca-file", str(tmp_path / "calm.yaml"))
    assert cli.main(words) == Exit.USAGE
    assert "--ca-file" in capfd.readouterr().err


def test_a_silent_wait_is_named_on_what_is_no_terminal(tmp_path: Path) -> None:
    with LiteralServer(api(in_turn([Hang()]))) as server:
        status, _, err = finished(flags(server.url, tmp_path, "--probe-timeout", "1500ms"))
    assert status == Exit.TARGET
    assert f"waiting for {server.url}/v1/chat/completions to answer the probe (1 s)\n" in err
    assert "\x1b" not in err
    assert "\r" not in err


def limited(limit: int, value: int) -> Callable[[], None]:
    """What a process does before it becomes another program: take a limit of the system upon itself."""
    return lambda: resource.setrlimit(limit, (value, value))


def test_few_open_files_cost_requests_and_not_the_run(mock: str, tmp_path: Path) -> None:
    words = flags(mock, tmp_path, "--rate", "4000", "--requests", "400", "--workers", "1")
    status, out, err = finished(words, preexec_fn=limited(resource.RLIMIT_NOFILE, 64))
    assert status in (Exit.GOOD, Exit.INVALID, Exit.TARGET), err
    assert "warning: the limit of open files here (64) has room for about 32 requests in flight" in err
    assert "Traceback" not in err
    assert {r["error"] for r in records(tmp_path)} == {None, "no socket for another connection: Too many open files"}
    assert len(records(tmp_path)) == 400
    assert summary(tmp_path)["counts"]["succeeded"] > 0
    assert "report: " in out


def test_too_few_open_files_for_any_run_are_said(mock: str, tmp_path: Path) -> None:
    status, _, err = finished(flags(mock, tmp_path), preexec_fn=limited(resource.RLIMIT_NOFILE, 24))
    assert (status, err) == (
        Exit.USAGE,
        "error: a run needs at least 48 open files, and the limit here is 24: raise it (ulimit -Hn 1024)\n",
    )


@pytest.mark.parametrize(
    ("size", "told"), [(1024, "run.yaml cannot be written"), (8192, "the report cannot be written")]
)
def test_a_small_disk_is_no_defect(mock: str, tmp_path: Path, size: int, told: str) -> None:
    """A limit on the size of files stands for a disk of that size."""
    words = flags(mock, tmp_path, "--requests", "60")
    status, _, err = finished(words, preexec_fn=limited(resource.RLIMIT_FSIZE, size))
    assert status == Exit.USAGE
    assert told in err
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
@pytest.mark.parametrize("flag", ["--dataset", "--tokenizer", "--config"])
def test_a_file_that_cannot_be_read_is_no_defect(tmp_path: Path, capfd: pytest.CaptureFixture[str], flag: str) -> None:
    assert cli.main(["run", "--url", "http://127.0.0.1:1", flag, "/proc/self/mem"]) == Exit.USAGE
    assert "/proc/self/mem" in capfd.readouterr().err


def test_secrets_of_bodies_are_in_no_file(tmp_path: Path) -> None:
    secrets = ("sk-of-extra-body", "sk-of-the-row")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        json.dumps({"messages": [{"role": "user", "content": "a"}], "hf_token": secrets[1], "max_tokens": 3}) + "\n"
    )

    def quote(request: Received) -> Sequence[Step]:
        return whole("400 Bad Request", error(f"what is {request.body.decode()}?"))

    with LiteralServer(loaded(quote)) as server:
        words = ["run", "--url", server.url, "--dataset", str(rows), "--requests", "2", "--out", str(tmp_path / "run")]
        status, out, err = finished([*words, "--extra-body", json.dumps({"api_key": secrets[0]})])
    assert status == Exit.TARGET, err
    assert "max_tokens" in records(tmp_path)[0]["error"]
    files = {path.name: path.read_text() for path in (tmp_path / "run").iterdir()}
    assert len(files) >= 4
    for secret in secrets:
        assert secret not in out + err
        assert [name for name, text in files.items() if secret in text] == []


def test_the_key_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
    with LiteralServer(needs_key) as server:
        assert cli.main(flags(server.url, tmp_path, "--requests", "1", "--quiet")) == Exit.GOOD


def test_a_server_that_refuses_options_is_asked_without_them_and_the_report_says_so(tmp_path: Path) -> None:
    def strict(request: Received) -> Sequence[Step]:
        if {"stream_options", "ignore_eos"} & json.loads(request.body).keys():
            return whole("422 Unprocessable", {"detail": "extra fields"})
        return stream(*GOOD)

    with LiteralServer(api(strict)) as server:
        assert cli.main(flags(server.url, tmp_path, "--requests", "2", "--ignore-eos", "--quiet")) == Exit.GOOD
    (note,) = [note for note in summary(tmp_path)["run"]["notes"] if "refuses" in note]
    assert "stream_options and ignore_eos" in note
    assert summary(tmp_path)["counts"]["succeeded"] == 2


@pytest.mark.parametrize("tail", ["/", "/v1", "/v1/chat/completions"])
def test_the_url_may_end_where_it_likes(mock: str, tmp_path: Path, tail: str) -> None:
    assert cli.main(flags(mock + tail, tmp_path, "--requests", "1", "--quiet")) == Exit.GOOD


# ---- How much, and how --------------------------------------------------------------------------------------------


def test_requests_end_the_run(mock: str, tmp_path: Path) -> None:
    assert cli.main(flags(mock, tmp_path, "--requests", "5", "--duration", "60s", "--quiet")) == Exit.GOOD
    assert (len(records(tmp_path)), summary(tmp_path)["run"]["stop_reason"]) == (5, "requests")


def test_the_duration_ends_the_run(mock: str, tmp_path: Path) -> None:
    words = ("--requests", "100000", "--duration", "1200ms", "--concurrency", "2", "--quiet")
    assert cli.main(flags(mock, tmp_path, *words)) == Exit.GOOD
    intended = [r["intended_ns"] for r in records(tmp_path)]
    assert summary(tmp_path)["run"]["stop_reason"] == "duration"
    assert len(intended) > 4
    assert 400e6 < max(intended) - min(intended) < 1200e6


@pytest.mark.parametrize("warmup", ["4", "150ms"])
def test_the_warm_up_is_recorded_and_counts_in_no_number(tmp_path: Path, warmup: str) -> None:
    # The first two replies are slow and long: both fall into the warm-up, and in any number they would show.
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
    assert told["latency"]["ttft_ms"]["max"] < 300
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
def test_each_mode_sends_what_was_asked(tmp_path: Path, words: tuple[str, ...], mode: str, most: int) -> None:
    with LiteralServer(loaded(in_turn([Pause(0.15), *stream(*GOOD)]))) as server:
        assert cli.main(flags(server.url, tmp_path, "--requests", "12", *words, "--quiet")) == Exit.GOOD
    told = summary(tmp_path)
    assert (told["load"]["mode"], told["counts"]["succeeded"]) == (mode, 12)
    spans = [(r["sent_ns"], r["end_ns"]) for r in records(tmp_path)]
    at_once = max(sum(a <= sent < b for a, b in spans) for sent, _ in spans)
    assert at_once <= most
    if mode != "rate" or most < 12:
        assert at_once == most


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
    assert "TTFT" not in told.out


def test_a_full_disk_loses_no_record(tmp_path: Path) -> None:
    limit = 20_000

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "TMPDIR": str(elsewhere)}
    with LiteralServer(loaded(in_turn(stream(*GOOD)))) as server:
        words = flags(server.url, tmp_path, "--requests", "45", "--concurrency", "2")
        status, _, err = finished(words, preexec_fn=full, env=environment)
    assert status == Exit.USAGE, err
    assert "Traceback" not in err
    assert f"python -m bench report {tmp_path / 'run'}" in err
    kept = (tmp_path / "run" / "requests.jsonl").read_bytes()
    (rescued,) = elsewhere.glob("*requests.jsonl")
    assert str(rescued) in err
    lines = (kept + rescued.read_bytes()).splitlines()
    assert sorted(json.loads(line)["index"] for line in lines) == list(range(45))
    # With the lines put back, the report is whole.
    (tmp_path / "run" / "requests.jsonl").write_bytes(kept + rescued.read_bytes())
    assert cli.main(["report", str(tmp_path / "run"), "--quiet"]) == Exit.GOOD
    assert summary(tmp_path)["counts"]["succeeded"] == 45


# ---- Secrets ---------------------------------------------------------------------------------------------------------

KEY, HEADER, PASSWORD, QUERY = "sk-key-a1b2c3", "tenant-d4e5f6", "pass-g7h8i9", "query-j0k1l2"


def secretive(url: str, tmp_path: Path, *more: str, out: str = "run") -> list[str]:
    host = url.removeprefix("http://")
    target = f"http://user:{PASSWORD}@{host}/v1?token={QUERY}"
    return flags(target, tmp_path, "--api-key", KEY, "--header", f"X-Tenant: {HEADER}", *more, out=out)


def echo(request: Received) -> Sequence[Step]:
    every = f"{request.path} {json.dumps(request.headers)}"
    return whole("401 Unauthorized", error(f"Incorrect API key provided: {KEY} {HEADER} {PASSWORD} {QUERY} {every}"))


def test_no_secret_is_in_any_file_or_output_though_the_server_echoes_them(tmp_path: Path) -> None:
    def half(request: Received) -> Sequence[Step]:
        index = int(request.headers["x-request-id"].rpartition("-")[2])
        return echo(request) if index % 2 else stream(*GOOD)

    with LiteralServer(loaded(half)) as server:
        status, out, err = finished(secretive(server.url, tmp_path, "--requests", "6"))
    assert status == Exit.GOOD, err
    assert [r["error"] for r in records(tmp_path) if r["error"]] != []
    sent = server.received[-1]
    assert (sent.headers["authorization"], sent.headers["x-tenant"]) == (f"Bearer {KEY}", HEADER)
    told = {path.name: path.read_text() for path in (tmp_path / "run").iterdir()} | {"stdout": out, "stderr": err}
    for name, text in told.items():
        for secret in (KEY, HEADER, PASSWORD, QUERY):
            assert secret not in text, f"{secret} is in {name}"
    assert MASK in told["run.yaml"]
    assert MASK in told["requests.jsonl"]


def test_no_secret_is_in_the_probes_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with LiteralServer(api(echo)) as server:
        assert cli.main(secretive(server.url, tmp_path)) == Exit.TARGET
    said = capfd.readouterr()
    for secret in (KEY, HEADER, PASSWORD, QUERY):
        assert secret not in said.out + said.err
    assert MASK in said.err


# ---- Terminals -------------------------------------------------------------------------------------------------------


def on_a_terminal(words: Sequence[str], **environment: str) -> tuple[int, str]:
    """The exit status, and all that a terminal of 100 columns saw of both outputs."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bench", *words]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    seen: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):
            while select.select([ours], [], [], 30)[0] and (data := os.read(ours, 65536)):
                seen.append(data)

    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as running:
        os.close(theirs)
        reader = threading.Thread(target=read)
        reader.start()
        status = running.wait(timeout=30)
    reader.join()
    os.close(ours)
    return status, b"".join(seen).decode()


def test_a_terminal_shows_progress_while_the_load_runs(mock: str, tmp_path: Path) -> None:
    status, seen = on_a_terminal(flags(mock, tmp_path, "--duration", "1200ms", "--concurrency", "2"))
    assert status == Exit.GOOD
    assert seen.count("in flight") >= 2
    for word in ("━", "of 1.2 s", "sent", "done", "tokens/s", "TTFT p50", "TPOT p50", "failed 0 (0.0%)"):
        assert word in seen
    assert "\x1b[4A\x1b[J" in seen  # The moving lines are drawn over, not below each other.
    assert seen.index("in flight") < seen.index("VALID")


def test_no_color_takes_the_colours_out_of_the_report(mock: str, tmp_path: Path) -> None:
    assert cli.main(flags(mock, tmp_path, "--requests", "2", "--quiet")) == Exit.GOOD
    _, coloured = on_a_terminal(["report", str(tmp_path / "run")])
    _, plain = on_a_terminal(["report", str(tmp_path / "run")], NO_COLOR="1")
    colour = re.compile(r"\x1b\[[0-9;]*3[1-6][0-9;]*m")
    assert colour.search(coloured)
    assert not colour.search(plain)
