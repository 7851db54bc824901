"""`scripts/test --quick` in other environments than this one: see scripts/test-places.

A place is a Python, a user and a home. Each has a clone of the last commit and an environment of its own, in a new
folder that is removed afterwards. Chromium is hidden: a folder without it is mounted over its own, visible only to the
processes of that place.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from platforms import HOW_TO_GET, candidates, interpreter, versions

from tests.support.chromium import BROWSERS

ROOT = Path(__file__).parents[1]
MACHINE = ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
"""Files with which this machine reaches its package index; a new Debian gets copies."""
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where another user finds programs: folders on root's own PATH may be closed to others."""
TESTS = 'cd "$0" && scripts/environment dev,real && date +%s && exec scripts/test --quick'
"""The time in between tells how long the environment took."""
MOUNTS = ("unshare", "--mount", "--propagation", "private")


@dataclass(frozen=True, slots=True)
class Row:
    """The result of a place. `good` is None if this machine cannot make the place."""

    place: str
    good: bool | None
    said: str

    def __str__(self) -> str:
        result = "not here" if self.good is None else "passed" if self.good else "failed"
        return f"{self.place:<14} {result:<8}  {self.said}"


class NotHereError(Exception):
    """This machine cannot make the place; the text says why."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The folder for the places, the named interpreters, and the command prefix that hides Chromium."""

    scratch: Path
    pythons: list[Path]
    hiding: list[str]


@dataclass(frozen=True, slots=True)
class Place:
    """How to run a command there: `words` is its prefix."""

    python: str
    words: Sequence[str] = ()
    owner: str | None = None
    root: Path | None = None
    """The place's root directory."""


def hiding(scratch: Path) -> list[str]:
    """The prefix of a command that must not see Chromium; empty if Chromium is absent, or if this user may not mount."""
    paths = sorted({path for name in BROWSERS if (path := shutil.which(name)) is not None})
    if not paths:
        return []
    folders = sorted({str(Path(path).parent.resolve()) for path in paths})
    over = scratch / "over"
    over.mkdir(exist_ok=True)
    mounts = [f"mount -t tmpfs none {over}"]
    for number, folder in enumerate(folders):
        upper, work = f"{over}/{number}", f"{over}/{number}-work"
        mounts.append(f"mkdir {upper} {work}")
        mounts.append(f"mount -t overlay overlay -o lowerdir={folder},upperdir={upper},workdir={work} {folder}")
    script = " && ".join([*mounts, f"rm -f {' '.join(paths)}", 'exec "$@"'])
    words = [*MOUNTS, "sh", "-c", script, "sh"]
    if (uid := os.geteuid()) != 0:  # Root of a user namespace may mount; inside it the user keeps its identity.
        words[1:1] = ["--user", "--map-root-user"]
        words += ["unshare", "--user", f"--map-user={uid}", f"--map-group={os.getegid()}"]
    if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
        return words
    print(f"{' and '.join(paths)} cannot be hidden: this user may not mount", file=sys.stderr)
    return []


def outcome(status: int, output: str, started: float, ended: float) -> tuple[bool, str]:
    """Whether all passed; how many tests ran, and how long they and creating the environment took."""
    lines = output.splitlines() or ["it said nothing"]
    began = next((float(line) for line in lines if re.fullmatch(r"\d{10}", line)), None)
    if began is None:
        return False, f"no environment after {ended - started:.0f} s: {lines[-1]}"
    counts = [line.strip("= ") for line in lines if re.search(r"\d+ (passed|failed|error)", line)]
    tests = re.sub(r" in [\d.]+s.*", "", counts[-1]) if counts else "no test ran"
    return status == 0 and bool(
        counts
    ), f"{tests} in {ended - began:.0f} s; environment {max(began - started, 0):.0f} s"


