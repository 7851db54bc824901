"""bench/documents/, the types of summary.json, are what its schema says, and are for the type checker alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.support.imports import imports_at_run_time, inside, sources

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "bench" / "documents"
GENERATED = {"load", "numbers", "series", "server", "sessions", "summary", "tokens"}
TYPES = tuple(f"bench.documents.{name}" for name in GENERATED)


@pytest.mark.processes
def test_the_types_are_those_of_the_schema() -> None:
    program = (
        "import sys; sys.path.insert(0, 'scripts')\n"
        "import orjson, document_types\n"
        "sys.stdout.buffer.write(orjson.dumps(document_types.files()))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    kept = {path.stem: path.read_text() for path in FOLDER.glob("*.py") if path.stem in GENERATED}
    assert kept == orjson.loads(ran.stdout), "bench/documents/ is old: run scripts/document-types"


def test_no_module_loads_the_types_while_it_runs() -> None:
    rooms = {module: source for module, source in sources().items() if not inside(module, TYPES)}
    assert [
        module for module, source in rooms.items() if any(inside(name, TYPES) for name in imports_at_run_time(source))
    ] == []
