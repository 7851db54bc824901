"""Issue templates, and the files in the root for visitors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
KINDS = {"textarea", "input", "dropdown", "checkboxes", "markdown"}


def problems(form: dict[str, Any]) -> list[str]:
    """What GitHub would refuse in an issue form."""
    found = [f"no {key}" for key in ("name", "description", "body") if not form.get(key)]
    ids = []
    for part in form.get("body", ()):
        if part.get("type") not in KINDS:
            found.append(f"type {part.get('type')!r}")
        elif part["type"] != "markdown":
            ids.append(part.get("id"))
            if not part.get("attributes", {}).get("label"):
                found.append(f"{part.get('id')}: no label")
    if len(set(ids)) != len(ids) or None in ids:
        found.append("ids")
    if not any(part.get("validations", {}).get("required") for part in form.get("body", ())):
        found.append("nothing is required")
    return found


@pytest.mark.parametrize("path", [path for path in TEMPLATES if path.stem != "config"], ids=lambda path: path.stem)
def test_a_form_is_one_that_github_takes(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert problems(form) == []
    form["body"][0]["attributes"].pop("label")
    assert problems(form) != []


def test_the_configuration_of_the_templates_is_known() -> None:
    assert {path.stem for path in TEMPLATES} == {"config", "defect", "idea", "wrong-number"}
    assert yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml").read_text()) == {
        "blank_issues_enabled": True
    }


def test_the_list_for_changes_names_commands_that_exist() -> None:
    text = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    named = {word.strip("`") for word in text.split() if word.startswith("`scripts/")}
    assert named == {"scripts/check", "scripts/test"}
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_no_message_or_page_names_a_package_that_is_not_published() -> None:
    folders = ("bench", "datasets", "docs", "examples", "gpu", "mockserver", "scripts")
    files = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".md", ".py", ".yaml", ".sh")
    ]
    files += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    found = [path for path in files if re.search(r"pip install [^\n]*trueload\[", path.read_text(encoding="utf-8"))]
    assert found == [], "write `pip install PACKAGE`, or `pip install '.[extra]'` in a clone"
