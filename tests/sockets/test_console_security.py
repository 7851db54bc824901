"""Access control: each guard of the console is tested with a request that only it refuses."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from bench import cli
from bench.console import data_files
from bench.console.address import door, keep
from bench.console.app import create_app
from bench.console.security import CSRF_FIELD, Keys
from bench.console.service import Console
from bench.errors import Exit
from tests.support.made_tasks import made_run

TOKEN = "a-token-of-the-test"
BASE = "http://127.0.0.1:8600"
KEY = "sk-very-secret-key-1234"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    console = Console(tmp_path / "runs")
    yield console
    console.close()


@pytest.fixture
def keys() -> Keys:
    return Keys(TOKEN)


@pytest.fixture
def anonymous(console: Console, keys: Keys) -> TestClient:
    return TestClient(create_app(console, keys, port=8600), base_url=BASE)


@pytest.fixture
def user(anonymous: TestClient) -> TestClient:
    """A browser that has opened the printed URL."""
    assert anonymous.get("/", params={"token": TOKEN}).status_code == 200
    return anonymous


def by_token(client: TestClient) -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}"}


def test_nothing_is_shown_without_the_token(anonymous: TestClient) -> None:
    # unit/bench/console/test_guard_of_requests.py tests sign-in, host names, and the headers of every response.
    for path in ("/", "/new", "/targets", "/data", "/api", "/openapi.json", "/api/tasks", "/tasks/x"):
        assert anonymous.get(path).status_code == 401, path


@pytest.mark.parametrize(
    "body",
    [
        rb'{"settings": {"url": "http://127.0.0.1:1"}, "title": "\ud83d"}',
        b"[" * 100_000,
        b'{"settings": {"requests": ' + b"9" * 5_000 + b"}}",
        b"{",
        b"\xff\xfe",
    ],
)
def test_a_body_that_cannot_be_stored_is_refused(body: bytes, anonymous: TestClient, console: Console) -> None:
    headers = {**by_token(anonymous), "content-type": "application/json"}
    reply = anonymous.post("/api/tasks", content=body, headers=headers)
    assert (reply.status_code, "is not JSON" in reply.json()["error"]) == (422, True)
    assert console.tasks() == []


@pytest.mark.parametrize("most", ["-1", "10001", "99999999999999999999"])
def test_more_history_than_there_can_be_is_refused(most: str, anonymous: TestClient) -> None:
    assert anonymous.get("/api/history", params={"most": most}, headers=by_token(anonymous)).status_code == 422


CHANGES = [
    ("POST", "/api/tasks"), ("POST", "/api/mock/start"), ("POST", "/api/targets"), ("POST", "/api/files?name=a.txt"),
    ("DELETE", "/api/tasks/a"), ("PATCH", "/api/tasks/a"), ("POST", "/api/tasks/a/stop"), ("POST", "/new"),
    ("POST", "/tasks/a/remove"), ("POST", "/targets"), ("POST", "/data"), ("POST", "/mock/start"),
]  # fmt: skip


def test_a_change_with_the_cookie_needs_the_csrf_token(user: TestClient, console: Console) -> None:
    made_run(console.runs, "a")
    for method, path in CHANGES:
        assert user.request(method, path).status_code == 403, path
    assert (console.runs / "a").is_dir()
    assert console.mock.url is None


def test_the_csrf_token_of_a_page_lets_a_form_and_a_script_change(
    user: TestClient, keys: Keys, console: Console
) -> None:
    made_run(console.runs, "a")
    given = re.search(r'name="csrf" content="(\w+)"', user.get("/").text)
    assert given is not None
    assert given[1] == keys.csrf
    form = {CSRF_FIELD: keys.csrf, "title": "Nightly"}
    assert user.post("/tasks/a/mark", data=form, follow_redirects=False).status_code == 303
    assert user.patch("/api/tasks/a", json={"label": "x"}, headers={"x-csrf-token": keys.csrf}).status_code == 200
    body: dict[str, Any] = {"csrf": (None, keys.csrf), "file": ("p.txt", b"hello\n")}
    assert user.post("/data", files=body, follow_redirects=False).status_code == 303
    assert console.task("a").marks.title == "Nightly"
    assert [file.name for file in console.files.listed()] == ["p.txt"]


@pytest.mark.parametrize("path", ["/static/console.css", "/static/report/words.js"])
def test_a_browser_keeps_a_static_file_until_its_content_changes(path: str, user: TestClient) -> None:
    reply = user.get(path)
    again = user.get(path, headers={"if-none-match": reply.headers["etag"]})
    assert (reply.status_code, again.status_code, again.content) == (200, 304, b"")
    for name in ("etag", "cache-control", "content-security-policy", "x-content-type-options"):
        assert again.headers[name] == reply.headers[name], name
    assert reply.headers["cache-control"] == "no-cache"
    # A file of the same size and date, as a different version's installation may write it.
    dated = {"if-none-match": '"another"', "if-modified-since": reply.headers["last-modified"]}
    assert user.get(path, headers=dated).content == reply.content
    assert user.get("/").headers["cache-control"] == "no-store"


def test_no_page_has_a_script_of_its_own(user: TestClient, console: Console) -> None:
    made_run(console.runs, "a")
    for path in ("/", "/new", "/new?template=rate", "/targets", "/data", "/api", "/tasks/a", "/compare?task=a&task=a"):
        text = user.get(path).text
        assert re.findall(r'<script(?! src=| type="application/json")', text) == []
        assert re.findall(r"\s(?:style|on\w+)=", text) == []
        assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_a_report_is_put_in_a_sandbox(user: TestClient, console: Console) -> None:
    made_run(console.runs, "a")
    policy = user.get("/api/tasks/a/report").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts ")
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy
    assert "default-src 'none'" in policy


def test_no_path_leads_out_of_the_runs_folder(user: TestClient, console: Console, tmp_path: Path) -> None:
    (made_run(tmp_path, "etc") / "summary.json").write_text('{"mine": 1}')
    (console.runs / "link").symlink_to(tmp_path / "etc")
    for path in ("%2e%2e", "..%2f..%2fetc", "%2fetc", ".console", "..%5c", "a%00", "link"):
        for what in ("", "/summary", "/report", "/requests", "/zip", "/live"):
            assert user.get(f"/api/tasks/{path}{what}").status_code == 404, (path, what)
        assert user.get(f"/static/{path}/../../service.py").status_code == 404, path
        assert user.get(f"/api/files/{path}").status_code == 404, path


def test_what_servers_and_users_say_is_escaped(user: TestClient, console: Console) -> None:
    path = made_run(console.runs, "a", state="running")
    (path / "console.log").write_text("error: <script>alert(1)</script>\n")
    user.patch("/api/tasks/a", json={"title": "<script>x</script>"}, headers={"x-csrf-token": ""} | by_token(user))
    for page in ("/", "/tasks/a"):
        assert "<script>x" not in user.get(page).text
        assert "<script>alert" not in user.get(page).text


def test_an_upload_is_unpacked_within_limits(
    anonymous: TestClient, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setattr(data_files, "MOST_BYTES", 10)
    reply = anonymous.post("/api/files?name=a.txt", content=b"x" * 11, headers=by_token(anonymous))
    assert (reply.status_code, console.files.listed()) == (413, [])


def test_wrong_bodies_are_refused_without_quoting_them(anonymous: TestClient) -> None:
    reply = anonymous.post("/api/tasks", json={"api_key": [KEY], "nonsense": 1}, headers=by_token(anonymous))
    assert reply.status_code == 422
    assert KEY not in reply.text
    assert {row["field"] for row in reply.json()["problems"]} == {"api_key", "nonsense"}


def files_with(text: str, folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_typed_key_is_in_no_file_page_log_or_process_list(console: Console, keys: Keys, tmp_path: Path) -> None:
    app = create_app(console, keys, port=8600)
    header = "X-Tenant: tenant-secret-9876"
    commands: list[str] = []
    with TestClient(app, base_url=BASE) as client:
        # A server that stays silent until the command has been checked, and then hangs up. The task ends with that
        # error.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            new = {"settings": {"url": url, "requests": 1}, "api_key": KEY, "headers": header}
            task = client.post("/api/tasks", json=new, headers=by_token(client)).json()["id"]
            while not any("--config -" in command for command in commands):
                commands.append(subprocess.run(["ps", "axww", "-o", "command"], capture_output=True, text=True).stdout)
        while not console.task(task).over:
            time.sleep(0.05)
        told = client.get(f"/tasks/{task}", headers=by_token(client)).text
        console.runner.look()
        assert console.task(task).state == "could not start"
    assert url in told
    for secret in (KEY, "tenant-secret-9876"):
        assert files_with(secret, tmp_path) == []
        assert secret not in told
        assert [command for command in commands if secret in command] == []
    assert task not in console.runner.secrets


def test_secrets_that_are_gone_are_asked_for(console: Console) -> None:
    task = console.create({"url": "http://127.0.0.1:9"}, secrets={"api_key": KEY}, start=False)
    assert task.needs == ()
    console.runner.secrets.clear()  # As after a restart of the console.
    assert console.task(task.id).needs == ("api_key",)


def test_the_address_file_is_its_users_alone(tmp_path: Path) -> None:
    (tmp_path / ".console").mkdir()
    keep(tmp_path, f"{BASE}/?token={TOKEN}")
    opened = door(tmp_path, f"{BASE}/?token={TOKEN}")
    assert TOKEN not in opened
    for name in ("address", "open.html"):
        assert (tmp_path / ".console" / name).stat().st_mode & 0o077 == 0


def test_another_host_needs_a_token_and_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRUELOAD_TOKEN", raising=False)
    # The port is taken, so that a console without these guards ends, too.
    with socket.create_server(("0.0.0.0", 0)) as taken:
        words = ["console", "--no-browser", "--runs", str(tmp_path), "--port", str(taken.getsockname()[1])]
        assert cli.main([*words, "--host", "0.0.0.0"]) == Exit.USAGE
        assert "choose the token" in capsys.readouterr().err
        assert cli.main([*words, "--token", "short"]) == Exit.USAGE
        assert "--token needs at least 12 characters (given: 5)" in capsys.readouterr().err
        monkeypatch.setenv("TRUELOAD_TOKEN", "choose-one")
        assert cli.main([*words, "--host", "0.0.0.0"]) == Exit.USAGE
        assert "the token in TRUELOAD_TOKEN needs at least 12 characters (given: 10)" in capsys.readouterr().err
        monkeypatch.setenv("TRUELOAD_TOKEN", TOKEN)
        assert cli.main([*words, "--host", "0.0.0.0"]) == Exit.USAGE
        assert "warning: 0.0.0.0 can be reached from other machines" in capsys.readouterr().err
        assert cli.main(words) == Exit.USAGE
        assert "warning" not in capsys.readouterr().err


def test_yaml_cannot_make_objects(user: TestClient, keys: Keys) -> None:
    form = {CSRF_FIELD: keys.csrf, "action": "paste", "yaml": "!!python/object/apply:os.system ['true']"}
    reply = user.post("/new", data=form)
    assert reply.status_code == 422
    assert "not YAML" in reply.text
    assert yaml.safe_load("a: 1") == {"a": 1}
