"""The file of --replay (a ledger, records, distributions), profiles, sampled times and step costs: values, or sentences."""

from __future__ import annotations

from fuzz import scratch
from fuzz.target import Target
from mockserver import config
from mockserver.errors import UsageError
from mockserver.plans.replay import read_source
from mockserver.rng import stream


def read(data: bytes) -> None:
    """One input."""
    path = scratch.file("replay.json", data)
    try:
        source = read_source(path, "order")
        if source.recording is not None:
            for key in (0, 1, (2, 3), "x"):
                reply = source.recording.pick(key, stream(0, "fuzz", 0))
                assert reply.output_tokens >= 1
                reply.stretched(5, 1000)
    except UsageError as e:
        assert e.problems
    for flag in ("profile", "sampled_times", "step_cost"):
        try:
            config.load(None, {flag: str(path)})
        except UsageError as e:
            assert e.problems


WORDS = (
    b"write_ns",
    b"chunk_ns",
    b"chunk_tokens",
    b"chunk_kind",
    b"received_ns",
    b"sent_ns",
    b"status",
    b"fault",
    b"engine",
    b"outcome",
    b"phase",
    b"ttft",
    b"tpot",
    b"schema",
    b"step_cost",
    b"sampled_times",
    b"settings",
    b"kv_blocks",
    b"index",
)
TARGET = Target(read, form="json", words=WORDS)
