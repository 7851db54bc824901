"""What scripts/check-package does: builds, checks, installs and runs the packages, in a folder that is thrown away."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

from platforms import interpreter, versions

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "mockserver", "datasets/promptset")
MANUAL = ("trueload.1", "trueload-mock.1", "trueload-promptset.1")
CORE = re.compile(r"(bench|mockserver)/native/_\w+\.abi3\.so")
GLIBC = "2.28"
"""The oldest glibc that the wheel may need: that of cibuildwheel's images, which release.yml uses."""
LEAST_RATING = 8
"""pyroma's rating, of 10: it also wants an address of the authors and a home page."""

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
"""Commands that must run from an installed wheel; they read the words, recipes, templates and schemas that come with
it."""
HONEST = {0, 3}
"""If other programs keep the machine busy, a measurement reports itself as bad."""


def said(words: list[str | Path], folder: Path, allowed: frozenset[int] = frozenset({0}), **more: str) -> str:
    """Run a command and return its output. Exits this program if the command fails."""
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
    """Our packages' files under version control, named as in an installed wheel."""
    files = said(["git", "ls-files", *FOLDERS], ROOT).splitlines()
    return {name.removeprefix("datasets/") for name in files if (ROOT / name).exists()}


def problems_of_wheel(wheel: Path, compiled: bool) -> list[str]:
    """Files that a wheel lacks, or should not have."""
    with zipfile.ZipFile(wheel) as archive:
        inside = [name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")]
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
    """Files that the source archive lacks."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {name for name in said(["git", "ls-files"], ROOT).splitlines() if (ROOT / name).exists()}
    return [f"{sdist.name}: {name} is missing" for name in sorted(needed - names)]


def built(place: Path, tools: Path) -> tuple[Path, dict[Path, bool]]:
    """The source archive, and the wheels made from it, each with whether it has the compiled core."""
    dist, python = place / "dist", tools / "python"
    said([python, "-m", "build", "--sdist", "--outdir", dist, ROOT], place)
    (sdist,) = dist.glob("*.tar.gz")
    wheels = {}
    for wish in ("pure", "compiled") if sys.platform == "linux" else ("pure",):
        folder = place / wish
        wheel: list[str | Path] = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sdist]
        compiler = f"{_zig(tools)} cc -target {platform.machine()}-linux-gnu.{GLIBC}" if wish == "compiled" else ""
        said([*wheel, "--disable-pip-version-check"], place, TRUELOAD_BUILD=wish, CC=compiler)
        (made,) = folder.glob("*.whl")
        if wish == "compiled":
            made = _for_an_index(made, tools)
        wheels[Path(shutil.copy(made, dist))] = wish == "compiled"
    return sdist, wheels


def _zig(tools: Path) -> Path:
    """A compiler that links against an old glibc on a new system, as the manylinux images do."""
    asks = "import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).parent / 'zig')"
    return Path(said([tools / "python", "-c", asks], tools).strip())


def _for_an_index(wheel: Path, tools: Path) -> Path:
    """The wheel with the tag that indexes require. Exits this program if the wheel needs more than the tag allows."""
    tag = f"manylinux_{GLIBC.replace('.', '_')}_{platform.machine()}"
    words: list[str | Path] = [tools / "auditwheel", "repair", "--plat", tag, "--wheel-dir", wheel.parent / tag, wheel]
    said(words, wheel.parent, PATH=f"{tools}:{os.environ['PATH']}")  # It starts patchelf.
    (repaired,) = (wheel.parent / tag).glob("*.whl")
    said([tools / "abi3audit", "--strict", repaired], wheel.parent)
    print(f"auditwheel and abi3audit: good ({tag}, any Python from 3.11 on)")
    return repaired


def run_installed(wheel: Path, place: Path, python: Path, compiled: bool) -> None:
    """Install Trueload from this wheel's folder into a bare environment, and run its commands there."""
    name = f"{'with' if compiled else 'without'}-core-{python.name}"
    environment, folder = place / name, place / f"{name}-work"
    folder.mkdir()
    said([python, "-m", "venv", environment], place)
    pip: list[str | Path] = [environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    said([*pip, "-c", ROOT / "constraints.txt", "--find-links", wheel.parent, "trueload"], folder)
    for command, *words in COMMANDS:
        text = said(
            [environment / "bin" / command, *words], folder, frozenset(HONEST if words[0] == "calibrate" else {0})
        )
        if not text.strip() and "--quiet" not in words:
            sys.exit(f"error: {command} {' '.join(words)} says nothing")
    for page in ("report.html", "certificate.html"):
        if not (folder / "run" / page).is_file():
            sys.exit(f"error: {wheel.name}: a calibration makes no {page}")
    _console_answers(environment / "bin" / "trueload", folder)
    asks = "import importlib.util as u; print(u.find_spec('bench.native._core') is not None)"
    if said([environment / "bin" / "python", "-c", asks], folder).strip() != str(compiled):
        sys.exit(f"error: {wheel.name}: installed, its compiled core is {'missing' if compiled else 'there'}")
    print(f"{wheel.name}: {len(COMMANDS)} commands and the console run with {python.name}", flush=True)


def _console_answers(trueload: Path, folder: Path) -> None:
    """Start the wheel's console and open its first page."""
    words: list[str | Path] = [trueload, "console", "--no-browser", "--port", "0", "--runs", "runs"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as console:
        try:
            assert console.stdout is not None
            url = console.stdout.readline().removeprefix("console ready at ").strip()
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
            opener.open(url, timeout=60).close()  # This sets the cookie.
            with opener.open(url.partition("?")[0], timeout=60) as page:
                if b"<title>" not in page.read():
                    sys.exit(f"error: the console's page at {url} is empty")
        finally:
            console.terminate()


def main() -> None:
    """Print a line per check; exit with a sentence and status 1 if one fails."""
    parser = argparse.ArgumentParser(prog="scripts/check-package", description=__doc__)
    parser.add_argument("place", type=Path, help="a folder that may be filled")
    parser.add_argument(
        "--python",
        action="append",
        type=Path,
        help="an interpreter to install for (default: of each version that is here)",
    )
    given = parser.parse_args()
    tools = Path(sys.executable).parent
    pythons = given.python or [path for version in versions() if (path := interpreter(version, [])) is not None]
    sdist, wheels = built(given.place, tools)
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
    # Each wheel in a folder of its own: otherwise pip would take the compiled one.
    for wheel, compiled in wheels.items():
        alone = given.place / f"links-{'compiled' if compiled else 'pure'}"
        alone.mkdir()
        for python in pythons if compiled else pythons[:1]:
            run_installed(Path(shutil.copy(wheel, alone)), given.place, python, compiled)


if __name__ == "__main__":
    main()