def tried(machine: Machine, name: str, place: Place) -> Row:
    """Clone the last commit, make the environment, and run the tests."""
    clone = (place.root or machine.scratch) / re.sub(r"[^\w.]+", "-", name)
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    if place.owner is not None:
        subprocess.run(["chown", "-R", f"{place.owner}:", clone], check=True)
    inside = str(clone) if place.root is None else f"/{clone.name}"
    started = time.time()
    ran = subprocess.run(
        [*machine.hiding, *place.words, "env", f"PYTHON={place.python}", "bash", "-c", TESTS, inside],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    good, said = outcome(ran.returncode, ran.stdout, started, time.time())
    if not good:
        print(ran.stdout, file=sys.stderr)
    shutil.rmtree(clone)
    return Row(name, good, said)


def newest(machine: Machine) -> str:
    """The newest Python that pyproject.toml names and this machine has."""
    found = (interpreter(version, machine.pythons) for version in reversed(versions()))
    return str(next(path for path in found if path is not None))


@contextlib.contextmanager
def users(count: int) -> Iterator[Sequence[str]]:
    """New users of this machine, removed afterwards. Raises NotHereError without the right to create them."""
    if os.geteuid() != 0 or any(shutil.which(tool) is None for tool in ("useradd", "userdel", "runuser")):
        raise NotHereError("needs root, with useradd, userdel and runuser")
    with contextlib.ExitStack() as stack:
        names = [f"trueload-{os.getpid()}-{number}" for number in range(count)]
        for name in names:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="trueload-home-"))
            subprocess.run(["useradd", "--no-create-home", "--home-dir", home, name], check=True)
            # Interrupted tests may have left a process.
            stack.callback(subprocess.run, ["userdel", "--force", name], check=True, capture_output=True)
            shutil.chown(home, name)
        yield names


def as_user(machine: Machine, user: str, home: Path | None = None) -> Place:
    """A place of another user, with the newest Python with which this user can make environments."""
    at = f"HOME={home or Path(f'~{user}').expanduser()}"
    words = [
        "runuser",
        "-u",
        user,
        "--",
        "env",
        "--chdir=/",
        at,
        f"PATH={USUAL_PATH}",
        f"USER={user}",
        f"LOGNAME={user}",
    ]
    for version in reversed(versions()):
        usual = [Path(folder, f"python{version}") for folder in USUAL_PATH.split(":")]
        for path in (*machine.pythons, *usual, *candidates(version)):
            asks = [*words, str(path), "-c", "import ensurepip, ssl, venv"]
            if subprocess.run(asks, capture_output=True).returncode == 0:
                return Place(str(path), words, user)
    raise NotHereError("no Python here can be started by another user: name one with --python")


def closed_home(machine: Machine) -> Path:
    """A home that only root can write."""
    path = machine.scratch / "closed-home"
    path.mkdir(mode=0o555, exist_ok=True)
    return path


def of_version(version: str) -> Callable[[Machine, str], Row]:
    """The place of a version of Python."""

    def run(machine: Machine, name: str) -> Row:
        python = interpreter(version, machine.pythons)
        if python is None:
            raise NotHereError(HOW_TO_GET)
        return tried(machine, name, Place(str(python)))

    return run


def closed_home_of_own(machine: Machine, name: str) -> Row:
    """The current user, with a home that cannot be written."""
    home, words = closed_home(machine), list[str]()
    if os.geteuid() == 0:  # File modes do not bind root, but mount options do.
        mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
        words = [*MOUNTS, "sh", "-c", mount, str(home)]
        if subprocess.run([*words, "true"], capture_output=True).returncode != 0:
            raise NotHereError("root may not mount, and nothing else keeps it from writing a home")
    return tried(machine, name, Place(newest(machine), [*words, "env", f"HOME={home}"]))


def another_user(machine: Machine, name: str) -> Row:
    """A user other than root."""
    with users(1) as (user,):
        return tried(machine, name, as_user(machine, user))


def another_user_closed_home(machine: Machine, name: str) -> Row:
    """A user other than root, whose home is root's and cannot be written."""
    with users(1) as (user,):
        return tried(machine, name, as_user(machine, user, closed_home(machine)))


