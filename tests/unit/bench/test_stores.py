"""Addresses of object stores on a command line, and what is copied to and from them. Uses a store in memory;
tests/sockets/test_object_stores.py has a real one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from bench.errors import Exit, UsageError
from bench.stores import transfer, words
from bench.stores.words import Placed, placed


class Store:
    """Buckets of keys; as in fsspec, paths have no scheme."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.buckets = {"b"}
        self.lost = 0
        """Bytes that a copy loses."""
        self.connected = False
        self.s3 = SimpleNamespace(meta=SimpleNamespace(endpoint_url=None))
        self._endpoint = "https://gcs.example"

    def connect(self) -> None:
        self.s3.meta.endpoint_url = "https://s3.example"

    def ls(self, bucket: str, refresh: bool = False) -> None:
        assert refresh
        if bucket not in self.buckets:
            raise FileNotFoundError(bucket)

    def isfile(self, path: str) -> bool:
        return path in self.files

    def find(self, path: str) -> list[str]:
        return [name for name in self.files if name.startswith(f"{path}/")]

    def exists(self, path: str) -> bool:
        return path in self.buckets or self.isfile(path) or bool(self.find(path))

    def info(self, path: str) -> dict[str, Any]:
        if path not in self.files:
            raise FileNotFoundError(path)
        return {"size": len(self.files[path])}

    def put_file(self, local: str, path: str) -> None:
        content = Path(local).read_bytes()
        self.files[path] = content[: len(content) - self.lost]

    def get_file(self, path: str, local: str) -> None:
        Path(local).write_bytes(self.files[path])


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()

    def url_to_fs(address: str, **how: bool) -> tuple[Store, str]:
        assert how == {"use_listings_cache": False, "skip_instance_cache": True}
        scheme, _, path = address.partition("://")
        if scheme == "az":
            raise ImportError("no adlfs")
        return store, path

    monkeypatch.setattr(fsspec.core, "url_to_fs", url_to_fs)
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "a.json").write_bytes(b"one")
    (tmp_path / "run" / "deep" / "b.json").write_bytes(b"three")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("s3://b/k", True), ("gs://b", True), ("az://b", True), ("s3:/b", False), ("http://b/k", False), ("s3", False)],
)
def test_an_address_has_the_scheme_of_a_store(text: str, is_one: bool) -> None:
    assert transfer.is_address(text) is is_one


