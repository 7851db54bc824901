"""A Ray cluster of several nodes on this machine, in its own process, so that pytest has no Ray in it.

    with ray_nodes(3, processors=3) as cluster:
        bench(..., env=cluster.environment)
        cluster.kill(cluster.add())

As a program, `python ray_nodes.py NODES PROCESSORS`: prints a line of JSON when all nodes are running, answers each
line on stdin with another, and ends when stdin closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from tests.support.patience import PATIENCE_S

ADD, TELL = "add", "tell"


@dataclass(frozen=True)
class RayNodes:
    """`raylets`: the process of each node, the head first. `logs`: Ray's log folder. `temporary`: the folder of the
    nodes' temporary files."""

    address: str
    raylets: list[int]
    logs: Path
    temporary: Path
    asking: IO[str]
    answers: IO[str]
    variables: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables, "RAY_ADDRESS": self.address}

    def add(self) -> int:
        """Add a node; returns the process of its raylet."""
        return int(self._ask(ADD))

    def kill(self, raylet: int) -> None:
        """End a node as in a power loss: its raylet, and its child processes."""
        children = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # The process has ended meanwhile.
                if path.read_text().rpartition(")")[2].split()[1] == str(raylet):
                    children.append(int(path.parent.name))
        for pid in [raylet, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def known(self) -> str:
        """What Ray reports of its jobs and actors, as its dashboard does: names, command lines, environments."""
        return str(self._ask(TELL))

    def _ask(self, what: str) -> Any:
        self.asking.write(f"{what}\n")
        self.asking.flush()
        return json.loads(next(line for line in self.answers if line.startswith(("{", '"', *"0123456789"))))


@contextlib.contextmanager
def ray_nodes(nodes: int, processors: int, **variables: str) -> Iterator[RayNodes]:
    """A cluster that ends with the block. `variables`: added to the environment of its nodes and drivers."""
    command = [sys.executable, __file__, str(nodes), str(processors)]
    # Not in a test's own folder, whose path may be too long: the paths of Ray's sockets may have at most 107
    # characters.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as temporary:
        quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": temporary}
        with _running(command, quiet, Path(temporary), variables) as told:
            yield told


@contextlib.contextmanager
def _running(
    command: list[str], environment: dict[str, str], temporary: Path, variables: dict[str, str]
) -> Iterator[RayNodes]:
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**environment, **variables},
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        line = next((line for line in running.stdout if line.startswith("{")), None)
        assert line is not None, "the cluster did not start"
        told = json.loads(line)
        logs = Path(told["logs"])
        try:
            yield RayNodes(told["address"], told["raylets"], logs, temporary, running.stdin, running.stdout, variables)
        finally:
            running.stdin.close()
            try:
                running.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                running.kill()


def main(nodes: int, processors: int) -> None:
    # Imported by name: the type checker's result must not depend on whether Ray is installed.
    ray, state = import_module("ray"), import_module("ray._private.state")
    cluster_utils = import_module("ray.cluster_utils")
    head = {"num_cpus": processors, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=processors)
    cluster.wait_for_nodes(timeout=PATIENCE_S)
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    logs = cluster.head_node.get_logs_dir_path()
    print(json.dumps({"address": cluster.address, "raylets": raylets, "logs": logs}), flush=True)
    for line in sys.stdin:
        if line.strip() == ADD:
            node = cluster.add_node(num_cpus=processors)
            cluster.wait_for_nodes(timeout=PATIENCE_S)
            print(node.all_processes["raylet"][0].process.pid, flush=True)
        else:
            ray.init(cluster.address, ignore_reinit_error=True, configure_logging=False, log_to_driver=False)
            print(json.dumps(repr([state.jobs(), state.actors()])), flush=True)
    if ray.is_initialized():
        ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
