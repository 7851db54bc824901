"""Prints what loads from a Ray cluster of three nodes on this machine achieve: a row each, with its target."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import yaml

from bench.run_files.run_directory import RunDirectory
from tests.support.cluster_runs import dispersion, programs, whole_lines
from tests.support.mock_process import MockProcess, mock_process
from tests.support.ray_nodes import RayNodes, ray_nodes
from tests.support.run_process import process, records, summary, wait_for
from tests.support.worker_processes import gone, shard_lines

STARTS = 5
"""Runs of each kind whose start is measured."""
WITHIN_S = 300.0
ON_CLUSTER = ("--cluster", "ray")


class Reach:
    """The runs, each in its own folder."""

    def __init__(self, folder: Path, cluster: RayNodes, mock: MockProcess, seconds: float) -> None:
        self.folder, self.cluster, self.mock, self.seconds = folder, cluster, mock, seconds

    def words(self, name: str, *more: str, command: str = "run") -> list[str]:
        small = ("--input-tokens", "16", "--output-tokens", "16")
        return [command, "--url", self.mock.url, "--out", str(self.folder / name), "--quiet", *small, *more]

    def run(self, name: str, *more: str, command: str = "run") -> int:
        """Its exit status."""
        with process(self.words(name, *more, command=command), env=self.cluster.environment) as running:
            _, err = running.communicate(timeout=WITHIN_S)
        if running.returncode not in (0, 3):
            raise SystemExit(f"{name} ended with {running.returncode}: {err}")
        return running.returncode

    def manifest(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = yaml.safe_load((self.folder / name / "run.yaml").read_text())["manifest"]
        return told

    def begun(self, name: str, workers: int) -> None:
        """Wait until each worker has shipped records."""
        wait_for(
            lambda: len(shard_lines(self.folder, name)) == workers and min(shard_lines(self.folder, name)) >= 20,
            within_s=WITHIN_S,
        )


def row(what: str, asked: str, got: str) -> None:
    print(f"{what:<62}{asked:<25}{got}", flush=True)


def start(reach: Reach) -> None:
    """Time from the start of the command to the first request."""

    def took(name: str, *more: str) -> float:
        began_ns = time.monotonic_ns()
        reach.run(name, "--concurrency", "4", "--requests", "40", "--workers", "2", *more)
        first_ns: int = min(record["sent_ns"] for record in records(reach.folder, name))
        return (first_ns - began_ns) / 1e9

    took("warm-up", *ON_CLUSTER)
    there = [took(f"start-{k}", *ON_CLUSTER) for k in range(STARTS)]
    here = [took(f"start-here-{k}") for k in range(STARTS)]
    beyond = statistics.median(there) - statistics.median(here)
    row(
        "start beyond that of a local run, 2 workers",
        "<= 3 s",
        f"{beyond:.2f} s (medians of {STARTS}: {statistics.median(there):.2f}, {statistics.median(here):.2f} s)",
    )


def arrivals(reach: Reach) -> None:
    """Poisson arrivals of 8 workers as planned, sent and received; and how late they were sent."""
    load = ("--rate", "200", "--duration", f"{reach.seconds:g}s", "--seed", "5", "--workers", "8")
    reach.run("arrivals", *load, *ON_CLUSTER)
    reach.run("arrivals-here", *load)
    rows = records(reach.folder, "arrivals")
    nodes = len({place["node"] for place in reach.manifest("arrivals")["places"]})
    ids = {one["id"] for one in rows}
    received = [line["received_ns"] for line in reach.mock.ledger_lines(at_least=len(rows)) if line["id"] in ids]
    found = []
    for times in ([one["intended_ns"] for one in rows], [one["sent_ns"] for one in rows], received):
        found.append(dispersion([at - min(times) for at in times], 10_000_000))
    row(
        f"dispersion of {len(rows):,} arrivals of 8 workers on {nodes} nodes",
        "0.9 to 1.1",
        f"{found[0]:.3f} planned, {found[1]:.3f} sent, {found[2]:.3f} received",
    )
    there, here = (
        summary(reach.folder, name)["instrument"]["send_lateness_ms"] for name in ("arrivals", "arrivals-here")
    )
    row(
        "send lateness p99 of 8 workers, beside 8 local ones",
        "the same",
        f"{there['p99']:.3f} ms, local {here['p99']:.3f} ms (p50 {there['p50']:.3f}, {here['p50']:.3f})",
    )


def against_the_ledger(reach: Reach) -> None:
    """4 local processes and 4 cluster workers, each against the mock's ledger."""
    load = ("--concurrency", "32", "--duration", f"{reach.seconds:g}s", "--workers", "4", "--no-store")
    for name, what, more in (("here", "4 processes", ()), ("there", "4 workers of the cluster", ON_CLUSTER)):
        status = reach.run(name, *load, *more, command="calibrate")
        told = summary(reach.folder, name)["calibration"]
        worst = {
            stat: max(abs(one["error"]) for one in told["metrics"] if one["stat"] == stat and one["unit"] == "ms")
            for stat in ("p50", "p99")
        }
        row(
            f"{what} against the mock's ledger",
            "verdict of calibrate",
            f"exit {status}, {summary(reach.folder, name)['verdict']['status']}; largest error of a latency "
            f"p50 {worst['p50']:.3f} ms, p99 {worst['p99']:.3f} ms; {len(told['problems'])} disagreements",
        )


