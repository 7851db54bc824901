"""Adding shards to a run that workers left on their nodes because their driver died (`python -m bench report
--shards`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.errors import UsageError
from bench.run_files.growing_file import GrowingFile
from bench.run_files.run_directory import REQUESTS, RunDirectory, shard_names
from bench.run_files.shape import read_object, refuse_misfits
from bench.scale.cluster.shipping import on_driver_clock

CLOCKS = "clock-*.json"


def clock_name(worker: int) -> str:
    """The file with a worker's offset to the driver's clock, next to its shards."""
    return CLOCKS.replace("*", str(worker))


@dataclass(frozen=True, slots=True)
class ClockNote:
    """What a worker notes next to its shards: its number, the driver's clock minus its node's, and its run."""

    worker: int
    offset_ns: int
    run_id: str | None = None
    """None: an earlier version noted it, and the shards are taken for those of the run."""


def collect(directory: RunDirectory, folders: Sequence[Path], run_id: str, workers: int) -> int:
    """Replace the partial copies of shards with the complete shards in these folders. Returns the number of workers.

    Raises UsageError with every problem, before anything is written: no shards, shards of another run, missing or damaged
    files, or a run that already has all records.
    """
    clocks = [clock for folder in folders for clock in sorted(folder.glob(CLOCKS))]
    if not clocks:
        raise UsageError(f"--shards: {', '.join(map(str, folders))} has no shard of a worker (clock-*.json beside it)")
    alone = workers == 1
    if not alone and (directory.path / REQUESTS).stat().st_size:
        raise UsageError(f"--shards: {directory.path} has the records of all its workers in one file already")
    notes = [(clock.parent, _note(clock)) for clock in clocks]
    if problems := list(_problems(notes, run_id, workers)):
        raise UsageError([f"--shards: {problem}" for problem in problems])
    for folder, note in notes:
        for name in shard_names(None if alone else note.worker):
            shard, whole = GrowingFile(folder / name), bytearray()
            while piece := shard.next_piece():
                whole += on_driver_clock(piece, note.offset_ns)
            directory.write(name, bytes(whole))
    return len(clocks)


def _note(clock: Path) -> ClockNote:
    content = read_object(clock, "note of a worker's clock")
    refuse_misfits(content, ClockNote, f"{clock}:")
    return msgspec.convert(content, ClockNote)


def _problems(notes: Sequence[tuple[Path, ClockNote]], run_id: str, workers: int) -> Iterator[str]:
    places: dict[int, Path] = {}
    for folder, note in notes:
        if note.run_id not in (None, run_id):
            yield f"{folder} has shards of the run {note.run_id}, not of {run_id}: name its directory of this run"
        elif not 0 <= note.worker < workers:
            yield f"{folder} has a shard of worker {note.worker}, but the run has {workers} (from 0)"
        elif note.worker in places:
            yield f"{folder} and {places[note.worker]} both have a shard of worker {note.worker}: name one of them"
        else:
            places[note.worker] = folder
            for name in shard_names(None if workers == 1 else note.worker):
                if not (folder / name).is_file():
                    yield f"{folder / name} is missing: copy the whole directory of the node, or leave {folder} out"
