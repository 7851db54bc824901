"""Runs a block of a page of the documentation; tests/support/documentation.py finds them."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import find_spec
from shutil import which

import pytest
import yaml

from bench.config import read_yaml, resolve
from bench.endpoints.definition import read_definition
from bench.tuning.spec import read as read_spec
from bench.tuning.spec import spec_of
from mockserver.cli import read_arguments
from tests.support.documentation import (
    ROOT,
    SERVERS,
    Block,
    Workplace,
    blocks_of,
    commands_of,
    configuration_name,
    labels,
    patient,
)

_PAGES_OF_DOCS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
_PAGES_OF_EXAMPLES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "examples").rglob("README.md"))
PAGES = ["README.md", *_PAGES_OF_DOCS, "gpu/README.md", "CONTRIBUTING.md", *_PAGES_OF_EXAMPLES]
BLOCKS = {page: blocks_of(page, (ROOT / page).read_text(encoding="utf-8")) for page in PAGES}


def run_block(place: Workplace, blocks: list[Block], at: int) -> None:
    """Run one block; AssertionError names the failing block and its output."""
    block = blocks[at]
    if block.language == "console":
        for command in commands_of(block):
            run_command(place, block, command.words, command.shown)
    elif block.language == "python":
        (place.folder / "example.py").write_text(place.at_real_addresses(block.text))
        ran = place.run(f"{sys.executable} -W error example.py")
        # If the client was stopped for a while, there are no runs to compare.
        assert ran.returncode == 0 or "INVALID" in ran.stderr, f"{block}: {ran.stderr}"
    elif block.language == "yaml":
        read_file(place, blocks, at)
    elif block.language == "json":
        json.loads(block.text)


def read_file(place: Workplace, blocks: list[Block], at: int) -> None:
    """Read a file that a page shows, with its real reader."""
    block = blocks[at]
    name, for_mock = configuration_name(blocks, at)
    (place.folder / name).write_text(place.at_real_addresses(block.text))
    if for_mock:
        read_arguments(["--config", str(place.folder / name)])
    elif block.text.startswith("apiVersion:"):
        # A manifest for a cluster; tests/unit/bench/scale checks its content.
        assert yaml.safe_load(block.text)["kind"]
    elif block.text.startswith("- uses:"):  # Steps of a workflow with our action.
        inputs = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"].keys()
        assert all(step["with"].keys() <= inputs for step in yaml.safe_load(block.text))
    elif block.text.startswith("classes:"):
        resolve({"url": "http://127.0.0.1:8000", "mix": str(place.folder / name)})
    elif block.text.startswith("path:"):
        read_definition(place.folder / name)
    elif block.text.startswith("server:"):
        spec_of(read_spec(place.folder / name), lambda settings: resolve(dict(settings)))
    elif block.text.startswith("like:"):
        resolve({"url": "http://127.0.0.1:8000", "mode": "sessions", "dataset": str(place.folder / name)})
    else:
        resolve({}, {"url": "http://127.0.0.1:8000", **read_yaml(place.folder / name)}, name)


def run_command(place: Workplace, block: Block, words: str, shown: tuple[str, ...]) -> None:
    if words.startswith("scripts/real-server") and find_spec("xllamacpp") is None:
        pytest.skip("the rest of the page needs the extra `real`")
    if words.startswith("curl ") and which("curl") is None:
        return
    if words.startswith(tuple(SERVERS)) and "--help" not in words:
        place.serve(words)
        return
    ran = place.run(words)
    printed = ran.stdout + ran.stderr
    short = {1: "ended: the budget was spent|^Not shown: ", 3: "ended: this client cannot measure more"}.get(
        ran.returncode
    )
    is_search = re.search("python -m bench (search|report)", words)
    if short is not None and is_search and re.search(short, ran.stdout, re.MULTILINE):
        return  # On a busy machine a search of seconds may find nothing, which is a correct answer, too.
    # If the client was stopped for a while, no run is VALID: status 3, from the run and from every report of it.
    honest = ran.returncode == 3 and re.search("(^|[ |])(trueload|python -m bench) ", words) is not None
    if ran.returncode == 2 and words.startswith("python -m bench compare") and "INVALID" in printed:
        return  # Too few runs are left to compare.
    if honest and ("The client is the limit" in printed or "is INVALID" in ran.stderr):
        return
    assert ran.returncode == 0 or honest, f"{block}: `{words}` exits {ran.returncode}\n{printed}"
    gone = [label for label in labels(tuple(map(patient, shown))) if label not in printed]
    assert not gone, f"{block}: `{words}` no longer prints {gone}, but:\n{printed}"
