"""What stands between this checkout and a release, as far as a program can see. Exit status 1 if something does.

scripts/release-check                  the version of pyproject.toml against the changelog, the tag and the schemas
scripts/release-check --write-schemas  records what the schemas promise today
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROMISES = "scripts/schema-promises.json"
"""What each schema promised when its number was last raised."""
SCHEMAS = ("bench/report", "bench/load_search", "bench/fit")
VERSION = re.compile(r"\d+\.\d+\.\d+")
HEADING = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def promises(schema: Mapping[str, Any]) -> dict[str, str]:
    """What a schema promises to readers of the file: the type of each key, with `!` if the key is always present.

    A new key breaks no reader, nor does a key that is always present from now on. A removed key, a changed type, or a
    key that may now be absent does.
    """
    found: dict[str, str] = {}
    parts: Mapping[str, Mapping[str, Any]] = schema.get("$defs", {})

    def forms(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The node, or what it refers to, or each of its choices."""
        if "$ref" in node:
            return forms(parts[node["$ref"].rsplit("/", 1)[1]])
        choices = (*node.get("anyOf", ()), *node.get("oneOf", ()))
        return [form for choice in choices for form in forms(choice)] or [node]

    def walk(nodes: Sequence[Mapping[str, Any]], path: str, always: bool) -> None:
        """Record what a key holds: one of these nodes, from the alternative forms of a file."""
        choices = [form for node in nodes for form in forms(node)]
        kinds = {kind for form in choices for kind in _kinds(form)}
        kinds -= {"integer"} if "number" in kinds else set()
        found[path] = "|".join(sorted(kinds)) + "!" * always
        objects = [form for form in choices if "properties" in form]
        for name in dict.fromkeys(name for form in objects for name in form["properties"]):
            children = [form["properties"][name] for form in objects if name in form["properties"]]
            walk(children, f"{path}/{name}", all(name in form.get("required", ()) for form in objects))
        for name, shown in (("items", "[]"), ("additionalProperties", "*")):
            if children := [form[name] for form in choices if isinstance(form.get(name), dict)]:
                walk(children, f"{path}/{shown}", False)

    walk([schema], "", False)
    return found


_OF_VALUES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def _kinds(form: Mapping[str, Any]) -> Iterator[str]:
    """The types that a form of a key allows."""
    if "const" in form or "enum" in form:
        yield from (_OF_VALUES[type(value)] for value in form.get("enum", [form.get("const")]))
    elif isinstance(kind := form.get("type", ""), list):
        yield from kind
    else:
        yield kind


def schema_name(schema: Mapping[str, Any]) -> str:
    """`trueload/summary/1`: the name with version number that a file of this schema carries."""
    name: str = schema["properties"]["schema"]["const"]
    return name


def schemas(root: Path) -> dict[str, Mapping[str, Any]]:
    """The schemas of the checkout, by path."""
    paths = sorted(path for folder in SCHEMAS for path in (root / folder).glob("*.schema.json"))
    return {str(path.relative_to(root)): json.loads(path.read_text(encoding="utf-8")) for path in paths}


def noted(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The record of the schemas: their names, and a line per promise."""
    return {path: {"schema": schema_name(schema), "promises": promises(schema)} for path, schema in found.items()}


def schema_problems(found: Mapping[str, Mapping[str, Any]], kept: Mapping[str, Any]) -> Iterator[str]:
    """Where a schema breaks a promise under the same number."""
    for path, before in kept.items():
        if path not in found:
            yield f"{path} is gone, and programs read files of it: keep it, or take it out of {PROMISES} with a major version"
            continue
        name, now = schema_name(found[path]), promises(found[path])
        if name != before["schema"]:
            yield f"{path} is {name} and {PROMISES} notes {before['schema']}: scripts/release-check --write-schemas"
            continue
        for key, kind in before["promises"].items():
            if (broken := _broken(kind, now.get(key))) is not None:
                yield f"{path}: {key or 'the whole'} {broken}: raise the number of {name}, or keep it as it was"
    for path in found:
        if path not in kept:
            yield f"{path} is not noted in {PROMISES}: scripts/release-check --write-schemas"


def _broken(before: str, now: str | None) -> str | None:
    """How a key breaks its promise; None if it does not."""
    if now is None:
        return "is gone"
    if now.removesuffix("!") != before.removesuffix("!"):
        return f"was {before.removesuffix('!') or 'of any type'} and is {now.removesuffix('!') or 'of any type'}"
    return "need not be there any more" if before.endswith("!") and not now.endswith("!") else None


def version_problems(version: str, changelog: str, tags: list[str]) -> Iterator[str]:
    """Problems with the version, its heading in the changelog and its tag."""
    if not VERSION.fullmatch(version):
        yield f"version {version!r} in pyproject.toml is not MAJOR.MINOR.PATCH"
        return
    headings = [found[0] for found in HEADING.findall(changelog)]
    if "## [Unreleased]" not in changelog:
        yield "CHANGELOG.md has no heading '## [Unreleased]': put an empty one above the newest version"
    if not headings:
        yield f"CHANGELOG.md has no version: write '## [{version}] - YYYY-MM-DD' below '## [Unreleased]'"
    elif headings[0] != version:
        yield f"CHANGELOG.md begins with {headings[0]} and pyproject.toml says {version}: they must be the same"
    if headings != sorted(headings, key=_order, reverse=True):
        yield f"CHANGELOG.md has its versions out of order: {', '.join(headings)}"
    unreleased = changelog.partition("## [Unreleased]")[2].partition("\n## [")[0]
    if headings and unreleased.strip():
        yield "CHANGELOG.md has lines below '## [Unreleased]': move them below the version that they are in"
    if f"v{version}" in tags:
        yield f"the tag v{version} exists: this version is out, raise the number in pyproject.toml"
    newest = max(
        (tag.removeprefix("v") for tag in tags if VERSION.fullmatch(tag.removeprefix("v"))), key=_order, default=None
    )
    if newest is not None and _order(version) < _order(newest):
        yield f"version {version} is lower than the newest tag, v{newest}"


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def problems(root: Path, tags: list[str]) -> list[str]:
    """Everything that a release of this checkout lacks."""
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    kept = json.loads((root / PROMISES).read_text(encoding="utf-8")) if (root / PROMISES).exists() else {}
    return [*version_problems(version, changelog, tags), *schema_problems(schemas(root), kept)]


def main() -> int:
    """Print every problem of the checkout."""
    if "--write-schemas" in sys.argv[1:]:
        text = json.dumps(noted(schemas(ROOT)), indent=1, sort_keys=True)
        (ROOT / PROMISES).write_text(text + "\n", encoding="utf-8")
        return 0
    listed = subprocess.run(["git", "tag", "--list", "v*"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = problems(ROOT, listed.stdout.split())
    print("\n".join(f"- {problem}" for problem in found) or "nothing stands against a release")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
