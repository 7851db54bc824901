"""Follows the Dockerfile step by step where there is no container engine.

A Debian of the base image's release, made by mmdebstrap, replaces each stage. RUN, COPY, WORKDIR, ENV, USER, ENTRYPOINT
and CMD do what Docker does, as far as this Dockerfile uses them; any other instruction is refused. It cannot show the
base image itself, its size, or how an engine isolates processes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from container.base import debian

ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Stage:
    """A root file system, and the settings of the steps so far."""

    name: str
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def run(self, words: Sequence[str], check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command inside. Without `check`, capture its output."""
        own = {
            name: value for name, value in os.environ.items() if name.startswith(("PIP_", "http", "HTTP", "no_proxy"))
        }
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        settings = [f"{name}={value}" for name, value in {**own, "PATH": path, **self.environment}.items()]
        inside = ["env", "-i", *settings, "sh", "-c", 'cd "$0" && exec "$@"', self.folder, *words]
        return subprocess.run(
            ["chroot", f"--userspec={self.user}:{self.user}", str(self.root), *inside],
            text=True, check=check, stdout=None if check else subprocess.PIPE,
        )  # fmt: skip


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile, with continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        word, _, rest = line.partition(" ")
        yield word.upper(), rest.strip()


def base(image: str, name: str, place: Path) -> Stage:
    """A replacement for an image such as python:3.13-slim-trixie, with the folders of a running system."""
    root = place / name
    debian(image, root)
    for folder in ("proc", "dev"):
        subprocess.run(["mount", "--rbind", f"/{folder}", root / folder], check=True)
    return Stage(name, root)


def sent(rules: list[str]) -> Iterator[Path]:
    """The build context: tracked files that .dockerignore lets through (the last matching rule wins)."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        kept = True
        for rule in rules:
            pattern = rule.removeprefix("!").removeprefix("**/")
            if any(fnmatch(part, pattern) for part in (name, name.partition("/")[0], Path(name).name)):
                kept = rule.startswith("!")
        if kept and (ROOT / name).is_file():
            yield Path(name)


def copy(stage: Stage, words: list[str], stages: dict[str, Stage], files: list[Path]) -> None:
    """COPY [--from=STAGE] SOURCE... TARGET"""
    *sources, target = [word for word in words if not word.startswith("--")]
    other = next((word.removeprefix("--from=") for word in words if word.startswith("--from=")), None)
    place = stage.root / str(Path(stage.folder, target)).lstrip("/")
    if other is not None:
        for source in sources:
            shutil.copytree(stages[other].root / source.lstrip("/"), place, symlinks=True)
        return
    for source in sources:
        found = [file for file in files if file == Path(source) or Path(source) in file.parents]
        assert found, f"COPY {source}: there is no such file, or .dockerignore leaves it out"
        for file in found:
            to = place / file.relative_to(source) if (ROOT / source).is_dir() else place / file.name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, to)


def _value_of(known: Mapping[str, str], found: re.Match[str]) -> str:
    return known[found[1]]


def follow(place: Path) -> Stage:
    """Follow each step. Returns the last stage."""
    files = list(sent((ROOT / ".dockerignore").read_text().split()))
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for word, rest in steps((ROOT / "Dockerfile").read_text()):
        print(f"== {word} {rest}"[:120], flush=True)
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            stage = stages[name or "last"] = base(image, name or "last", place)
            continue
        assert stage is not None, "the first step is not FROM"
        if word == "RUN":
            stage.run(["sh", "-c", rest], check=True)
        elif word == "COPY":
            copy(stage, shlex.split(rest), stages, files)
        elif word == "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "ENV":
            for setting in shlex.split(rest):
                name, _, value = setting.partition("=")
                known = {"PATH": "/usr/local/bin:/usr/bin:/bin", **stage.environment}
                stage.environment[name] = re.sub(r"\$(\w+)", partial(_value_of, known), value)
        elif word == "USER":
            stage.user = rest
        elif word == "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        elif word == "CMD":
            stage.command = json.loads(rest)
        else:
            assert word in ("EXPOSE", "HEALTHCHECK"), f"{word}: this check does not know the word"
    assert stage is not None, "there is no step"
    return stage
