"""The tests with each version of Python installed here, and the types of other systems: see scripts/platforms."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".platforms"
SYSTEMS = ("win32", "darwin")
LINUX_ALONE = (
    "bench/limits/source.py",
    "bench/transport/connection.py",
    "bench/transport/polled_connection.py",
    "bench/transport/wire.py",
    "mockserver/http/stamped_reads.py",
)
"""Files that other systems can import but never run: checked with Linux types only."""

HOW_TO_GET = (
    "install it (your distribution's packages, pyenv, `uv python install`, python.org), or name its path with --python"
)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of the tests with one version of Python."""

    version: str
    said: str
    good: bool | None
    """None if there is no such interpreter."""


def versions() -> list[str]:
    """The versions of Python that pyproject.toml names, oldest first."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    found = [match[1] for line in named if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))]
    assert found, "pyproject.toml names no version of Python"
    return found


def candidates(version: str) -> Iterator[Path]:
    """Where an interpreter of this version may be: on PATH, and in the folders of pyenv, uv and manylinux images."""
    if (found := shutil.which(f"python{version}")) is not None:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    yield from sorted(uv.glob(f"cpython-{version}.*/bin/python{version}"), reverse=True)
    tag = version.replace(".", "")
    yield from Path("/opt/python").glob(f"cp{tag}-cp{tag}/bin/python{version}")


def version_of(python: Path) -> str | None:
    """The version of an interpreter that can make environments, such as 3.12; None if it cannot."""
    asks = "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        ran = subprocess.run([python, "-c", asks], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None


def interpreter(version: str, named: list[Path]) -> Path | None:
    """A working interpreter of this version; named ones come first."""
    return next((path for path in (*named, *candidates(version)) if version_of(path) == version), None)


def tested(version: str, python: Path, processes: bool) -> Result:
    """Install this checkout for the interpreter, and run the tests."""
    print(f"== Python {version}: {python}", file=sys.stderr, flush=True)
    place = ENVIRONMENTS / version
    own, stamp = place / "bin" / "python", place / "installed"
    wanted = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([python, "-m", "venv", "--clear", place], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt"]
        if subprocess.run([own, *install, "-e", ".[dev]"], cwd=ROOT, check=False).returncode != 0:
            return Result(version, "it cannot be installed: the lines above say why", False)
        stamp.write_text(wanted)
    chosen = "not slow" if processes else "not processes and not slow"
    tests = ["-m", "pytest", "-n", "auto", "-q", "-m", chosen, "-p", "no:cacheprovider", "tests/unit", "tests/virtual"]
    ran = subprocess.run([own, *tests], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = ran.stdout.splitlines() or ["it said nothing"]
    if ran.returncode != 0:
        print(ran.stdout, file=sys.stderr)
    counts = [line for line in lines if re.search(r"\d+ (passed|failed|error)", line)] or lines[-1:]
    return Result(version, counts[-1].strip("= "), ran.returncode == 0)


def type_errors(system: str) -> list[str]:
    """mypy's errors in our code on another system, without the files that only Linux runs."""
    checks = [sys.executable, "-m", "mypy", "--platform", system, "--cache-dir", f".mypy_cache/{system}"]
    packages = ["-p", "bench", "-p", "mockserver", "-p", "promptset"]
    ran = subprocess.run(
        [*checks, *packages, "--no-error-summary"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if ran.returncode not in (0, 1):
        return [f"mypy failed: {ran.stdout}"]
    return [line for line in ran.stdout.splitlines() if not line.startswith(LINUX_ALONE)]


def main() -> int:
    """0 if everything tested passes, 1 if a test or a type check fails."""
    parser = argparse.ArgumentParser(prog="scripts/platforms", description=__doc__)
    parser.add_argument("--types", action="store_true", help="check only the types of other systems")
    parser.add_argument("--processes", action="store_true", help="also run the tests that start processes")
    parser.add_argument(
        "--python", action="append", type=Path, default=[], metavar="PATH", help="an interpreter to use"
    )
    parser.add_argument("versions", nargs="*", metavar="3.12", help="versions of Python (default: all that are named)")
    given = parser.parse_args()
    if unknown := [version for version in given.versions if version not in versions()]:
        parser.error(f"pyproject.toml does not name Python {', '.join(unknown)}: it names {', '.join(versions())}")
    if unusable := [str(path) for path in given.python if version_of(path) not in versions()]:
        parser.error(f"--python: no interpreter of a version that pyproject.toml names: {', '.join(unusable)}")
    results = []
    for version in () if given.types else given.versions or versions():
        python = interpreter(version, given.python)
        results.append(
            Result(version, f"not on this machine: {HOW_TO_GET}", None)
            if python is None
            else tested(version, python, given.processes)
        )
    for system in SYSTEMS:
        errors = type_errors(system)
        print("\n".join(errors), file=sys.stderr, end="\n" if errors else "")
        results.append(Result(system, f"{len(errors)} wrong types" if errors else "types are right", not errors))
    for result in results:
        print(f"{result.version:<7} {result.said}")
    return int(any(result.good is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
