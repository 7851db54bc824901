"""A replacement for a base image that cannot be fetched: the same Debian release, with its Python."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

MACHINE = ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
"""Files with which this machine reaches its package index; Docker gives its builds network access in other ways."""


def base_of(dockerfile: str) -> str:
    """The base image of all stages."""
    (image,) = set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE))
    return str(image)


def debian(image: str, root: Path) -> None:
    """Make it in the folder `root`, for an image such as python:3.13-slim-trixie. Needs root and mmdebstrap."""
    release = image.rpartition("-")[2]
    sources = sorted(Path("/etc/apt/sources.list.d").glob("debian*.sources"))
    # That image has Python's headers, too.
    packages = "--include=python3,python3-venv,python3-dev,passwd,ca-certificates"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", packages, release, root, *sources[:1]], check=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for file in MACHINE:
        if Path("/", file).is_file():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path("/", file), root / file)
