"""The workers' files merged: by time, complete lines only, nothing lost, and repeatable."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.evaluate import evaluate
from bench.records import to_line
from bench.run_files import shards
from bench.run_files.run_directory import RunDirectory, shard_names
from tests.support.full_disk import full_disk
from tests.support.made_records import made_record

END_NS = re.compile(rb'"end_ns":(-?[0-9]+)')


def shard(directory: RunDirectory, worker: int, lines: list[bytes], samples: list[bytes] | None = None) -> Path:
    """A worker's files."""
    requests, taken = shard_names(worker)
    (directory.path / requests).write_bytes(b"".join(lines))
    if samples is not None:
        (directory.path / taken).write_bytes(b"".join(samples))
    return directory.path / requests


def line(index: int, end_ms: int, worker: int = 0, **fields: Any) -> bytes:
    record = made_record(index, sent_ms=0, chunks_ms=(end_ms,), worker=worker, **fields)
    return to_line(record)


def sample(second: int, worker: int) -> bytes:
    return orjson.dumps({"t_ns": second * 10**9, "worker": worker}) + b"\n"


def merged_indices(directory: RunDirectory) -> list[int]:
    return [orjson.loads(text)["index"] for text in (directory.path / "requests.jsonl").read_bytes().splitlines()]


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run")


