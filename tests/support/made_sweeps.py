"""Sweeps along a known saturation curve."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import bench.report
from bench.load_sweep.points import USABLE
from bench.load_sweep.sweep_file import SweepFacts, content_of
from bench.load_sweep.visits import Loads
from bench.results.base import to_plain
from bench.results.sweep import NUMBERS, RunStatus, SweepContent, SweepRun
from bench.results.sweep import SweepNumber as Number
from tests.support.results import filled

SCHEMA = json.loads((Path(bench.report.__file__).parent / "load_sweep.schema.json").read_text())


def made_run(load: float, repeat: int = 1, status: RunStatus = "VALID", **changed: Number) -> SweepRun:
    """A run on the saturation curve with a ceiling of 1,000 tokens/s and N1/2 = 20."""
    per_s = 1000 * load / (load + 20)
    tpot = 1000 * load / per_s
    numbers = {name: Number(1.0) for name in NUMBERS} | {
        "output_tokens_per_s": Number(per_s, per_s * 0.98, per_s * 1.02),
        "tpot:p50": Number(tpot, tpot * 0.99, tpot * 1.01),
        "goodput": Number(0.5),
        "error_rate": Number(0.0),
    }
    reasons = [] if status == "VALID" else ["the client was busy"]
    named = {re.sub("_p(?=[0-9])", ":p", name): number for name, number in changed.items()}
    return SweepRun(
        name=f"concurrency-{load:g}-{repeat}",
        load=load,
        repeat=repeat,
        status=status,
        reasons=reasons,
        numbers={**numbers, **named},
        kept_up=None,
        usable=status in USABLE,
    )


def content(runs: list[SweepRun], *, gpus: int | None = 2, ended: str | None = None, name: str = "a") -> dict[str, Any]:
    loads = Loads("concurrency", tuple(sorted({run.load for run in runs})) or (1.0,), 1)
    facts = SweepFacts(date="2026-11-25", version="0.1", host={"name": "h"}, command=("python",), model="m", loads=loads,
                       config={"url": "http://h", "name": name}, gpus=gpus)  # fmt: skip
    return to_plain(content_of(facts, runs, "sha", ended=ended))


def typed(content: dict[str, Any]) -> SweepContent:
    return filled(SweepContent, content)


LADDER = [made_run(load) for load in (1, 2, 4, 8, 16, 32, 64, 128, 256)]
