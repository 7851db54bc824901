"""A Ray cluster of several nodes on this machine, in a process of its own, so that pytest shares none with Ray.

    with ray_nodes(3, processors=3) as cluster:
        bench(..., env=cluster.environment)
        os.kill(cluster.raylets[-1], signal.SIGKILL)

As a program, `python ray_nodes.py NODES PROCESSORS`: prints a line of JSON when all nodes are there, ends with its stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RayNodes:
    """`raylets`: the process of each node, the head first. `logs`: where Ray writes what it says. `temporary`: the folder
    of the nodes' temporary files."""

    address: str
    raylets: list[int]
    logs: Path
    temporary: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "RAY_ADDRESS": self.address}


@contextlib.contextmanager
def ray_nodes(nodes: int, processors: int) -> Iterator[RayNodes]:
    """A cluster that ends with the block."""
    command = [sys.executable, __file__, str(nodes), str(processors)]
    # Not a test's own folder: Ray's sockets are in it, and their paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as temporary:
        quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": temporary}
        with _running(command, quiet, Path(temporary)) as told:
            yield told


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], temporary: Path) -> Iterator[RayNodes]:
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        line = next((line for line in running.stdout if line.startswith("{")), None)
        assert line is not None, "the cluster did not start"
        told = json.loads(line)
        try:
            yield RayNodes(told["address"], told["raylets"], Path(told["logs"]), temporary)
        finally:
            running.stdin.close()
            try:
                running.wait(timeout=60)
            except subprocess.TimeoutExpired:
                running.kill()


def main(nodes: int, processors: int) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": processors, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=processors)
    cluster.wait_for_nodes(timeout=120)
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    logs = cluster.head_node.get_logs_dir_path()
    print(json.dumps({"address": cluster.address, "raylets": raylets, "logs": logs}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