def two_users(machine: Machine, name: str) -> Row:
    """Two users at once on one machine."""
    with users(2) as both, ThreadPoolExecutor() as threads:
        rows = list(threads.map(lambda user: tried(machine, user, as_user(machine, user)), both))
    return Row(name, all(row.good for row in rows), " | ".join(row.said for row in rows))


def older_processor(machine: Machine, name: str) -> Row:
    """numpy without the instructions of newer processors: results differ in their last digits, as between machines."""
    if platform.machine() != "x86_64":
        raise NotHereError("needs an x86_64 processor")
    newer = " ".join(np.show_config(mode="dicts")["SIMD Extensions"]["found"])
    words = ["env", "OPENBLAS_CORETYPE=Prescott", f"NPY_DISABLE_CPU_FEATURES={newer}"]
    return tried(machine, name, Place(newest(machine), words))


def of_debian(release: str) -> Callable[[Machine, str], Row]:
    """The place of a new Debian, with the newest Python that pyproject.toml names."""

    def run(machine: Machine, name: str) -> Row:
        if os.geteuid() != 0 or shutil.which("debootstrap") is None:
            raise NotHereError("needs root, and debootstrap")
        root, python = machine.scratch / "debian", f"python{versions()[-1]}"
        packages = f"--include={python}-venv,lib{python}-dev,ca-certificates,git,gcc,libc6-dev"
        words = ["debootstrap", "--variant=minbase", packages, release, str(root)]
        made = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode != 0:
            raise NotHereError(f"debootstrap: {(made.stdout.splitlines() or ['it said nothing'])[-1]}")
        for file in MACHINE:
            if Path("/", file).is_file():
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path("/", file), root / file)
        mounts = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
        inside = [*MOUNTS, "--pid", "--fork", "--kill-child", "sh", "-c", mounts, str(root)]
        settings = ["env", "--chdir=/", "HOME=/root", f"PATH={USUAL_PATH}", "TMPDIR=/tmp"]
        return tried(machine, name, Place(python, [*inside, *settings], root=root))

    return run


PLACES: dict[str, tuple[str, Callable[[Machine, str], Row]]] = {
    **{version: (f"Python {version}", of_version(version)) for version in versions()},
    "home": ("a home that cannot be written", closed_home_of_own),
    "user": ("a user other than root", another_user),
    "user-home": ("a user other than root, with a home that cannot be written", another_user_closed_home),
    "two-users": ("two users at once", two_users),
    "older": ("the arithmetic of an older processor", older_processor),
}


def main() -> int:
    """0 unless tests fail in a place."""
    parser = argparse.ArgumentParser(prog="scripts/test-places", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--python", action="append", type=Path, default=[], metavar="PATH", help="an interpreter to use"
    )
    parser.add_argument("--debian", metavar="RELEASE", help="also in a new Debian of this release, such as forky")
    parser.add_argument("--list", action="store_true", help="name the places")
    parser.add_argument("places", nargs="*", metavar="PLACE", help="default: all")
    given = parser.parse_args()
    places = dict(PLACES)
    if given.debian is not None:
        places["debian"] = (f"Debian {given.debian} with Python {versions()[-1]}", of_debian(given.debian))
    if unknown := [name for name in given.places if name not in places]:
        parser.error(f"no place is called {', '.join(unknown)}: --list names them")
    if given.list:
        print("\n".join(f"{name:<14} {what}" for name, (what, _) in places.items()))
        return 0
    with tempfile.TemporaryDirectory(prefix="trueload-places-") as scratch:
        Path(scratch).chmod(0o755)
        machine, failed = Machine(Path(scratch), given.python, hiding(Path(scratch))), False
        for name in given.places or places:
            print(f"== {places[name][0]}", file=sys.stderr, flush=True)
            try:
                row = places[name][1](machine, name)
            except NotHereError as e:
                row = Row(name, None, str(e))
            print(row, flush=True)
            failed |= row.good is False
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
