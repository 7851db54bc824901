"""Data sets by name, read by the hubs' own packages from stand-ins for both hubs: servers on 127.0.0.1 with one data
set.

They answer as the packages of the two hubs expect. The real hubs were not contacted.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Thread
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from bench.console import hubs
from bench.console.app import create_app
from bench.console.data_files import DataFiles
from bench.console.data_rows import Rows
from bench.console.errors import ConsoleError, TooLarge
from bench.console.hub_loads import CANCELLED, FAILED, KEPT, LOADING, HubLoad, HubLoads
from bench.console.hubs import HUBS
from bench.console.security import Keys
from bench.console.service import Console
from tests.support.console_process import TOKEN
from tests.support.joined_server import JoinedServer
from tests.support.ready_made import have_imported

ROWS = {
    "data/train.jsonl": b'{"prompt": "train"}\n',
    "data/test.jsonl": b'{"prompt": "test"}\n',
    "README.md": b"# A data set",
}
LARGE = 1_000_000
Answer = Callable[[str, dict[str, list[str]]], tuple[object, bytes | None]]


def hugging_face(path: str, query: dict[str, list[str]]) -> tuple[object, bytes | None]:
    """The answers of a stand-in for Hugging Face's hub."""
    if path.startswith("/api/datasets/lab/rows"):
        siblings = [{"rfilename": name, "size": len(content)} for name, content in ROWS.items()]
        return {"_id": "1", "id": "lab/rows", "sha": "a" * 40, "siblings": siblings}, None
    name = path.partition("/resolve/main/")[2]
    return None, ROWS.get(name) if path.startswith("/datasets/lab/rows/") else None


def modelscope(path: str, query: dict[str, list[str]]) -> tuple[object, bytes | None]:
    """The answers of a stand-in for ModelScope."""
    if path == "/api/v1/datasets/lab/rows/repo/tree":
        files = [{"Path": name, "Size": len(content), "Type": "blob"} for name, content in ROWS.items()]
        return {"Code": 200, "Data": {"Files": files}, "Success": True}, None
    if path == "/api/v1/datasets/lab/rows/repo":
        return None, ROWS.get(query["FilePath"][0])
    return None, None


