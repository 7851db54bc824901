"""Runs commands of `python -m bench` in a process that has only what another system has: `python -m
tests.support.as_platform PLATFORM [["run", "--url", ...], ...] ...`. Further systems, each of which lacks more than the
previous one, follow with their commands. Prints the exit statuses of each system's commands at the end of stdout.

The standard library and third-party packages stay those of this system; only our own code sees the other platform.
"""

from __future__ import annotations

import importlib
import json
import sys

from tests.support.other_platform import OURS, become

USED = (
    *("bench.cli", "bench.load_test", "bench.evaluate", "bench.commands.run", "bench.commands.report", "bench.report"),
    *(
        "bench.terminal",
        "bench.control",
        "bench.limits.measure",
        "bench.transport.wire",
        "bench.transport.httpx_transport",
    ),
)
"""What the commands import of ours, so that third-party dependencies are loaded before anything is removed."""

if __name__ == "__main__":
    for name in USED:
        importlib.import_module(name)
    statuses = []
    for platform, commands in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
        become(platform)
        main = importlib.import_module("bench.cli").main
        statuses.append([main(words) for words in json.loads(commands)])
    print(json.dumps(statuses))
