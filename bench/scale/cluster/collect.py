"""Adding shards to a run that workers left on their nodes because their driver died (`python -m bench report
--shards`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from bench.errors import UsageError
from bench.run_files.growing_file import GrowingFile
from bench.run_files.run_directory import REQUESTS, RunDirectory, shard_names
from bench.scale.cluster.shipping import on_driver_clock

CLOCKS = "clock-*.json"


def clock_name(worker: int) -> str:
    """The file with a worker's offset to the driver's clock, next to its shards."""
    return CLOCKS.replace("*", str(worker))


def collect(directory: RunDirectory, folders: Sequence[Path], *, alone: bool) -> int:
    """Replace the partial copies of shards with the complete shards in these folders. Returns the number of workers.

    Raises UsageError if the folders have no shards, or the run already has all records.
    """
    clocks = [clock for folder in folders for clock in sorted(folder.glob(CLOCKS))]
    if not clocks:
        raise UsageError(f"--shards: {', '.join(map(str, folders))} has no shard of a worker (clock-*.json beside it)")
    if not alone and (directory.path / REQUESTS).stat().st_size:
        raise UsageError(f"--shards: {directory.path} has the records of all its workers in one file already")
    for clock in clocks:
        offset = orjson.loads(clock.read_bytes())
        for name in shard_names(None if alone else offset["worker"]):
            shard, whole = GrowingFile(clock.parent / name), bytearray()
            while piece := shard.next_piece():
                whole += on_driver_clock(piece, offset["offset_ns"])
            directory.write(name, bytes(whole))
    return len(clocks)
