"""baseline.json, up to the gate that holds a run against it: held, failed, or a sentence."""

from __future__ import annotations

import contextlib
import io

from bench.commands import gate
from bench.errors import BenchError, Exit
from fuzz import scratch
from fuzz.run_files import whole_run
from fuzz.target import Target


def read(data: bytes) -> None:
    """One input."""
    for more in ([], ["--update"]):
        path = scratch.file("baseline.json", data)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                gate.main([str(whole_run()), "--baseline", str(path), *more])
        except BenchError as e:
            assert e.exit_code != Exit.DEFECT, e


WORDS = (
    b"runs",
    b"workload",
    b"workload_sha256",
    b"stats",
    b"machine",
    b"tool_version",
    b"p50",
    b"n",
    b"act",
    b"schema",
)
TARGET = Target(read, form="json", words=WORDS)
