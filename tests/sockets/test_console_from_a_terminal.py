"""Tasks of a console from a terminal: created, described, changed, reported, with keys that no command line shows."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from bench import cli
from bench.commands.console import _listen
from bench.console import upload_client
from bench.console.app import create_app
from bench.console.data_rows import AS_IT_IS
from bench.console.people import Proxy, proxy_of
from bench.console.security import Keys
from bench.console.service import Console
from bench.console.serving import Tls, configured
from bench.errors import Exit
from tests.support.console_process import TOKEN
from tests.support.literal_server import CERTIFICATE
from tests.support.made_runs import made_run

LATER = ["--start-at", "2999-01-01T00:00"]


@contextmanager
def serving(runs: Path, tls: Tls | None = None, proxy: Proxy | None = None) -> Iterator[tuple[Console, str]]:
    """A console in a thread, and its port."""
    console = Console(runs)
    listening = _listen("127.0.0.1", 0)
    app = create_app(console, Keys(TOKEN), tls=tls is not None, proxy=proxy)
    server = uvicorn.Server(configured(app, tls))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield console, str(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Console, list[str]]]:
    """A console, and the flags that select it."""
    with serving(tmp_path_factory.mktemp("console") / "runs") as (console, port):
        url = f"http://127.0.0.1:{port}"
        httpx.get(url)  # Waits in the backlog until the console serves.
        yield console, ["--url", url, "--token", TOKEN]


def tasks(served: tuple[Console, list[str]], *words: str) -> Exit | int:
    return cli.main(["tasks", *words, *served[1]])


def test_a_task_is_created_from_words_and_a_file_described_and_cloned(
    served: tuple[Console, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "load.yaml").write_text("rate: 5\nduration: 60s\n")
    words = ["url=http://127.0.0.1:9", "rate=7", "slo=ttft:p99<1s", "slo=error_rate<1%", "output-tokens=8"]
    monkeypatch.setenv("MY_KEY", "sk-secret")
    more = ["--config", str(tmp_path / "load.yaml"), "--title", "first", "--api-key-env", "MY_KEY"]
    assert tasks(served, "create", *words, *more, *LATER) == Exit.GOOD
    name, _, state = capsys.readouterr().out.strip().partition(": ")
    task = served[0].task(name)
    assert (state, task.needs, task.marks.title) == ("queued", (), "first")
    assert task.settings == {
        "url": "http://127.0.0.1:9", "rate": "7", "duration": "60s", "slo": ["ttft:p99<1s", "error_rate<1%"],
        "output_tokens": "8",
    }  # fmt: skip
    assert tasks(served, "edit", name, "--label", "nightly", "--note", "a note", "--baseline", "yes") == Exit.GOOD
    assert tasks(served, "edit", name, "--baseline", "no") == Exit.GOOD
    assert (served[0].task(name).marks.label, served[0].task(name).marks.baseline) == ("nightly", False)
    capsys.readouterr()
    assert tasks(served, "describe", name) == Exit.GOOD
    told = capsys.readouterr().out
    for line in ("title     first", "state     queued", "load      7 requests/s, 60 s", "  slo=error_rate<1%"):
        assert line in told.splitlines()
    assert "sk-secret" not in told
    assert tasks(served, "describe", name, "--format", "json") == Exit.GOOD
    assert f'"id": "{name}"' in capsys.readouterr().out
    served[0].runner.secrets.clear()
    assert tasks(served, "clone", name, "rate=9", "slo=") == Exit.GOOD
    said = capsys.readouterr().out
    copy = served[0].task(said.partition(":")[0])
    assert (copy.settings["rate"], "slo" in copy.settings, copy.state) == ("9", False, "not started")
    assert "it needs its API key again" in said
    assert tasks(served, "create", "--target", "nowhere", "rate=1") == Exit.USAGE
    assert "there is no target 'nowhere'" in capsys.readouterr().err


def test_a_report_is_printed_and_saved_by_the_ending_of_its_file(
    served: tuple[Console, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_run(served[0].runs / "good")
    (served[0].runs / "good" / "report.html").write_text("<!doctype html>")
    assert tasks(served, "report", "good") == Exit.GOOD
    assert capsys.readouterr().out.startswith("# ")
    begins = {".html": b"<!doctype html>", ".json": b"{", ".zip": b"PK", ".md": b"# ", ".jsonl": b""}
    for ending, content in begins.items():
        assert tasks(served, "report", "good", "--out", str(tmp_path / f"r{ending}")) == Exit.GOOD
        assert (tmp_path / f"r{ending}").read_bytes().startswith(content)
    assert tasks(served, "report", "good", "--out", str(tmp_path / "no" / "r.html")) == Exit.USAGE
    assert tasks(served, "report", "missing") == Exit.USAGE
    assert "there is no task 'missing'" in capsys.readouterr().err


def test_a_file_is_sent_listed_and_removed_and_goes_on_where_an_earlier_command_ended(
    served: tuple[Console, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upload_client, "PART", 1_000)
    files, uploads, content = served[0].files, served[0].uploads, b'{"prompt": "one"}\n' * 500
    (tmp_path / "rows.jsonl").write_bytes(content)
    half = uploads.begin("rows.jsonl", len(content), AS_IT_IS)
    (served[0].runs / ".console" / "uploads" / half.id / "data").write_bytes(content[:2_500])
    assert tasks(served, "data") == Exit.GOOD
    assert capsys.readouterr().out == f"{half.id}  rows.jsonl, 2,500 of 9,000 bytes have arrived\n"
    parts: list[str] = []
    request = httpx.AsyncClient.request

    async def lossy(client: httpx.AsyncClient, method: str, url: str, **given: object) -> httpx.Response:
        """A client whose third part is lost before it is sent, and whose fifth answer is lost after the part has
        arrived."""
        parts.extend(given["headers"].values() if "content" in given else ())  # type: ignore[attr-defined]
        if len(parts) == 3 and method == "PUT":
            raise httpx.WriteError("the connection is lost")
        reply = await request(client, method, url, **given)  # type: ignore[arg-type]
        if len(parts) == 5 and method == "PUT":
            raise httpx.ReadError("the connection is lost")
        return reply

    monkeypatch.setattr(httpx.AsyncClient, "request", lossy)
    monkeypatch.setattr(upload_client, "AGAIN_NS", 0)
    assert tasks(served, "upload", str(tmp_path / "rows.jsonl")) == Exit.GOOD
    assert capsys.readouterr().out == "rows.jsonl\n"
    assert [part.partition("-")[0] for part in parts] == [
        f"bytes {at}" for at in (2500, 3500, 4500, 4500, 5500, 5500, 6500, 7500, 8500)
    ]
    assert (files.path("rows.jsonl").read_bytes(), uploads.listed()) == (content, [])
    (tmp_path / "body.txt").write_bytes(b"eyJwcm9tcHQiOiAieCJ9\n")
    assert tasks(served, "upload", str(tmp_path / "body.txt"), "--whole", "--base64") == Exit.GOOD
    assert files.preview("body.jsonl") == ['{"prompt":"x"}']
    for name in ("body.jsonl", "rows.jsonl"):
        assert tasks(served, "rm-data", name) == Exit.GOOD
    half = uploads.begin("rows.jsonl", 10, AS_IT_IS)
    assert tasks(served, "rm-data", half.id) == Exit.GOOD
    assert (files.listed(), uploads.listed()) == ([], [])
    capsys.readouterr()
    for words, sentence in (
        (["upload", str(tmp_path / "missing.jsonl")], "missing.jsonl cannot be read: No such file"),
        (["upload", str(Path(__file__))], "a data file ends with"),
        (["rm-data", "rows.jsonl"], "there is no uploaded file 'rows.jsonl'"),
        (["fetch", "file:///etc/passwd"], "give an http:// or https:// URL"),
    ):
        assert tasks(served, *words) == Exit.USAGE
        assert sentence in capsys.readouterr().err


def test_a_console_with_tls_is_reached_by_those_who_trust_its_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path, Tls(str(CERTIFICATE))) as (_, port):
        url = f"https://localhost:{port}"
        trusted = ssl.create_default_context(cafile=CERTIFICATE)
        reply = httpx.get(url, params={"token": TOKEN}, verify=trusted)
        assert (reply.status_code, "; Secure" in reply.headers["set-cookie"]) == (200, True)
        words = ["tasks", "ls", "--url", url, "--token", TOKEN]
        assert cli.main([*words, "--ca-file", str(CERTIFICATE)]) == Exit.GOOD
        assert cli.main(words) == Exit.USAGE
        assert "certificate" in capsys.readouterr().err
        assert cli.main([*words, "--ca-file", str(tmp_path / "no.pem")]) == Exit.USAGE
        assert "--ca-file" in capsys.readouterr().err


def test_the_server_leaves_the_address_of_a_proxy_on_this_machine_as_it_is(tmp_path: Path) -> None:
    # By default uvicorn trusts X-Forwarded-For from any program on this machine.
    headers = {"authorization": f"Bearer {TOKEN}", "x-forwarded-for": "203.0.113.7", "x-forwarded-user": "alice"}
    new = {"settings": {"url": "http://127.0.0.1:9"}, "start": False}
    with serving(tmp_path, proxy=proxy_of("127.0.0.1", "X-Forwarded-User")) as (_, port):
        made = httpx.post(f"http://127.0.0.1:{port}/api/tasks", json=new, headers=headers)
        assert made.json()["by"] == "alice"


def test_files_that_are_no_certificate_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    words = ["console", "--runs", str(tmp_path / "runs"), "--no-browser"]
    for more, sentence in (
        (["--tls-cert", str(tmp_path / "no.pem")], "name PEM files of a certificate and its key"),
        (["--tls-cert", str(tmp_path / "missing.pem")], "No such file or directory"),
        (["--tls-key", str(CERTIFICATE)], "--tls-key needs --tls-cert"),
    ):
        assert cli.main([*words, *more]) == Exit.USAGE
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["describe"], "describe needs a task: tasks ls lists them"),
        (["ls", "a"], "ls takes no task"),
        (["stop", "a", "b"], "stop takes one task, and no b"),
        (["upload"], "upload needs a file"),
        (["upload", "a.jsonl", "b"], "upload takes one file, and no b"),
        (["data", "a"], "data takes no file"),
        (["clone", "a", "--base64"], "--base64 is for upload, fetch"),
        (["edit", "a"], "edit needs what to change: --title, --label, --note or --baseline"),
        (["stop", "a", "--title", "x"], "--title is for create, edit"),
        (["ls", "--keep"], "--keep is for create"),
        (["report", "a", "--out", "r.pdf"], "--out r.pdf: end its name with .html"),
        (["create", "rate"], "'rate': write a setting as NAME=VALUE, such as rate=5"),
        (["create", "rate=5", "--api-key-env", "NO_SUCH"], "there is no environment variable NO_SUCH"),
    ],
)
def test_what_does_not_go_together_is_said(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tasks", *words, "--url", "http://127.0.0.1:1", "--token", TOKEN]) == Exit.USAGE
    assert sentence in capsys.readouterr().err