@pytest.mark.parametrize(
    "address",
    [
        "s3://b/k",
        "s3://b",
        "s3://b@c/k:1",
        "s3://b/k:1@c",
        "s3://b/a.b/..c",
        "s3://b:9/k",
        "s3://arn:aws:s3:eu:1:a/b/k@1",
    ],
)
def test_an_address_loses_the_slash_at_its_end(address: str) -> None:
    assert transfer.checked(f"{address}/") == transfer.checked(address) == address


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("s3://", "s3:// names no bucket: write it as s3://BUCKET/KEY"),
        ("gs:///k", "gs:///k names no bucket: write it as gs://BUCKET/KEY"),
        ("s3://id:pw@b/k", "the address of an object store has no user and password: the environment gives them"),
        ("s3://id:p/w@b/k", "the address of an object store has no user and password: the environment gives them"),
        ("s3://:/p@w@b/k", "the address of an object store has no user and password: the environment gives them"),
        ("s3://b/a/../k", "s3://b/a/../k: a key has no . and no .. in it"),
        ("s3://b/./k", "s3://b/./k: a key has no . and no .. in it"),
    ],
)
def test_an_address_that_is_of_no_use_is_refused(address: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        transfer.checked(address)
    assert str(refused.value) == sentence


def test_a_directory_and_a_file_are_copied_whole(store: Store, folder: Path) -> None:
    assert transfer.put(folder, "s3://b/k/") == "copied 2 files to s3://b/k"
    assert transfer.put(folder / "a.json", "s3://b/one.json") == "copied 1 files to s3://b/one.json"
    assert store.files == {"b/k/a.json": b"one", "b/k/deep/b.json": b"three", "b/one.json": b"one"}
    store.lost = 1
    with pytest.raises(OSError, match=r"a.json has 3 bytes, and 2 of them arrived"):
        transfer.put(folder, "s3://b/k")


def test_what_is_fetched_replaces_what_is_there(store: Store, folder: Path, tmp_path: Path) -> None:
    store.files = {
        "b/k/a.json": b"new",
        "b/k/x/y/c.json": b"c",
        "b/k/x/y/d.json": b"d",
        "b/kk": b"another",
        "b/one.json": b"1234",
    }
    transfer.get("s3://b/k", folder)
    assert {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()} == {
        "a.json": b"new", "x/y/c.json": b"c", "x/y/d.json": b"d",
    }  # fmt: skip
    place = tmp_path / "new" / "one.json"
    transfer.get("s3://b/one.json", place, 4)
    assert place.read_bytes() == b"1234"
    transfer.get("s3://b/one.json", folder)  # A file instead of a directory.
    assert folder.read_bytes() == b"1234"
    with pytest.raises(UsageError, match="it has 4 bytes, and may have 3"):
        transfer.get("s3://b/one.json", place, 3)
    with pytest.raises(FileNotFoundError):
        transfer.get("s3://b/none", place)
    store.files["b/out/../../c"] = b""
    with pytest.raises(UsageError, match=r"s3://b/out: the key b/out/../../c leads out of its directory"):
        transfer.get("s3://b/out", tmp_path / "out")


def test_nothing_may_be_where_results_go(store: Store) -> None:
    store.files["b/k/a.json"] = b"one"
    transfer.check("s3://b/new")
    transfer.check("s3://b")
    with pytest.raises(UsageError, match="s3://b/k has results already: name another key"):
        transfer.check("s3://b/k")
    with pytest.raises(FileNotFoundError):
        transfer.check("s3://other/k")


@pytest.mark.usefixtures("store")
def test_a_store_says_where_its_requests_go() -> None:
    assert transfer.endpoint("s3://b/k") == "https://s3.example"
    assert [transfer.endpoint(f"{scheme}://b/k") for scheme in ("gs", "gcs")] == ["https://gcs.example"] * 2
    with pytest.raises(UsageError, match=r"abfs:// does not say where its requests go: use s3:// or gs://"):
        transfer.endpoint("abfs://b/k")
    with pytest.raises(UsageError, match="az:// needs a package that is not installed: pip install adlfs"):
        transfer.endpoint("az://b/k")


def test_the_program_prints_what_it_did_or_one_sentence(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*line: str) -> tuple[int, str, str]:
        status = transfer.main(line)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    assert said("put", str(folder), "s3://b/k") == (0, "copied 2 files to s3://b/k\n", "")
    assert said("get", "s3://b/k", str(tmp_path / "copy")) == (0, "", "")
    assert (tmp_path / "copy" / "deep" / "b.json").read_bytes() == b"three"
    assert said("get", "s3://b/k/a.json", str(tmp_path / "a"), "2") == (
        Exit.USAGE, "", "it has 3 bytes, and may have 2\n",
    )  # fmt: skip
    assert said("endpoint", "s3://b") == (0, "https://s3.example\n", "")
    assert said("check", "s3://b/new") == (0, "", "")
    assert said("check", "s3://b/k") == (Exit.USAGE, "", "s3://b/k has results already: name another key\n")
    assert said("get", "s3://b/no", "x") == (
        Exit.USAGE, "", "s3://b/no: there is no such bucket, or nothing at this key\n",
    )  # fmt: skip

    store.lost = 1
    status, out, err = said("put", str(folder / "a.json"), "s3://b/k")
    assert (status, out, err.partition(": ")[0]) == (Exit.USAGE, "", "s3://b/k")

    def raises(error: BaseException) -> None:
        def ls(bucket: str, refresh: bool = False) -> None:
            raise error

        monkeypatch.setattr(store, "ls", ls)

    for error, sentence in (
        (RuntimeError("no\n  route"), "s3://b/new: no route"),
        (RuntimeError(), "s3://b/new: RuntimeError"),
    ):
        raises(error)
        assert said("check", "s3://b/new") == (Exit.USAGE, "", f"{sentence}\n")
    raises(KeyboardInterrupt())
    assert said("check", "s3://b/new") == (Exit.INTERRUPTED, "", "s3://b/new: interrupted\n")


# ---- A command line ------------------------------------------------------------------------------------------------------


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """The copies made. Copies to s3://b/full and s3://b/stopped fail."""
    calls: list[tuple[str, ...]] = []

    def transferred(*line: str) -> str:
        calls.append(line)
        match line:
            case ("put", _, "s3://b/full"):
                raise UsageError("it is full")
            case ("put", _, "s3://b/stopped"):
                raise KeyboardInterrupt
        return f"copied to {line[-1]}"

    monkeypatch.setattr(words, "transferred", transferred)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache" / "trueload" / "stores" / "s3")


def test_what_is_read_is_copied_to_the_cache(copies: list[tuple[str, ...]], cache: str) -> None:
    line = Placed("report", ["--dataset=s3://b/data/", "s3://b/run", "--name", "s3:/x", "--x=y", "plain"])
    assert line.words == [f"--dataset={cache}/b/data", f"{cache}/b/run", "--name", "s3:/x", "--x=y", "plain"]
    read = [("get", "s3://b/data", f"{cache}/b/data"), ("get", "s3://b/run", f"{cache}/b/run")]
    assert copies == read
    assert line.finish(Exit.GOOD) == Exit.GOOD
    assert copies == read  # Nothing is copied back.


@pytest.mark.parametrize(
    ("command", "line", "back"),
    [
        ("run", ["--resume", "s3://b/k"], True),
        ("run", ["--resume=s3://b/k"], True),
        ("gate", ["--baseline", "s3://b/k", "--update"], True),
        ("gate", ["--baseline", "s3://b/k"], False),
        ("gate", ["--update", "s3://b/k"], False),
    ],
)
def test_what_a_command_adds_to_is_copied_back(
    command: str, line: list[str], back: bool, copies: list[tuple[str, ...]], cache: str
) -> None:
    placed_line = Placed(command, line)
    place = Path(cache) / "b" / "k"
    assert copies == [("get", "s3://b/k", str(place))]
    place.mkdir(parents=True)
    assert placed_line.finish(Exit.INVALID) == Exit.INVALID
    assert (copies[1:] == [("put", str(place), "s3://b/k")]) is back


def test_results_are_copied_though_what_was_to_be_added_to_is_not_there(copies: list[tuple[str, ...]]) -> None:
    line = Placed("run", ["--resume", "s3://b/k", "--out", "s3://b/new"])
    Path(line.words[3]).mkdir(parents=True)
    line.finish(Exit.GOOD)
    assert copies[2:] == [("put", line.words[3], "s3://b/new")]


def test_results_are_written_here_and_copied_at_the_end(
    copies: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    line = Placed("run", ["--out", "s3://b/nightly/one/"])
    (flag, place) = line.words
    assert (flag, Path(place).parent, Path(place).name.partition("-")[2]) == ("--out", Path("runs"), "one")
    assert copies == [("check", "s3://b/nightly/one")]
    assert line.finish(Exit.GOOD) == Exit.GOOD
    assert copies[1:] == []  # The command wrote nothing.
    Path(place).mkdir(parents=True)
    assert line.finish(Exit.OBJECTIVE_FAILED) == Exit.OBJECTIVE_FAILED
    assert copies[1:] == [("put", place, "s3://b/nightly/one")]
    assert capsys.readouterr().err == "copied to s3://b/nightly/one\n"


@pytest.mark.usefixtures("copies")
def test_a_file_is_written_to_no_store() -> None:
    with pytest.raises(UsageError, match="--out s3://b/k: gate writes a file: name a local one"):
        Placed("gate", ["--out", "s3://b/k"])


@pytest.mark.usefixtures("copies")
@pytest.mark.parametrize(("key", "why"), [("full", "it is full"), ("stopped", "interrupted")])
@pytest.mark.parametrize(
    ("status", "whole"),
    [(Exit.GOOD, Exit.USAGE), (Exit.INVALID, Exit.USAGE), (Exit.INTERRUPTED, Exit.INTERRUPTED)],
)
def test_what_could_not_be_copied_stays_and_the_command_for_it_is_said(
    key: str, why: str, status: Exit, whole: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Placed("run", ["--out", f"s3://b/{key}"])
    place = line.words[1]
    Path(place).mkdir(parents=True)
    assert line.finish(status) == whole
    again = shlex.join([sys.executable, "-m", "bench.stores.transfer", "put", place, f"s3://b/{key}"])
    assert capsys.readouterr().err == (
        f"error: the results could not be copied ({why}). Nothing is lost: they are in {place}. Copy them with: {again}\n"
    )


def test_results_are_copied_even_if_the_command_raises(copies: list[tuple[str, ...]]) -> None:
    def fails() -> None:
        with placed("run", ["--out", "s3://b/k"]) as line:
            Path(line.words[1]).mkdir(parents=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert [call[0] for call in copies] == ["check", "put"]
    with placed("run", ["plain"]) as line:
        assert line.words == ["plain"]


@pytest.mark.parametrize(
    ("status", "err", "said"),
    [
        (2, "a warning\nthe sentence\n", "the sentence"),
        (-9, "", "s3://b/k: the copying was ended (status -9)"),
    ],
)
def test_the_last_line_of_the_program_is_the_error(
    status: int, err: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(line: list[str], **how: Any) -> Any:
        assert line == [sys.executable, "-m", "bench.stores.transfer", "get", "s3://b/k", "x"]
        assert how == {"capture_output": True, "text": True, "check": False}
        return SimpleNamespace(returncode=status, stdout=" done\n", stderr=err)

    monkeypatch.setattr("bench.stores.words.subprocess.run", run)
    with pytest.raises(UsageError) as raised:
        words.transferred("get", "s3://b/k", "x")
    assert str(raised.value) == said
    status = 0
    assert words.transferred("get", "s3://b/k", "x") == "done"