def test_lines_of_all_workers_are_merged_in_order_of_time(directory: RunDirectory) -> None:
    first = shard(directory, 0, [line(0, 10), line(2, 30), line(4, 50)], [sample(1, 0), sample(2, 0)])
    second = shard(directory, 1, [line(1, 20, 1), line(3, 40, 1)], [sample(1, 1), sample(2, 1)])
    shards.merge(directory)
    assert merged_indices(directory) == [0, 1, 2, 3, 4]
    assert [(row["t_ns"] // 10**9, row["worker"]) for row in directory.samples()] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert not first.exists()
    assert not second.exists()
    assert sorted(path.name for path in directory.path.iterdir()) == ["requests.jsonl", "samples.jsonl"]


def test_times_before_the_clock_s_zero_are_in_order_and_a_line_without_one_keeps_its_place() -> None:
    """Another machine's clock may have begun later."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, "a"), Path(folder, "b")]
        paths[0].write_bytes(b'{"end_ns":-5}\n{}\n{"end_ns":0}\n{"end_ns":9}\n')
        paths[1].write_bytes(b'{}\n{"end_ns":-7}\n{"end_ns":-3}\n{"end_ns":1}\n')
        found = [text.decode().strip().removeprefix('{"end_ns":').strip("{}") for text in shards.merged(paths, END_NS)]
    assert found == ["", "-7", "-5", "", "-3", "0", "1", "9"]


def test_samples_are_merged_where_no_worker_has_a_file_of_requests(directory: RunDirectory) -> None:
    for worker in (1, 0):
        (directory.path / f"samples-{worker}.jsonl").write_bytes(sample(2 - worker, worker))
    shards.merge(directory)
    assert (directory.path / "samples.jsonl").read_bytes() == sample(1, 1) + sample(2, 0)


def test_only_one_of_several_workers_has_files_of_its_own() -> None:
    assert shard_names(None) == ("requests.jsonl", "samples.jsonl")
    assert shard_names(0) == ("requests-0.jsonl", "samples-0.jsonl")


def test_the_torn_last_line_of_a_killed_worker_is_passed_over(directory: RunDirectory) -> None:
    shard(directory, 0, [line(0, 10), line(2, 30)])
    shard(directory, 1, [line(1, 20, 1), line(3, 40, 1)[:-30]])
    shards.merge(directory)
    assert merged_indices(directory) == [0, 1, 2]
    assert [record.index for record in directory.records()] == [0, 1, 2]


def test_a_worker_that_wrote_nothing_changes_nothing(directory: RunDirectory) -> None:
    shard(directory, 0, [])
    shard(directory, 1, [line(1, 20, 1)])
    shards.merge(directory)
    assert merged_indices(directory) == [1]


def test_more_than_ten_workers_are_read_by_number(directory: RunDirectory) -> None:
    for worker in range(12):
        shard(directory, worker, [line(worker, 10, worker)])
    assert [path.name for path in directory.shards("requests.jsonl")] == [f"requests-{k}.jsonl" for k in range(12)]
    # Records with equal times are in the order of the workers.
    shards.merge(directory)
    assert merged_indices(directory) == list(range(12))


def test_a_file_that_somebody_put_there_is_no_shard(directory: RunDirectory) -> None:
    mine = directory.path / "requests-before-the-upgrade.jsonl"
    mine.write_text("mine\n")
    shard(directory, 0, [line(0, 10)])
    shards.merge(directory)
    assert [record.index for record in directory.records()] == [0]
    assert mine.read_text() == "mine\n"


def test_the_time_of_a_line_is_not_taken_from_an_error_text(directory: RunDirectory) -> None:
    shard(directory, 0, [line(0, 30, error='"end_ns":1 said the server, "end_ns":9')])
    shard(directory, 1, [line(1, 20, 1)])
    shards.merge(directory)
    assert merged_indices(directory) == [1, 0]


def test_a_kill_between_merging_and_removing_counts_nothing_twice(directory: RunDirectory) -> None:
    lines, samples = [line(i, 10 * i) for i in range(4)], [sample(1, 0)]
    path = shard(directory, 0, lines, samples)
    shards.merge(directory)
    shard(directory, 0, lines, samples)
    assert [record.index for record in directory.records()] == [0, 1, 2, 3]
    assert len(list(directory.samples())) == 1
    assert path.exists()


def test_shards_that_a_killed_merge_left_beside_the_whole_file_are_cleared_and_others_stay(
    directory: RunDirectory,
) -> None:
    mine = directory.path / "requests-mine.jsonl"
    mine.write_text("mine\n")
    kept = shard(directory, 0, [line(0, 10)], [sample(1, 0)])
    directory.clear_drafts()
    assert kept.exists()  # The merge is incomplete, so this file is the record.
    shards.merge(directory)
    old = shard(directory, 0, [line(0, 10)], [sample(1, 0)])
    with directory.held():
        directory.clear_drafts()
        assert old.exists()
    directory.clear_drafts()
    names = sorted(path.name for path in directory.path.iterdir())
    assert names == ["live.jsonl", "requests-mine.jsonl", "requests.jsonl", "samples.jsonl"]
    assert [record.index for record in directory.records()] == [0]


def test_a_lone_worker_has_nothing_to_merge(directory: RunDirectory) -> None:
    (directory.path / "requests.jsonl").write_bytes(line(0, 10))
    shards.merge(directory)
    assert merged_indices(directory) == [0]


def test_a_full_disk_leaves_the_shards_and_they_are_read_as_they_are(directory: RunDirectory) -> None:
    lines = [line(i, 10 * i, i % 2) for i in range(60)]
    paths = [shard(directory, 0, lines[::2], [sample(1, 0)]), shard(directory, 1, lines[1::2], [sample(1, 1)])]
    written = [path.read_bytes() for path in paths]
    with full_disk(len(b"".join(lines)) - 1):
        shards.merge(directory)
    assert [path.read_bytes() for path in paths] == written
    assert not list(directory.path.glob(".*"))
    assert (directory.path / "samples.jsonl").read_bytes() == sample(1, 0) + sample(1, 1), "they fit"
    assert sorted(record.index for record in directory.records()) == list(range(60))
    assert len(list(directory.samples())) == 2
    # When there is space again, the same records are merged.
    shards.merge(directory)
    assert merged_indices(directory) == list(range(60))


ENDS = st.lists(st.integers(0, 50), max_size=12)


@given(workers=st.lists(ENDS, min_size=1, max_size=4), torn=st.integers(0, 3), data=st.data())
def test_merging_loses_nothing_and_changes_no_record(workers: list[list[int]], torn: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory.create(Path(folder) / "run")
        written = []
        for worker, ends in enumerate(workers):
            # Records are written when there is time, so a line may be slightly earlier than the one before it.
            lines = [line(worker + i * len(workers), end, worker) for i, end in enumerate(ends)]
            if lines and torn == worker:
                cut = data.draw(st.integers(1, len(lines[-1])))
                lines[-1] = lines[-1][: len(lines[-1]) - cut]
                written += lines[:-1]
            else:
                written += lines
            shard(directory, worker, lines)
        before = list(directory.records())
        shards.merge(directory)
        merged = (directory.path / "requests.jsonl").read_bytes().splitlines(keepends=True)
        assert sorted(merged) == sorted(written)
        assert sorted(directory.records(), key=lambda r: r.index) == sorted(before, key=lambda r: r.index)
        # In order, except for lines that were out of order in their own file.
        if all(ends == sorted(ends) for ends in workers):
            times = [int(found[1]) for found in map(END_NS.search, merged) if found is not None]
            assert times == sorted(times)
        # The lines of a worker stay in the order of its file.
        for worker in range(len(workers)):
            mine = [text for text in merged if orjson.loads(text).get("worker", 0) == worker]
            assert mine == [text for text in written if orjson.loads(text).get("worker", 0) == worker]


def test_drafts_of_a_killed_process_are_cleared_by_a_report_and_those_of_a_running_one_are_not(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run")
    draft = directory.path / ".requests.jsonl.new"
    draft.write_bytes(line(0, 5))
    with directory.held():
        directory.clear_drafts()
        assert draft.exists()
    with pytest.raises(OSError, match=r"run\.yaml"):
        evaluate(directory)
    assert not draft.exists()


def test_a_whole_file_that_the_disk_does_not_take_leaves_the_old_one_and_no_draft(directory: RunDirectory) -> None:
    directory.write("summary.json", b"old")
    with full_disk(10), pytest.raises(OSError, match="File too large"):
        directory.write("summary.json", b"x" * 100)
    assert (directory.path / "summary.json").read_bytes() == b"old"
    assert list(directory.path.glob(".*")) == []
