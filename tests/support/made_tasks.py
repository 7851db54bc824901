"""Run directories made by hand, in every state that a console may find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import yaml

from bench.cli import main
from bench.config import resolve
from bench.results.base import to_plain
from bench.results.summary import RunSummary
from bench.results.tune import TuneLoad, TuneTurn
from bench.tuning.spec import spec_of
from bench.tuning.tune_file import content_of, write
from tests.support.results import filled

CONFIG = {"url": "http://127.0.0.1:9", "endpoint": "chat", "mode": "concurrency", "concurrency": 4, "requests": 100}
MANIFEST = {
    "run_id": "run-1",
    "started": "2026-11-25T15:00:00+00:00",
    "command": ["python", "-m", "bench", "run"],
    "model": "m",
    "exact_lengths": False,
    "start_ns": 7,
    "ended": "2026-11-25T15:01:00+00:00",
}


def made_run(
    runs: Path, name: str, *, state: str = "ended", ttft: float = 50.0, held: bool | None = None,
    shown: str | None = None, **manifest: Any,
) -> Path:  # fmt: skip
    """A run directory in this state. `shown`: what the objective's interval shows; by default the same as its value."""
    path = runs / name
    path.mkdir(parents=True)
    stored = {"config": CONFIG, "manifest": {**MANIFEST, "state": state, "stop_reason": "requests", **manifest}}
    (path / "run.yaml").write_text(yaml.safe_dump(stored))
    (path / "requests.jsonl").touch()
    said = ("held" if held else "failed") if shown is None else shown
    if state == "ended":
        summary = {
            "verdict": {"status": "VALID", "reasons": []},
            "slo": {"held": held, "objectives": [] if held is None else [{"held": held, "shown": said}]},
            "counts": {"sent": 100, "succeeded": 99, "failed": 1, "failed_unsent": 0},
            "latency": {
                "ttft_ms": {"n": 99, "p50": ttft, "p99": ttft * 2, "independent": 24.5, "ci95": {"p50": [1.0, 500.0]}},
                "tpot_ms": {"p50": 5.0},
                "e2el_ms": {"p99": 500.0},
            },
            "throughput": {"requests_per_s": 12.5, "output_tokens_per_s": 800.0},
        }
        (path / "summary.json").write_bytes(orjson.dumps(to_plain(filled(RunSummary, summary))))
        (path / "report.html").write_text(
            "<!doctype html><title>r</title><script>document.title='run'</script><h1>r</h1>"
        )
        client = {"loop_lag_ms": 0.1, "cpu": 0.1, "run_queue_share": 0.0}
        lines = [
            {"second": {"output_tokens": n, "succeeded": 1}, "client": client, "left_s": None, "share_done": 1.0,
             "sent": 100, "done": 100, "in_flight": 0, "failed": 1}
            for n in (10, 20, 40, 1)
        ]  # fmt: skip
        (path / "live.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return path


def made_tune(runs: Path, name: str, *, ended: str | None = "decided") -> Path:
    """The directory of a race of two arms over three rounds; the second arm is better."""
    race = spec_of(
        {"server": {"command": "serve --port {port} {flags}"}, "flags": {"max-num-seqs": [64, 256]},
         "loads": "concurrency=4,16", "visit": "10s", "budget": "600s"},
        lambda settings: resolve(dict(settings)),
    )  # fmt: skip
    turns = [
        TuneTurn(
            arm=arm, round=turn, value=speed + turn, seconds=20.0, start_s=2.0, why=None, last_words=(), worse_answers=(),
            loads=[
                TuneLoad(name=f"r{turn}-a{arm}-{users}", load=users, status="VALID", held=True,
                         tokens_per_s=speed * users / 16, latency=10.0 * users)
                for users in (4, 16)
            ],
        )
        for turn in (1, 2, 3)
        for arm, speed in enumerate((100.0, 130.0))
    ]  # fmt: skip
    path = runs / name
    path.mkdir(parents=True)
    write(path, content_of(race, turns, ["python", "-m", "bench", "tune", "flags.yaml"], ended))
    return path


def made_plan(search: Path, name: str) -> Path:
    """The directory of a plan that the command makes from this search."""
    rates, path = search / "day.csv", search.with_name(name)
    rates.write_text("00:00,8\n08:00,50\n14:00,70\n20:00,30\n")
    main(["plan", "--search", str(search), "--rates", str(rates), "--out", str(path)])
    return path
