"""What a machine keeps of earlier calibrations and limits: a file that is damaged is as if it were not there."""

from __future__ import annotations

import math
from dataclasses import fields

from bench import ceiling
from bench.accuracy import coverage
from bench.accuracy.load_shape import LoadKind
from bench.machine import machine_cache
from fuzz import scratch
from fuzz.target import Target

HOST = {"name": "h", "cpu": "c", "processors": 2}


def read(data: bytes) -> None:
    """One input: the content of the file."""
    path = scratch.file("machine.json", data)
    found = ceiling.read(path, HOST)
    if found is not None:
        assert all(value is None or not math.isnan(value) for value in (found.chunks_per_s, found.streams))
    certificates = coverage.in_entry(machine_cache.read_entry(path, HOST))
    for one in certificates:
        one.to_json()
        kind = LoadKind(**{field.name: getattr(one.shape, field.name) for field in fields(LoadKind)})
        assert one in coverage.for_run(certificates, kind, one.version)
        coverage.closest(certificates, one.shape, one.version)
    machine_cache.write_entry(path, HOST, {"certificates": []})
    assert machine_cache.read_entry(path, HOST) == {"certificates": []}


TARGET = Target(read, form="json", words=(b"machines", b"h | c | 2", b"ceiling", b"certificates", b"schema"))
