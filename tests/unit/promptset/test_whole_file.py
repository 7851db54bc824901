"""Endless files, and pipes without a writer, are refused wherever a file of settings or rows is named."""

from __future__ import annotations

import codecs
import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config import read_yaml
from bench.release_gate import baseline
from bench.scale.cluster.environment import environment_of
from bench.traffic import classes
from mockserver.config import load
from mockserver.plans.replay import read_source
from mockserver.step_cost import parse_step_cost
from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.loaders.containers import open_container
from promptset.tools import load_tools
from promptset.whole_file import MOST_OF_A_STREAM, UnreadableFile, read_bytes, read_text

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no such files")


def test_a_plain_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes("ä\r\nb\rc\n".encode())
    assert read_bytes(path) == path.read_bytes()
    assert read_text(path) == path.read_text(encoding="utf-8")


def test_a_pipe_of_the_shell_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"requests: 3\n")
    os.close(writer)
    try:
        assert read_yaml(Path(f"/dev/fd/{reader}")) == {"requests": 3}
    finally:
        os.close(reader)


def test_a_stream_without_an_end_is_refused_at_its_limit() -> None:
    with pytest.raises(UnreadableFile, match=f"no end within {MOST_OF_A_STREAM >> 20} MiB: save it to a file"):
        read_bytes(Path("/dev/zero"))


READERS: dict[str, Callable[[Path], Any]] = {
    "--config": read_yaml,
    "--mix": classes.read,
    "--baseline": baseline.read,
    "--runtime-env": lambda path: environment_of(str(path), ()),
    "--from": open_container,
    "--tools": load_tools,
    "empirical": lambda path: parse(f"empirical:{path}", "tokens"),
    "mock --config": lambda path: load(path, {}),
    "mock --replay": lambda path: read_source(path, "order"),
    "mock --profile": lambda path: load(None, {"profile": str(path)}),
    "mock --step-cost": lambda path: parse_step_cost(str(path)),
}


@pytest.mark.parametrize("kind", ["zeros", "pipe"])
@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_a_file_without_an_end(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.json" if name == "mock --step-cost" else "a.yaml")
    if kind == "zeros":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    with pytest.raises(ValueError, match="save it to a file"):
        raised_as_a_sentence(READERS[name], path)


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
@pytest.mark.parametrize("name", [name for name in READERS if name not in ("--baseline", "--tools", "empirical")])
def test_a_file_in_utf16_is_refused_with_what_to_do(name: str, mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / ("a.json" if name == "mock --step-cost" else "a.yaml")
    path.write_bytes(mark + "{}".encode("utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"))
    with pytest.raises(ValueError, match="it is UTF-16: save it as UTF-8"):
        raised_as_a_sentence(READERS[name], path)


@pytest.mark.parametrize("packed", [gzip.compress(b"{}"), bytes.fromhex("28b52ffd2400010000")], ids=["gzip", "zstd"])
def test_a_compressed_data_set_is_refused_with_what_to_do(packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(packed)
    with pytest.raises(SpecError, match=r"it is compressed with (gzip|zstd): unpack it"):
        open_container(path)


def test_a_byte_order_mark_is_no_text_and_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(codecs.BOM_UTF8 + b"06:00,5\r\n")
    assert read_text(path) == "06:00,5\n"
    path.write_bytes("a\ncaf\xe9\n".encode("latin-1"))
    with pytest.raises(UnreadableFile, match="line 2 is not UTF-8: save the file as UTF-8"):
        read_text(path)


def raised_as_a_sentence(read: Callable[[Path], Any], path: Path) -> None:
    """Raise the error as a ValueError, whatever its class."""
    try:
        read(path)
    except Exception as e:
        raise ValueError(str(e)) from e
