"""The image and the compose file, through docker or podman."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from container.base import base_of, debian

ROOT = Path(__file__).parents[2]
NAME = "trueload"
"""The image's name in compose.yaml."""
PATIENCE_S = 300.0


def engine_here() -> str | None:
    """docker or podman, if one runs here."""
    for engine in ("docker", "podman"):
        if shutil.which(engine) and subprocess.run([engine, "info"], capture_output=True, check=False).returncode == 0:
            return engine
    return None


@dataclass(frozen=True, slots=True)
class Image:
    """An image; each command runs in its own container, with a read-only root file system."""

    engine: str
    entrypoint: list[str]
    user: str

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command inside, and capture its output."""
        program, *arguments = words
        places = ["--read-only", "--tmpfs", "/tmp", "--volume", "/srv/trueload/runs"]
        return subprocess.run(
            [self.engine, "run", "--rm", *places, "--entrypoint", program, NAME, *arguments],
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip


def build(engine: str, place: Path) -> Image:
    """Build the image. If its base cannot be fetched, a Debian replaces it (as root, with mmdebstrap)."""
    base = base_of((ROOT / "Dockerfile").read_text())
    known = subprocess.run([engine, "image", "inspect", base], capture_output=True, check=False).returncode == 0
    stand_in = not known and subprocess.run([engine, "pull", "--quiet", base], check=False).returncode != 0
    if stand_in:
        if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
            sys.exit(f"{base} cannot be fetched, and making a Debian in its place needs root and mmdebstrap")
        print(f"{base} cannot be fetched: a Debian with its Python stands for it", flush=True)
        debian(base, place / "base")
        with subprocess.Popen(["tar", "-C", place / "base", "-c", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run([engine, "import", "-", f"docker.io/library/{base}"], stdin=packed.stdout, check=True)
    subprocess.run([engine, "build", "--tag", NAME, str(ROOT)], check=True)
    form = '{{join .Config.Entrypoint " "}}|{{.Config.User}}'
    told = subprocess.run(
        [engine, "image", "inspect", "--format", form, NAME], stdout=subprocess.PIPE, text=True, check=True
    )
    entrypoint, _, user = told.stdout.strip().partition("|")
    return Image(engine, entrypoint.split(), user)


def compose_of(engine: str) -> list[str] | None:
    """The compose command, if it is installed, with its own project name."""
    for words in ([engine, "compose", "version"], [f"{engine}-compose", "version"]):
        if shutil.which(words[0]) and subprocess.run(words, capture_output=True, check=False).returncode == 0:
            return [*words[:-1], "--project-name", "trueload-check"]
    return None


def token_of(compose: str) -> str:
    """The token that compose.yaml tells its reader to choose."""
    (token,) = set(re.findall(r"TRUELOAD_TOKEN=(\S+)", compose))
    return str(token)


@contextmanager
def _up(compose: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    down = [*compose, "down", "--volumes"]
    subprocess.run(down, cwd=ROOT, env=environment, check=False, capture_output=True)  # Remains of an earlier call.
    try:
        with subprocess.Popen([*compose, "up", "--detach"], cwd=ROOT, env=environment) as starting:
            yield starting
    finally:
        subprocess.run(down, cwd=ROOT, env=environment, check=False, stdout=subprocess.DEVNULL)


def _ask_for_health(engine: str) -> None:
    """Podman leaves health checks to systemd, which is not everywhere."""
    if engine != "podman":
        return
    form = "{{.Names}}"
    names = subprocess.run([engine, "ps", "--format", form], stdout=subprocess.PIPE, text=True, check=False)
    for name in names.stdout.split():
        subprocess.run([engine, "healthcheck", "run", name], capture_output=True, check=False)


def try_compose(engine: str, compose: list[str]) -> None:
    """Check compose.yaml: the console accepts its token and nothing else, and measures the mock beside it."""
    token = token_of((ROOT / "compose.yaml").read_text())
    environment = {**os.environ, "TRUELOAD_TOKEN": token}
    with _up(compose, environment) as starting:
        until = time.monotonic() + PATIENCE_S
        # It has started when the mock is healthy.
        while starting.poll() is None or _status(f"http://127.0.0.1:8600/?token={token}") != 200:
            assert starting.returncode in (None, 0), "the services did not start"
            assert time.monotonic() < until, "the services did not start, or the console did not let its token in"
            _ask_for_health(engine)
            time.sleep(0.5)
        assert _status("http://127.0.0.1:8600/") in (401, 403), "the console lets in who has no token"
        load = ["run", "--url", "http://mock:8000", "--concurrency", "2", "--requests", "8", "--output-tokens", "4"]
        words = [*compose, "exec", "-T", "console", "trueload", *load, "--quiet", "--out", "runs/one"]
        # On a busy machine it reports a bad measurement, which does not matter here.
        assert subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode in (0, 3)
    print("compose.yaml: the console measured the mock beside it")


def _status(url: str) -> int | str:
    """The status of a page, or the error."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
    try:
        with opener.open(url, timeout=5) as page:
            return int(page.status)
    except urllib.error.HTTPError as e:
        return e.code
    except OSError as e:
        return str(e)
