"""The stored ceiling, and the loads beyond it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bench.ceiling import Ceiling, default_path, planned_load, read, warnings, write
from bench.config import RunConfig, resolve
from bench.errors import UsageError
from tests.support.changed import replace
from tests.support.made_records import made_record

HOST = {"name": "here", "cpu": "A Processor", "processors": 2, "system": "Linux 6"}
RESULT: dict[str, Any] = {
    "host": HOST,
    "version": "0.1.0",
    "date": "2026-11-24T10:00:00+00:00",
    "ceiling": {"chunks_per_s": 50_000.5, "requests_per_s": 4000, "streams": None},
}
CEILING = Ceiling(chunks_per_s=50_000.0, requests_per_s=4_000.0, streams=5_000.0, date="2026-11-24")


def load(**flags: Any) -> RunConfig:
    return resolve({"url": "http://127.0.0.1:1", **flags})


def test_a_result_is_read_as_it_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "limits.json"
    write(path, RESULT)
    assert read(path, HOST) == Ceiling(chunks_per_s=50_000.5, requests_per_s=4000.0, streams=None, date="2026-11-24")
    assert [p.name for p in path.parent.iterdir()] == ["limits.json"]


@pytest.mark.parametrize("other", [{"name": "there"}, {"cpu": "Another"}, {"processors": 4}])
def test_the_ceiling_of_another_machine_is_ignored(other: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "limits.json", RESULT)
    assert read(tmp_path / "limits.json", {**HOST, **other}) is None


def test_a_kernel_update_does_not_make_another_machine(tmp_path: Path) -> None:
    write(tmp_path / "limits.json", RESULT)
    assert read(tmp_path / "limits.json", {**HOST, "system": "Linux 7"}) is not None


def test_machines_share_a_file_and_the_latest_result_of_each_counts(tmp_path: Path) -> None:
    path, there = tmp_path / "limits.json", {**HOST, "name": "there"}
    write(path, RESULT)
    write(path, {**RESULT, "host": there, "ceiling": {**RESULT["ceiling"], "streams": 7}})
    write(path, {**RESULT, "ceiling": {**RESULT["ceiling"], "streams": 9}})
    found = [read(path, host) for host in (HOST, there)]
    assert [ceiling.streams for ceiling in found if ceiling is not None] == [9.0, 7.0]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"schema": 99, "machines": {}}', b'{"schema": 1, "machines": 3}',
     b'{"schema": 1, "machines": {"here | A Processor | 2": 5}}',
     b'{"schema": 1, "machines": {"here | A Processor | 2": {}}}'],
)  # fmt: skip
def test_a_file_that_is_not_ours_gives_no_ceiling_and_is_replaced(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    path.write_bytes(content)
    assert read(path, HOST) is None
    write(path, RESULT)
    assert read(path, HOST) is not None


def test_where_no_file_can_be_written_the_user_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--no-store"):
        write(tmp_path / "file" / "limits.json", RESULT)


def test_the_file_is_in_the_users_cache(tmp_path: Path) -> None:
    assert default_path({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "trueload" / "limits.json"
    assert default_path({"XDG_CACHE_HOME": ""}) == Path.home() / ".cache" / "trueload" / "limits.json"


def test_a_user_without_a_home_has_no_ceiling_and_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> NoReturn:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    path = default_path({})
    assert read(path, HOST) is None
    with pytest.raises(UsageError, match="cannot be written"):
        write(path, RESULT)


def test_two_processes_that_store_at_once_both_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, there, replace_with = tmp_path / "limits.json", {**HOST, "name": "there"}, Path.replace

    def late(draft: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace_with)
        with monkeypatch.context() as other:  # Another process writes its own file completely in between.
            other.setattr(os, "getpid", lambda: 1)
            write(path, {**RESULT, "host": there})
        return replace_with(draft, target)

    monkeypatch.setattr(Path, "replace", late)
    write(path, RESULT)
    assert read(path, HOST) is not None
    assert [p.name for p in tmp_path.iterdir()] == ["limits.json"]


# An answer with TTFT 100 ms and TPOT 20 ms.
PROBE = made_record(chunks_ms=(100.0, 120.0, 140.0))


@pytest.mark.parametrize(
    ("flags", "chunks", "requests", "streams"),
    [
        # R requests/s of n tokens, each in flight for 0.1 + (n - 1) 0.02 s.
        ({"rate": 10, "output_tokens": "101"}, 1010, 10, 21),
        ({"rate": 10, "output_tokens": "uniform:51..151"}, 1010, 10, 21),
        ({"rate": 10, "output_tokens": "101", "max_concurrency": 5}, 1010, 10, 5),
        ({"rate": 10, "output_tokens": "101", "stream": False}, None, 10, 21),
        # C users, each with a chunk every 20 ms and a request every 2.1 s.
        ({"concurrency": 21, "output_tokens": "101"}, 1050, 10, 21),
        ({"concurrency": 21, "output_tokens": "101", "requests": 5}, 250, 5 / 2.1, 5),
        ({"mode": "throughput", "requests": 42, "output_tokens": "101"}, 2100, 20, 42),
        ({"mode": "throughput", "requests": 42, "max_concurrency": 21, "output_tokens": "101"}, 1050, 10, 21),
    ],
)  # fmt: skip
def test_what_a_load_asks_of_the_client(
    flags: dict[str, Any], chunks: float | None, requests: float, streams: float
) -> None:
    found = planned_load(load(**flags), PROBE)
    assert found.chunks_per_s == (None if chunks is None else pytest.approx(chunks))
    assert found.requests_per_s == pytest.approx(requests)
    assert found.streams == pytest.approx(streams)


def test_what_cannot_be_told_beforehand_is_left_out(tmp_path: Path) -> None:
    data = tmp_path / "prompts.jsonl"
    data.write_text('{"prompt": "a", "output_tokens": 3}\n')
    of_rows = planned_load(load(rate=10, dataset=str(data)), PROBE)
    assert (of_rows.chunks_per_s, of_rows.requests_per_s, of_rows.streams) == (None, 10, None)
    without_probe = planned_load(load(concurrency=7), None)
    assert (without_probe.chunks_per_s, without_probe.requests_per_s, without_probe.streams) == (None, None, 7.0)


@pytest.mark.parametrize(
    ("flags", "workers", "units"),
    [
        ({"rate": 400, "output_tokens": "125"}, 1, []),
        ({"rate": 401, "output_tokens": "125"}, 1, ["chunks/s"]),
        ({"rate": 800, "output_tokens": "125"}, 2, []),
        ({"rate": 802, "output_tokens": "125"}, 2, ["chunks/s per worker"]),
        ({"rate": 4001, "output_tokens": "1"}, 1, ["requests/s"]),
        ({"rate": 5000, "output_tokens": "100"}, 1, ["chunks/s", "requests/s"]),
        ({"concurrency": 5000, "requests": 9000}, 1, []),
        ({"concurrency": 5001, "requests": 9000}, 1, ["streams at once"]),
        ({"concurrency": 9000, "requests": 9000}, 2, []),
    ],
)
def test_a_load_beyond_the_ceiling_is_told(flags: dict[str, Any], workers: int, units: list[str]) -> None:
    found = warnings(load(**flags), CEILING, workers=workers)
    assert len(found) == len(units)
    assert [unit in sentence for unit, sentence in zip(units, found, strict=True)] == [True] * len(units)


def test_the_probe_tells_how_many_chunks_users_make() -> None:
    fast = load(concurrency=1001, requests=9000, output_tokens="101")
    assert warnings(fast, CEILING) == []
    (sentence,) = warnings(fast, CEILING, probe=PROBE)
    assert "50,050 chunks/s, and this machine held 50,000" in sentence
    assert "2026-11-24" in sentence


def test_without_a_ceiling_nothing_is_said() -> None:
    assert warnings(load(rate=1e6), None) == []
    nothing_held = replace(CEILING, chunks_per_s=None, requests_per_s=None, streams=None)
    assert warnings(load(rate=1e6), nothing_held) == []
