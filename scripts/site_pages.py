"""What the documentation site has beside docs/: reference pages, and pages of the root. A hook of mkdocs (mkdocs.yml)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
import reference

ROOT = Path(__file__).parents[1]
PROJECT = {
    "CHANGELOG.md": "project/changelog.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "gpu/README.md": "project/gpu.md",
}
"""Pages outside docs/, and where they are in the site."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not files in docs/."""
    for name, make in reference.PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    for name, place in PROJECT.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Marks of our tests leave the fences; links to files outside docs/ lead to their page in the site, or become text."""
    markdown = re.sub(r"^(\s*```\w+) workflow$", r"\1", markdown, flags=re.MULTILINE)
    source = next((name for name, place in PROJECT.items() if place == page.file.src_uri), None)
    here = ROOT / source if source else ROOT / "docs" / page.file.src_uri

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found.groups()
        path = (here.parent / target).resolve()
        if source is None and path.is_relative_to(ROOT / "docs"):
            return found[0]
        return _link(text, path, anchor or "", page.file.src_uri)

    return re.sub(r"(?<!!)\[([^]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)", link, markdown)


def _link(text: str, path: Path, anchor: str, page: str) -> str:
    """A link from a page of the site to a file of the project; where the site has no such page, its words alone."""
    inside = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
    place = inside.removeprefix("docs/") if inside.startswith("docs/") else PROJECT.get(inside)
    if place is None:
        return text
    return f"[{text}]({'../' * page.count('/')}{place}{anchor})"


FROM_ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload|icon)[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>",
    re.IGNORECASE,
)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """A page asks no other host for anything."""
    if (found := FROM_ELSEWHERE.search(output)) is not None:
        raise PluginError(f"{page.file.src_uri} loads something from another host: {found[0]}")
    return output