class _StandIn(BaseHTTPRequestHandler):
    answer: Answer
    sent: list[str]
    held: Event
    """While it is not set, a large file is sent without its last 10 bytes."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.sent.append(self.headers.get("authorization") or "")
        document, content = type(self).answer(parts.path, parse_qs(parts.query))
        content = json.dumps(document).encode() if document is not None else content
        self.send_response(404 if content is None else 200)
        self.send_header("content-type", "application/json" if document is not None else "application/octet-stream")
        self.send_header("content-length", str(len(content or b"")))
        self.send_header("etag", f'"{len(content or b"")}"')
        self.send_header("x-repo-commit", "a" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write((content or b"")[:-10])
            if len(content or b"") > LARGE:
                self.held.wait()
            self.wfile.write((content or b"")[-10:])

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def held() -> Iterator[Event]:
    """An event that makes the stand-ins send the ends of large files."""
    event = Event()
    yield event
    event.set()


@pytest.fixture(params=["huggingface", "modelscope"])
def hub(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, held: Event
) -> Iterator[tuple[str, list[str]]]:
    """The name of a hub whose endpoint is a stand-in, and the credentials sent to it."""
    pytest.importorskip(HUBS[request.param].package)
    have_imported({"huggingface": "huggingface_hub.hf_api", "modelscope": "modelscope_hub.api"}[request.param])
    sent: list[str] = []
    answer = staticmethod({"huggingface": hugging_face, "modelscope": modelscope}[request.param])
    handler = type("StandIn", (_StandIn,), {"answer": answer, "sent": sent, "held": held})
    with JoinedServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        variable = {"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_ENDPOINT"}[request.param]
        monkeypatch.setenv(variable, f"http://127.0.0.1:{server.server_port}")
        for token in ("HF_TOKEN", "MODELSCOPE_API_TOKEN"):
            monkeypatch.setenv(token, "a-secret-of-the-owner")
        yield request.param, sent
        held.set()  # For the client of a cancelled load.
        server.shutdown()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def _kept(files: DataFiles, folder: Path, *asked: Any) -> list[str]:
    """The names of the files loaded from a hub, when it has finished."""
    loads = HubLoads(folder, files)
    return list(loads.loaded(loads.begin(*asked).id))


def _until(loads: HubLoads, name: str, when: Callable[[HubLoad], bool]) -> HubLoad:
    while not when(load := loads.load(name, wait_s=0.05)):
        pass
    return load


def test_a_file_of_a_data_set_is_kept_under_its_name(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    files = DataFiles(tmp_path / "files")
    assert _kept(files, tmp_path, hub[0], "lab/rows", None) == ["lab-rows-test.jsonl"]
    assert _kept(files, tmp_path, hub[0], "lab/rows", "data/train.jsonl", Rows()) == ["lab-rows-train.jsonl"]
    assert files.preview("lab-rows-test.jsonl") == ['{"prompt": "test"}']
    assert files.preview("lab-rows-train.jsonl") == ['{"prompt": "train"}']
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files"]
    assert [words for words in hub[1] if "secret" in words] == []
    with pytest.raises(ConsoleError, match=r"lab/rows has no file x\.csv: choose data/test\.jsonl, data/train\.jsonl"):
        _kept(files, tmp_path, hub[0], "lab/rows", "x.csv")
    with pytest.raises(ConsoleError, match=f"lab/missing cannot be loaded from {HUBS[hub[0]].title}: "):
        _kept(files, tmp_path, hub[0], "lab/missing", None)


def test_a_load_says_how_far_it_is(
    hub: tuple[str, list[str]], held: Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = b'{"prompt": "a long one"}\n' * 1_000_000
    monkeypatch.setitem(ROWS, "data/test.jsonl", rows)
    files = DataFiles(tmp_path / "files")
    loads = HubLoads(tmp_path, files)
    begun = loads.begin(hub[0], "lab/rows", None)
    half = _until(loads, begun.id, lambda load: load.received_bytes > 0 and load.elapsed_s > begun.elapsed_s)
    assert (half.state, half.file, half.size_bytes) == (LOADING, "data/test.jsonl", len(rows))
    assert half.received_bytes < len(rows)
    held.set()
    assert loads.loaded(begun.id) == ("lab-rows-test.jsonl",)
    end = loads.load(begun.id)
    assert (end.state, end.received_bytes, end.problem) == (KEPT, len(rows), None)
    assert files.path("lab-rows-test.jsonl").read_bytes() == rows
    loads.remove(begun.id)
    assert loads.listed() == []


def test_a_cancelled_load_leaves_nothing(
    hub: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROWS, "data/test.jsonl", b'{"prompt": "a long one"}\n' * 1_000_000)
    console = Console(tmp_path)
    user = TestClient(create_app(console, Keys(TOKEN)), base_url="http://127.0.0.1")
    user.headers["authorization"] = f"Bearer {TOKEN}"
    load = user.post("/api/hub-loads", json={"name": "lab/rows", "hub": hub[0]}).json()["id"]
    _until(console.hub_loads, load, lambda load: load.received_bytes > 0)
    page = user.get("/data").text
    assert "lab/rows" in page
    assert "<progress max=" in page
    assert user.delete(f"/api/hub-loads/{load}").status_code == 204
    assert user.get(f"/api/hub-loads/{load}").json()["state"] == CANCELLED
    with pytest.raises(ConsoleError, match="lab/rows was cancelled"):
        console.hub_loads.loaded(load)
    folder = tmp_path / ".console"
    while any(path.name.startswith(".aside-") for path in folder.iterdir()):
        time.sleep(0.01)
    assert user.get("/api/files").json() == []
    assert user.delete(f"/api/hub-loads/{load}").status_code == 204
    assert user.get(f"/api/hub-loads/{load}").status_code == 404


def test_a_download_that_fails_says_why(
    hub: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "choose", lambda name, sizes, file: "data/test.jsonl")
    monkeypatch.delitem(ROWS, "data/test.jsonl")
    sizes = dataclasses.replace(HUBS[hub[0]], sizes=lambda *_: {"data/test.jsonl": 5})
    monkeypatch.setitem(HUBS, hub[0], sizes)
    loads = HubLoads(tmp_path, DataFiles(tmp_path / "files"))
    begun = loads.begin(hub[0], "lab/rows", None)
    with pytest.raises(ConsoleError, match=f"lab/rows cannot be loaded from {HUBS[hub[0]].title}: "):
        loads.loaded(begun.id)
    assert loads.load(begun.id).state == FAILED


def test_what_is_too_large_is_not_loaded(
    hub: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "MOST_UPLOADED", 10)
    with pytest.raises(TooLarge, match=r"data/test\.jsonl of lab/rows has more than"):
        _kept(DataFiles(tmp_path / "files"), tmp_path, hub[0], "lab/rows", None)


def test_a_defect_ends_a_load_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Otherwise the caller would wait forever."""
    pytest.importorskip(HUBS["huggingface"].package)

    def look_up(*asked: object) -> NoReturn:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("bench.console.hub_loads.look_up", look_up)
    with pytest.raises(ConsoleError, match="lab/rows cannot be loaded from Hugging Face: a defect"):
        _kept(DataFiles(tmp_path / "files"), tmp_path, "huggingface", "lab/rows", None)


