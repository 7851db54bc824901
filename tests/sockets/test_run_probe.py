"""The probe before the load: each problem has its own sentence."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench import cli
from bench.errors import Exit
from bench.transport import TRANSPORTS
from tests.support.literal_replies import (
    DONE,
    GOOD,
    ROLE,
    api,
    completion,
    content,
    error,
    models,
    stream,
    whole,
)
from tests.support.literal_server import Hang, LiteralServer, Received, Step, in_turn
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.run_process import finished, flags, process, records, summary

pytestmark = pytest.mark.usefixtures("work_folder")


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "4ms", "--tpot", "1ms") as running:
        yield running.url


# ---- The probe: each problem has its own sentence --------------------------------------------------------------------


def needs_key(request: Received) -> Sequence[Step]:
    if request.headers.get("authorization") == "Bearer sk-right":
        return models("m") if request.path == "/v1/models" else stream(*GOOD)
    return whole("401 Unauthorized", {"error": "Unauthorized"})


def no_such_model(request: Received) -> Sequence[Step]:
    name = json.loads(request.body)["model"] if request.body else None
    return whole("404 Not Found", error(f"The model `{name}` does not exist.", "NotFoundError", 404))


GIVEN = in_turn(stream(*GOOD))
PROBES: dict[str, tuple[Callable[[Received], Sequence[Step]], tuple[str, ...], tuple[str, ...]]] = {
    "a wrong model": (api(no_such_model, "real-model"), ("--model", "dream"), ("no model 'dream'", "real-model")),
    "a wrong key": (needs_key, ("--api-key", "sk-wrong"), ("the server refuses this key (status 401", "--api-key")),
    "not streaming": (api(in_turn(whole("200 OK", completion("hello", 2)))), (), ("does not stream", "--no-stream")),
    "several models": (api(GIVEN, "first", "second"), (), ("several models", "first, second", "--model")),
    "a web page": (
        api(in_turn(whole("200 OK", b"<html><title>Welcome</title></html>"))),
        (),
        ("not what an OpenAI-compatible server", "HTML page", "Welcome"),
    ),
    "a redirect": (api(in_turn(whole("307 Moved", b"", "location: http://x/"))), (), ("redirects to http://x/",)),
    "no answer": (api(in_turn([Hang()])), ("--first-byte-timeout", "200ms"), ("did not answer in time",)),
    "no answer in the time of a probe": (
        api(in_turn([Hang()])),
        ("--probe-timeout", "500ms"),
        ("did not answer the probe in time",),
    ),
}
"""The sentence of each outcome: tests/unit/bench/test_probe_sentences.py."""


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


def test_a_ca_file_that_is_none_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = flags("https://127.0.0.1:1", tmp_path, "--ca-file", str(tmp_path / "calm.yaml"))
    assert cli.main(words) == Exit.USAGE
    assert "--ca-file" in capfd.readouterr().err


def test_a_silent_wait_is_named_on_what_is_no_terminal(tmp_path: Path) -> None:
    words = ("--probe-timeout", f"{PATIENCE_S}s")
    with LiteralServer(api(in_turn([Hang()]))) as server, process(flags(server.url, tmp_path, *words)) as running:
        assert running.stderr is not None
        named = f"waiting for {server.url}/v1/chat/completions to answer the probe ("
        while not (line := running.stderr.readline()).startswith(named):
            assert line
            assert not set(line) & {"\x1b", "\r"}
    assert re.fullmatch(r"\d+ s\)\n", line.removeprefix(named))


def test_few_open_files_cost_requests_and_not_the_run(mock: str, tmp_path: Path) -> None:
    # No reply ends before the last request has come.
    slow = ("--header", "X-Mock-TTFT: 2s")
    words = flags(mock, tmp_path, "--rate", "4000", "--requests", "400", "--workers", "1", *slow)
    status, out, err = finished(words, limits={resource.RLIMIT_NOFILE: 64})
    assert status in (Exit.GOOD, Exit.INVALID, Exit.TARGET), err
    assert "warning: the limit of open files here (64) has room for about 32 requests in flight" in err
    assert "Traceback" not in err
    assert {r["error"] for r in records(tmp_path)} == {None, "no socket for another connection: Too many open files"}
    assert len(records(tmp_path)) == 400
    assert summary(tmp_path)["counts"]["succeeded"] > 0
    assert "report: " in out


def test_too_few_open_files_for_any_run_are_said(mock: str, tmp_path: Path) -> None:
    status, _, err = finished(flags(mock, tmp_path), limits={resource.RLIMIT_NOFILE: 24})
    assert (status, err) == (
        Exit.USAGE,
        "error: a run needs at least 48 open files, and the limit here is 24: raise it (ulimit -Hn 1024)\n",
    )


@pytest.mark.parametrize(
    ("size", "told"), [(1024, "run.yaml cannot be written"), (8192, "the report cannot be written")]
)
def test_a_small_disk_is_no_defect(mock: str, tmp_path: Path, size: int, told: str) -> None:
    """A file size limit acts like a disk of that size."""
    words = flags(mock, tmp_path, "--requests", "60")
    status, _, err = finished(words, limits={resource.RLIMIT_FSIZE: size})
    assert status == Exit.USAGE
    assert told in err
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
@pytest.mark.parametrize("flag", ["--dataset", "--tokenizer", "--config"])
def test_a_file_that_cannot_be_read_is_no_defect(tmp_path: Path, capfd: pytest.CaptureFixture[str], flag: str) -> None:
    assert cli.main(["run", "--url", "http://127.0.0.1:1", flag, "/proc/self/mem"]) == Exit.USAGE
    assert "/proc/self/mem" in capfd.readouterr().err


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


def test_a_server_that_answers_for_a_model_that_it_does_not_list_is_measured_with_a_note(tmp_path: Path) -> None:
    with LiteralServer(api(GIVEN, "real-model")) as server:
        assert cli.main(flags(server.url, tmp_path, "--requests", "1", "--model", "dream", "--quiet")) == Exit.GOOD
    (note,) = [note for note in summary(tmp_path)["run"]["notes"] if "lists only" in note]
    assert note.startswith("the server answers for model 'dream', but lists only real-model: ")


@pytest.mark.parametrize(
    ("listed", "sent"),
    [
        (b'{"data":[{"id":{"a":1}},{"id":"m"},{"id":null}]}', "m"),
        (b'{"data":[{"id":%b}]}' % (b"[" * 1000 + b"]" * 1000), None),
        (b'{"data":7}', None),
        (b"null", None),
    ],
    ids=["a name among others", "a name nested deep", "no list", "nothing"],
)
def test_only_texts_are_names_of_models(listed: bytes, sent: str | None, tmp_path: Path) -> None:
    def answer(request: Received) -> Sequence[Step]:
        return whole("200 OK", listed) if request.method == "GET" else stream(*GOOD)

    with LiteralServer(answer) as server:
        assert cli.main(flags(server.url, tmp_path, "--requests", "1", "--quiet")) == Exit.GOOD
        asked = [json.loads(request.body) for request in server.received if request.method == "POST"]
    assert {body.get("model") for body in asked} == {sent}


# ---- Models that reason first --------------------------------------------------------------------------------------


def reasoning_first(hidden: int, *, ends: str = "length") -> tuple[Callable[[Received], Sequence[Step]], list[int]]:
    """A server whose first tokens are in no chunk, and the limits that it was asked for."""
    limits: list[int] = []

    def answer(request: Received) -> Sequence[Step]:
        limit = json.loads(request.body)["max_tokens"]
        limits.append(limit)
        seen = max(0, limit - hidden)
        generated = limit if ends == "length" else 1
        usage = {
            "prompt_tokens": 3,
            "completion_tokens": generated,
            "completion_tokens_details": {"reasoning_tokens": generated - seen},
        }
        return stream(
            ROLE, *[content("word ")] * seen, {"choices": [{"index": 0, "delta": {}, "finish_reason": ends}]},
            {"choices": [], "usage": usage}, DONE,
        )  # fmt: skip

    return api(answer), limits


def test_a_model_whose_first_tokens_are_hidden_reasoning_is_probed_again_with_more(tmp_path: Path) -> None:
    script, limits = reasoning_first(40)
    with LiteralServer(script) as server:
        words = ("--requests", "2", "--output-tokens", "48", "--quiet")
        assert cli.main(flags(server.url, tmp_path, *words)) in (Exit.GOOD, Exit.INVALID)
    assert limits == [4, 32, 256, 48, 48]
    assert summary(tmp_path)["counts"]["succeeded"] == 2
    (note,) = [note for note in summary(tmp_path)["run"]["notes"] if "no text" in note]
    assert note == "the first 4 tokens of a reply have no text: the probe asked for 256 tokens to see some"


def test_the_probe_asks_for_no_more_than_a_bound(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script, limits = reasoning_first(10_000)
    with LiteralServer(script) as server:
        assert cli.main(flags(server.url, tmp_path)) == Exit.TARGET
    assert limits == [4, 32, 256, 2048]
    assert "no chunk has text in 2,048 tokens" in capfd.readouterr().err


def test_a_reply_that_ended_by_itself_without_text_is_not_asked_for_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script, limits = reasoning_first(10_000, ends="stop")
    with LiteralServer(script) as server:
        assert cli.main(flags(server.url, tmp_path)) == Exit.TARGET
    assert limits == [4]
    assert "no chunk has text in 4 tokens" in capfd.readouterr().err
