"""Builds the compiled parts where a C compiler is at hand; without one the package is installed as pure Python.

A part is one C file over Python's stable ABI, compiled beside its source: one binary serves every Python from 3.11 on.
TRUELOAD_BUILD=pure leaves them out; TRUELOAD_BUILD=compiled makes it an error when one cannot be built.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = ("bench/native/_core.c", "mockserver/native/_sender.c")
"""The sources. Their modules have the same names; they are for Linux."""
MANUAL = "build/man"
"""The manual pages, where scripts/man-pages wrote them: to make them here would need the package and all that it needs."""


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling for wheels and editable installations."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name the wheel after what is in it."""
        if self.target_name != "wheel":
            return
        if (Path(self.root) / MANUAL).is_dir():
            build_data.setdefault("shared_data", {})[MANUAL] = "share/man/man1"
        wish = os.environ.get("TRUELOAD_BUILD", "")
        modules = [] if wish == "pure" else [built for part in PARTS if (built := self._compiled(part)) is not None]
        if len(modules) < len(PARTS) and wish == "compiled":
            raise SystemExit("TRUELOAD_BUILD=compiled, and a part could not be compiled: see above")
        if modules:
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{_platform()}"
            build_data["artifacts"] += [module.as_posix() for module in modules]

    def _compiled(self, source: str) -> Path | None:
        """The module that was made of a source, relative to the root; None where it cannot be made here."""
        root = Path(self.root)
        module = Path(source).with_suffix(".abi3.so")
        if sys.platform != "linux" or platform.python_implementation() != "CPython":
            return None
        compiler = _compiler()
        if compiler is None:
            self._say(f"no C compiler: {source} is left out, and Python does its work")
            (root / module).unlink(missing_ok=True)
            return None
        # A process that has the old file loaded keeps it: the new one takes its place at once.
        made = root / module.with_suffix(".new")
        include = sysconfig.get_paths()["include"]
        crc = zlib.crc32((root / source).read_bytes())  # A binary of another source than the one beside it is not used.
        flags = ["-O2", "-std=gnu11", "-fPIC", "-shared", "-pthread", "-DPy_LIMITED_API=0x030B0000", f"-I{include}"]
        flags.append(f"-DSOURCE={crc}LL")
        tried = subprocess.run(
            [*compiler, *flags, "-o", str(made), source], cwd=root, capture_output=True, text=True, check=False
        )
        if tried.returncode != 0:
            self._say(f"{source} was not compiled, and Python does its work:\n{tried.stderr.strip()}")
            (root / module).unlink(missing_ok=True)
            return None
        made.replace(root / module)
        return module

    def _say(self, what: str) -> None:
        self.app.display_warning(what)


def _compiler() -> list[str] | None:
    wanted = [shlex.split(os.environ[name]) for name in ("CC",) if os.environ.get(name)]
    for words in [*wanted, ["cc"], ["gcc"], ["clang"]]:
        if words and shutil.which(words[0]) is not None:
            return words
    return None


def _platform() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
