"""What scripts/check-package does: builds, checks, installs and runs the packages, in a folder that is thrown away."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "mockserver", "datasets/promptset")
MANUAL = ("trueload.1", "trueload-mock.1", "trueload-promptset.1")
CORE = re.compile(r"(bench|mockserver)/native/_\w+\.abi3\.so")
LEAST_RATING = 8
"""pyroma's, of 10: it wants an address of the authors and a home page, too."""

COMMANDS = (
    ["trueload", "--version"],
    ["trueload", "--help"],
    ["trueload", "completion", "bash"],
    ["trueload-mock", "--preset", "list"],
    ["trueload-promptset", "--count", "2", "--input-tokens", "16"],
    ["trueload-promptset", "--recipe", "azure-2023-conversation", "--count", "2"],
    [
        "trueload",
        "calibrate",
        "--concurrency",
        "2",
        "--requests",
        "8",
        "--output-tokens",
        "4",
        "--quiet",
        "--out",
        "run",
    ],
    ["trueload", "report", "run", "--format", "json"],
)
"""What must run from an installed wheel; they read the words, recipes, templates and schemas that come with it."""
HONEST = {0, 3}
"""Where other programs keep the machine busy, a measurement says that it is no good."""


def said(words: list[str | Path], folder: Path, allowed: frozenset[int] = frozenset({0}), **more: str) -> str:
    """Run a command; what it said. It ends this program where the command fails."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ran = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={**environment, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode not in allowed:
        sys.exit(f"error: {' '.join(map(str, words))} exits {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout + ran.stderr


def tracked() -> set[str]:
    """The files of our packages that git knows, as they are named where a wheel is installed."""
    files = said(["git", "ls-files", *FOLDERS], ROOT).splitlines()
    return {name.removeprefix("datasets/") for name in files if (ROOT / name).exists()}


def problems_of_wheel(wheel: Path, compiled: bool) -> list[str]:
    """What a wheel lacks, or has and should not."""
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if ".dist-info/" not in name]
    names = {name.partition(".data/data/")[2] or name for name in inside}
    core = {name for name in names if CORE.fullmatch(name)}
    wanted = tracked() | {f"share/man/man1/{name}" for name in MANUAL}
    problems = [f"{wheel.name}: {name} is missing" for name in sorted(wanted - names)]
    problems += [f"{wheel.name}: {name} is no file of ours" for name in sorted(names - wanted - core)]
    if compiled != bool(core):
        problems.append(f"{wheel.name}: the compiled core is {'missing' if compiled else 'there, and should not be'}")
    if compiled == wheel.name.endswith("-py3-none-any.whl"):
        problems.append(f"{wheel.name}: the name does not say what is in it")
    return problems


def problems_of_sdist(sdist: Path) -> list[str]:
    """What the source archive lacks."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {name for name in said(["git", "ls-files"], ROOT).splitlines() if (ROOT / name).exists()}
    return [f"{sdist.name}: {name} is missing" for name in sorted(needed - names)]


def built(place: Path, python: Path) -> tuple[Path, dict[Path, bool]]:
    """The source archive, and the wheels that are made of it: each with whether it has the compiled core."""
    dist = place / "dist"
    said([python, "-m", "build", "--sdist", "--outdir", dist, ROOT], place)
    (sdist,) = dist.glob("*.tar.gz")
    wheels = {}
    wishes = {"pure": False}
    if sys.platform == "linux" and any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        wishes["compiled"] = True
    else:
        print("no C compiler: only the wheel without the compiled core is checked")
    for wish, compiled in wishes.items():
        folder = place / wish
        wheel: list[str | Path] = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sdist]
        said([*wheel, "--disable-pip-version-check"], place, TRUELOAD_BUILD=wish)
        (made,) = folder.glob("*.whl")
        wheels[Path(shutil.copy(made, dist))] = compiled
    return sdist, wheels


def run_installed(wheel: Path, place: Path, python: str, compiled: bool) -> None:
    """Install the wheel into a bare environment, and run its commands there."""
    name = "with-core" if compiled else "without-core"
    environment, folder = place / name, place / f"{name}-work"
    folder.mkdir()
    said([python, "-m", "venv", environment], place)
    pip: list[str | Path] = [environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    said([*pip, "-c", ROOT / "constraints.txt", wheel], place)
    for command, *words in COMMANDS:
        text = said(
            [environment / "bin" / command, *words], folder, frozenset(HONEST if words[0] == "calibrate" else {0})
        )
        if not text.strip() and "--quiet" not in words:
            sys.exit(f"error: {command} {' '.join(words)} says nothing")
    for page in ("report.html", "certificate.html"):
        if not (folder / "run" / page).is_file():
            sys.exit(f"error: {wheel.name}: a calibration makes no {page}")
    asks = "import importlib.util as u; print(u.find_spec('bench.native._core') is not None)"
    if said([environment / "bin" / "python", "-c", asks], folder).strip() != str(compiled):
        sys.exit(f"error: {wheel.name}: installed, its compiled core is {'missing' if compiled else 'there'}")
    print(f"{wheel.name}: {len(COMMANDS)} commands run")


def main() -> None:
    """Print a line for each check; ends with a sentence and status 1 where one fails."""
    parser = argparse.ArgumentParser(prog="scripts/check-package", description=__doc__)
    parser.add_argument("place", type=Path, help="a folder that may be filled")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to install for")
    given = parser.parse_args()
    tools = Path(sys.executable).parent
    sdist, wheels = built(given.place, tools / "python")
    problems = problems_of_sdist(sdist)
    for wheel, compiled in wheels.items():
        problems += problems_of_wheel(wheel, compiled)
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))
    said([tools / "twine", "check", "--strict", sdist, *wheels], given.place)
    print("twine: good")
    said([tools / "check-wheel-contents", "--toplevel", "bench,mockserver,promptset", *wheels], given.place)
    print("check-wheel-contents: good")
    rating = re.search(r"rating: (\d+)/10", said([tools / "pyroma", "-n", str(LEAST_RATING), sdist], given.place))
    print(f"pyroma: {rating[1] if rating else '?'} of 10")
    for wheel, compiled in wheels.items():
        run_installed(wheel, given.place, given.python, compiled)


if __name__ == "__main__":
    main()
