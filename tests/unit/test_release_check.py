"""scripts/release-check: its report about versions, changelogs, tags and schemas. This checkout keeps its schemas."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module("release_check")
    finally:
        sys.path.remove(str(ROOT / "scripts"))
        sys.modules.pop("release_check", None)


def test_no_file_of_this_checkout_breaks_what_its_schema_promised(script: ModuleType) -> None:
    kept = json.loads((ROOT / script.PROMISES).read_text(encoding="utf-8"))
    assert list(script.schema_problems(script.schemas(ROOT), kept)) == []
    assert {entry["schema"] for entry in kept.values()} >= {"trueload/summary/1", "trueload/certificate/1"}


def test_every_schema_that_is_published_is_among_them(script: ModuleType) -> None:
    published = {str(path.relative_to(ROOT)) for path in (ROOT / "bench").rglob("*.schema.json")}
    assert set(script.schemas(ROOT)) == published


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["schema", "n"],
    "properties": {
        "schema": {"const": "trueload/thing/1"},
        "n": {"type": "integer"},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"at": {"type": ["number", "null"]}}}},
        "part": {"$ref": "#/$defs/part"},
    },
    "$defs": {"part": {"type": "object", "properties": {"x": {"type": "number"}}}},
}


def _gone(schema: dict[str, Any]) -> None:
    del schema["properties"]["rows"]["items"]["properties"]["at"]


def _retyped(schema: dict[str, Any]) -> None:
    schema["$defs"]["part"]["properties"]["x"]["type"] = ["number", "null"]


def _loosened(schema: dict[str, Any]) -> None:
    schema["required"].remove("n")


def _added(schema: dict[str, Any]) -> None:
    schema["properties"]["new"] = {"type": "string"}
    schema["required"] += ["new", "rows"]


def _raised(schema: dict[str, Any]) -> None:
    schema["properties"]["schema"]["const"] = "trueload/thing/2"
    _gone(schema)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_gone, ["/rows/[]/at is gone"]),
        (_retyped, ["/part/x was number and is null|number"]),
        (_loosened, ["/n need not be there any more"]),
        (_added, []),
        (_raised, ["is trueload/thing/2 and"]),
    ],
)
def test_a_change_that_breaks_readers_needs_another_number(
    script: ModuleType, change: Callable[[dict[str, Any]], None], said: list[str]
) -> None:
    path = "bench/report/thing.schema.json"
    kept = json.loads(json.dumps(script.noted({path: SCHEMA})))
    changed = copy.deepcopy(SCHEMA)
    change(changed)
    found = list(script.schema_problems({path: changed}, kept))
    assert len(found) == len(said), found
    assert all(words in problem for words, problem in zip(said, found, strict=True)), found


def test_a_schema_that_is_new_or_gone_is_named(script: ModuleType) -> None:
    (new,) = script.schema_problems({"bench/fit/a.schema.json": SCHEMA}, {})
    assert (
        new
        == "bench/fit/a.schema.json is not noted in scripts/schema-promises.json: scripts/release-check --write-schemas"
    )
    (gone,) = script.schema_problems({}, script.noted({"bench/fit/a.schema.json": SCHEMA}))
    assert gone.startswith("bench/fit/a.schema.json is gone")


GOOD = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-01-31\n\n- That.\n\n## [0.1.0] - 2025-11-30\n\n- This.\n"


@pytest.mark.parametrize(
    ("version", "changelog", "tags", "said"),
    [
        ("0.2.0", GOOD, ["v0.1.0"], []),
        ("0.2", GOOD, [], ["'0.2' in pyproject.toml is not MAJOR.MINOR.PATCH"]),
        ("0.3.0", GOOD, ["v0.1.0"], ["begins with 0.2.0 and pyproject.toml says 0.3.0"]),
        ("0.2.0", GOOD, ["v0.1.0", "v0.2.0"], ["the tag v0.2.0 exists"]),
        ("0.2.0", GOOD, ["v0.10.0"], ["lower than the newest tag, v0.10.0"]),
        ("0.2.0", GOOD.replace("## [Unreleased]\n\n", ""), [], ["no heading '## [Unreleased]'"]),
        ("0.2.0", GOOD.replace("ased]\n", "ased]\n\n- More.\n"), [], ["lines below '## [Unreleased]'"]),
        (
            "0.1.0",
            "# Changelog\n\n## [Unreleased]\n\n- All.\n",
            [],
            ["has no version: write '## [0.1.0] - YYYY-MM-DD'"],
        ),
        ("0.2.0", GOOD.replace("[0.1.0]", "[0.10.0]"), [], ["out of order: 0.2.0, 0.10.0"]),
    ],
)
def test_version_changelog_and_tag_must_agree(
    script: ModuleType, version: str, changelog: str, tags: list[str], said: list[str]
) -> None:
    found = list(script.version_problems(version, changelog, tags))
    assert len(found) == len(said), found
    assert all(words in problem for words, problem in zip(said, found, strict=True)), found


def test_the_whole_check_reads_a_checkout(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(GOOD)
    schema = tmp_path / "bench" / "report" / "thing.schema.json"
    schema.parent.mkdir(parents=True)
    schema.write_text(json.dumps(SCHEMA))
    (tmp_path / "scripts").mkdir()
    (tmp_path / script.PROMISES).write_text(json.dumps(script.noted(script.schemas(tmp_path))))
    assert script.problems(tmp_path, ["v0.1.0"]) == []
    (tmp_path / script.PROMISES).unlink()
    assert len(script.problems(tmp_path, ["v0.2.0"])) == 2
