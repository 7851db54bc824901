"""The README from top to bottom, as a newcomer follows it: a fresh clone, one shell, nothing installed, in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files, requires
from pathlib import Path
from shutil import which

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.documentation import (
    LEFT_OUT,
    MEASURES,
    NO_COMMANDS,
    ROOT,
    Shell,
    blocks_of,
    commands_of,
    labels,
    patient,
)
from tests.support.held_port import held_port
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import IMPORTED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NOT_TYPED = {"scripts/test": "runs this very test"}
NOT_COMPILED = {"PIP_NO_COMPILE": "0"}
"""pip's way to say yes: modules that nothing here imports are not compiled, which would take longer than unpacking
them."""
UNWANTED = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "OPENAI_API_KEY", "PYTEST_ADDOPTS", "PYTHONWARNINGS")


def environment(cache: Path) -> dict[str, str]:
    """The environment of a user who has not activated any: ours is neither on the path nor in a variable."""
    ours = {str(Path(sys.executable).parent), str(ROOT / ".venv" / "bin")}
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    path = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if part not in ours)
    return {**kept, "PATH": path, "XDG_CACHE_HOME": str(cache), **NOT_COMPILED} | _pip_cache()


def _pip_cache() -> dict[str, str]:
    """pip keeps using its existing cache: the packages have been downloaded before."""
    asked = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False)
    return {"PIP_CACHE_DIR": asked.stdout.strip()} if asked.returncode == 0 else {}


def fresh_clone(folder: Path) -> Path:
    """This checkout as git has it, with uncommitted changes."""
    clone = folder / "trueload"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    changes = subprocess.run(["git", "diff", "HEAD", "--binary"], cwd=ROOT, capture_output=True, check=True).stdout
    if changes:
        subprocess.run(["git", "apply"], cwd=clone, input=changes, check=True)
    return clone


@pytest.fixture
def ports() -> Iterator[dict[str, str]]:
    """Ports instead of the page's own, which other programs may use."""
    with held_port() as one, held_port() as other:
        yield {"8000": str(one), "8001": str(other)}


# test_documentation_examples.py runs the page's commands in an existing environment. The test below checks that they
# need no more than scripts/environment installs. .ci/run starts with an installation in a fresh clone.
@pytest.mark.long
def test_the_readme_works_as_it_stands_in_its_order_in_a_fresh_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ports: dict[str, str]
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")  # The tests have their own cache; pip uses the user's.
    env = environment(tmp_path / "cache")
    clone = fresh_clone(tmp_path)
    shell = Shell(clone, env)
    typed = []
    try:
        for block in blocks_of("README.md", (clone / "README.md").read_text(encoding="utf-8")):
            assert block.language in ("console", *LEFT_OUT, *NO_COMMANDS), f"{block}: no test runs it"
            for command in commands_of(block) if block.language == "console" else ():
                words = command.words
                if words in NOT_TYPED or (words.startswith("curl ") and which("curl") is None):
                    continue
                if words == "python -m mockserver &":
                    words = "python -m mockserver --port 8000 &"
                for shown, free in ports.items():
                    words = words.replace(shown, free)
                status, printed = shell.type(patient(words))
                honest = status == 3 and MEASURES.match(words) and "INVALID" in printed
                assert status == 0 or honest, f"{block}: `{words}` exits {status}\n{printed}"
                gone = [label for label in labels(tuple(map(patient, command.shown))) if label not in printed]
                assert not gone, f"{block}: `{words}` no longer prints {gone}, but:\n{printed}"
                if status == 3 and words.startswith("scripts/demo"):
                    assert "docs/troubleshooting.md" in printed
                typed.append(command.words)
    finally:
        shell.close()
    assert typed[:2] == ["scripts/demo", ". .venv/bin/activate"]
    assert len(typed) >= 7


def core() -> set[str]:
    """The distributions of a plain installation: our requirements, and theirs."""
    found: set[tuple[str, str]] = set()
    left = {("trueload", "")}
    while left - found:
        name, extra = one = (left - found).pop()
        found.add(one)
        try:
            required = requires(name) or ()
        except PackageNotFoundError:  # A requirement for another system.
            continue
        for requirement in map(Requirement, required):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                left |= {(canonicalize_name(requirement.name), each) for each in ("", *requirement.extras)}
    return {name for name, _ in found}


NOTHING_ELSE = """
import importlib, json, sys, sysconfig

installed, needed = json.loads(sys.argv[1])

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        own = sys.stdlib_module_names | {*sys.builtin_module_names, sysconfig._get_sysconfigdata_name()}
        if name.partition(".")[0] not in own.union(installed):
            raise ModuleNotFoundError(f"{name} is not installed")

sys.meta_path.insert(0, NotInstalled())
for name in needed:
    importlib.import_module(name)
"""


def test_a_run_and_a_mock_import_only_what_a_plain_installation_brings() -> None:
    brought = core()
    assert "orjson" in brought
    assert not brought & {"scipy", "pytest", "s3fs"}
    installed = {file.parts[0].partition(".")[0] for name in brought for file in files(name) or ()}
    asked = json.dumps([[*installed, "bench", "mockserver", "promptset"], IMPORTED])
    ran = subprocess.run(
        [sys.executable, "-c", NOTHING_ELSE, asked], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    "module", ["bench run --url http://127.0.0.1:1", "bench report x", "bench dataset", "mockserver"]
)
def test_without_the_package_one_sentence_says_so(module: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    words = [str(tmp_path / "bare" / "bin" / "python"), "-m", *module.split()]
    ran = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, timeout=PATIENCE_S
    )
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "Trueload is not installed there" in ran.stderr
    assert ". .venv/bin/activate" in ran.stderr


def test_a_python_that_is_not_there_is_not_called_old() -> None:
    words = [str(ROOT / "scripts" / "environment")]
    ran = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PYTHON": "no-such-python"}, timeout=PATIENCE_S
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: there is no no-such-python here: install Python 3.11 or newer")
    assert ran.stderr.count("\n") == 1