def test_a_hub_that_cannot_be_asked_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = TestClient(create_app(Console(tmp_path), Keys(TOKEN)), base_url="http://127.0.0.1")
    user.headers["authorization"] = f"Bearer {TOKEN}"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    def said(**asked: str) -> str:
        reply = user.post("/api/files/by-name", json=asked)
        assert reply.status_code == 400
        return str(reply.json()["error"])

    assert said(name="openai/gsm8k") == (
        "openai/gsm8k cannot be loaded from Hugging Face: 127.0.0.1 cannot be reached ([Errno 111] Connection refused). "
        "Upload a file instead"
    )
    assert "write owner/name" in said(name="gsm8k")
    assert said(name="a/b", hub="mine") == "there is no hub 'mine': choose huggingface or modelscope"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for key, hub in HUBS.items():
        missing = f"data sets of {hub.title} need a package that is not installed: pip install {key}-hub"
        assert missing in said(name="a/b", hub=key)
    page = user.post("/data", files={"name": (None, "a/b"), "hub": (None, "modelscope"), "split": (None, "line")})
    assert "pip install modelscope-hub" in page.text


@pytest.mark.parametrize(
    ("paths", "file", "chosen"),
    [
        (["a.csv", "README.md"], None, "a.csv"),
        (["x/train-1.parquet", "x/validation.parquet"], None, "x/validation.parquet"),
        (["a.csv", "b.csv"], "b.csv", "b.csv"),
    ],
)
def test_the_file_is_the_only_one_or_of_a_split(paths: list[str], file: str | None, chosen: str) -> None:
    assert hubs.choose("lab/rows", dict.fromkeys(paths, 1), file) == chosen


def test_a_file_that_is_not_clear_is_asked_for() -> None:
    with pytest.raises(ConsoleError, match=r"which file of lab/rows\? Choose a\.csv, b\.csv"):
        hubs.choose("lab/rows", {"b.csv": 1, "a.csv": 1}, None)
    with pytest.raises(ConsoleError, match="lab/rows has no file of requests"):
        hubs.choose("lab/rows", {"README.md": 1}, None)
