"""Builds and tries the image of the Dockerfile and the services of compose.yaml: see scripts/check-container."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from container.engine import build, compose_of, engine_here, token_of, try_compose
from container.steps import ROOT, follow, steps


class Built(Protocol):
    """An image, however it was built."""

    @property
    def entrypoint(self) -> list[str]: ...
    @property
    def user(self) -> str: ...
    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command inside, and capture its output."""


def try_out(image: Built) -> None:
    """Check what the image is for: help, the mock, a calibration as an unprivileged user, the console; and no compiler
    inside."""
    assert image.user not in ("", "0", "root"), "the image runs as root"
    assert "usage: " in image.run([*image.entrypoint, "--help"]).stdout
    assert image.run(["trueload-mock", "--version"]).returncode == 0
    load = "calibrate --concurrency 2 --requests 8 --output-tokens 4 --quiet --out runs/one"
    # On a busy machine it reports a bad measurement (3), which does not matter here.
    tried = f"{' '.join(image.entrypoint)} {load}; status=$?; test -s runs/one/certificate.html && exit $status"
    assert image.run(["sh", "-c", tried]).returncode in (0, 3), "a calibration failed in the image"
    last = dict(steps((ROOT / "Dockerfile").read_text()))
    console, health = (
        shlex.join(json.loads(words)) for words in (last["CMD"], last["HEALTHCHECK"].partition("CMD ")[2])
    )
    starts = f"TRUELOAD_TOKEN={token_of((ROOT / 'compose.yaml').read_text())} {' '.join(image.entrypoint)} {console} &"
    healthy = f"until {health} 2>/dev/null; do kill -0 $! || exit 1; sleep 0.1; done; kill $!"
    assert image.run(["sh", "-c", f"{starts} {healthy}"]).returncode == 0, "the console is not what the image starts"
    core = "import bench.native._core"
    assert image.run(["python", "-c", core]).returncode == 0, "the compiled core is missing"
    assert image.run(["sh", "-c", "command -v gcc"]).returncode != 0, "a compiler is in the image"
    size = image.run(["du", "-sm", "/opt/trueload"]).stdout.split()[0]
    print(f"what the image adds to its base: {size} MiB")


def main(place: Path) -> int:
    """0 if the image can be built, or if nothing here can build it."""
    if engine := engine_here():
        try_out(build(engine, place))
        print(f"Dockerfile: {engine} built it, and the result runs")
        if compose := compose_of(engine):
            try_compose(engine, compose)
        else:
            print(f"compose.yaml was not tried: it needs {engine} compose or {engine}-compose")
        return 0
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        print("not checked: no docker or podman runs here, and following the steps needs root and mmdebstrap")
        return 0
    if "TRUELOAD_MOUNTS" not in os.environ:  # The mounts end with the process that has its own mount namespace.
        words = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, str(place)]
        return subprocess.run(words, env={**os.environ, "TRUELOAD_MOUNTS": "own"}, check=False).returncode
    try_out(follow(place))
    print("Dockerfile: every step was done, and the result runs")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