def lost_node(reach: Reach) -> None:
    """kill -9 of a node's raylet in mid-run."""
    raylet = reach.cluster.add()
    words = reach.words("lost", "--duration", "60s", "--concurrency", "16", "--workers-per-node", "1", *ON_CLUSTER)
    with process(words, env=reach.cluster.environment) as running:
        reach.begun("lost", 4)
        shipped = [
            json.loads(line)["id"]
            for path in (reach.folder / "lost").glob("requests-*.jsonl")
            for line in whole_lines(path.read_bytes())
        ]
        os.kill(raylet, signal.SIGKILL)
        running.communicate(timeout=WITHIN_S)
    here = {one["id"] for one in records(reach.folder, "lost")}
    verdict, died = summary(reach.folder, "lost")["verdict"], reach.manifest("lost")["died"]
    named = any(died[0] in reason for reason in verdict["reasons"])
    row(
        "kill -9 of a node's raylet",
        "INVALID, exit 3, named",
        f"{verdict['status']}, exit {running.returncode}, {'' if named else 'not '}named: {died[0]}",
    )
    row("  records that had been shipped, and are in the run", "all", f"{len(here & {*shipped}):,} of {len(shipped):,}")


def lost_driver(reach: Reach) -> None:
    """kill -9 of the driver in mid-run."""
    words = reach.words("driver", "--duration", "300s", "--concurrency", "16", "--workers", "3", *ON_CLUSTER)
    with process(words, env=reach.cluster.environment) as running:
        reach.begun("driver", 3)
        told = reach.manifest("driver")
        sending = programs(told["run_id"])
        began = time.monotonic()
        running.kill()
        running.communicate()
        wait_for(lambda: all(map(gone, sending)), within_s=60)
        took = time.monotonic() - began
    row("kill -9 of the driver: its workers end", "<= 10 s", f"{len(sending)} of 3 within {took:.1f} s")
    there = {
        json.loads(line)["id"]
        for path in Path(told["places"][0]["directory"]).glob("requests-*.jsonl")
        for line in whole_lines(path.read_bytes())
    }
    with process(
        ["report", str(reach.folder / "driver"), "--shards", told["places"][0]["directory"], "--quiet"]
    ) as running:
        running.communicate(timeout=WITHIN_S)
    here = {record.id for record in RunDirectory.open(reach.folder / "driver").records()}
    row("  records on the nodes, and in the run after --shards", "all", f"{len(there & here):,} of {len(there):,}")


PARTS: tuple[Callable[[Reach], None], ...] = (start, arrivals, against_the_ledger, lost_driver, lost_node)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS])
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="cluster-reach-") as folder,
        ray_nodes(3, processors=3) as cluster,
        mock_process("--ttft", "50ms", "--tpot", "10ms") as mock,
    ):
        print(f"{'on a cluster of three nodes on this machine':<62}{'reach':<25}got")
        for part in PARTS:
            if given.only in (None, part.__name__):
                part(Reach(Path(folder), cluster, mock, given.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
