"""The pages that the documentation site has besides docs/: reference pages, and pages of the root. An mkdocs hook
(mkdocs.yml)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

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
"""Pages outside docs/, and their place in the site."""
BOOST = {
    "glossary.md": 2,
    "metrics.md": 1.5,
    "usage.md": 1.5,
    "dev/": 0.05,
    "project/": 0.2,
    "commands.md": 0.2,
    "reference/": 0.1,
}
"""Search weights, by the start of a page's path: definitions first, generated lists and the maintainers' book last."""

LANGUAGES = {".sh": "bash", ".yml": "yaml"}
"""The files of an example that the site shows."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files in docs/."""
    for name, make in reference.PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    files.append(File.generated(config, "howto/examples.md", content=examples()))
    for name, place in PROJECT.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def examples() -> str:
    """One page of all examples: what each is for, and its script."""
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8").replace("](../docs/", "](../../docs/")
    parts = [re.sub(r"\]\((\w[\w-]*)/README\.md\)", r"](#\1)", text)]
    for readme in sorted((ROOT / "examples").glob("*/README.md")):
        title, _, rest = readme.read_text(encoding="utf-8").partition("\n")
        rest = re.sub(r"\[([^]]+)\]\(\w[\w.-]*\)", r"`\1`", rest)  # Files beside it.
        parts.append(f"## {title.removeprefix('# ')} {{ #{readme.parent.name} }}\n{rest}")
        for path in sorted(path for path in readme.parent.iterdir() if path.suffix in LANGUAGES):
            name = path.relative_to(ROOT)
            parts.append(f'```{LANGUAGES[path.suffix]} title="{name}"\n{path.read_text(encoding="utf-8")}```\n')
    return "\n".join(parts)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files outside docs/ lead to their page in the site, or become text."""
    page.meta["search"] = {"boost": next((by for start, by in BOOST.items() if page.file.src_uri.startswith(start)), 1)}
    if page.file.src_uri == "glossary.md":
        page.meta["hide"] = ["toc"]  # Each term is a heading, so that the search finds it.
    # GitHub requires escaped bars in a code span in a table; here they are taken literally.
    markdown = re.sub(r"^\|.*\|$", lambda row: re.sub(r"`[^`]*`", _bare_bars, row[0]), markdown, flags=re.MULTILINE)
    source = next((name for name, place in PROJECT.items() if place == page.file.src_uri), None)
    here = ROOT / source if source else ROOT / "docs" / page.file.src_uri

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found.groups()
        path = (here.parent / target).resolve()
        return _link(text, path, anchor or "", page.file.src_uri)

    return re.sub(r"(?<!!)\[([^]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)", link, markdown)


def _bare_bars(code: re.Match[str]) -> str:
    return code[0].replace("\\|", "|")


def _link(text: str, path: Path, anchor: str, page: str) -> str:
    """A link from a page of the site to a file of the project; plain text if the site has no such page."""
    inside = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
    place = inside.removeprefix("docs/") if inside.startswith("docs/") else PROJECT.get(inside)
    if inside.startswith("examples/"):
        place, anchor = "howto/examples.md", f"#{path.parent.name}" if path.parent.parent.name == "examples" else ""
    if place is None:
        return text
    if place == "reference/index.md" and anchor.removeprefix("#") in reference.PAGES:
        place, anchor = f"reference/{anchor.removeprefix('#')}.md", ""  # Not on GitHub, where the index explains it.
    return f"[{text}]({'../' * page.count('/')}{place}{anchor})"


ONE_WORD = re.compile(r"<code>([^<\s]{1,44})</code>")
"""Code that may not break at its hyphens and slashes. A longer word would not fit a phone."""
WORDS = re.compile(r"<code>([^<\n]* [^<\n]*)</code>")
"""Code of several words, which may break between them."""
FIGURES = re.compile(r"<td>([+\-\d][^<]{0,23})</td>")
"""Cells such as `+0.005 / +0.005`, which scroll sideways on a phone instead of taking three lines."""


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mark the words of code and cells of figures, which assets/site.css keeps on one line."""
    html = WORDS.sub(_words, ONE_WORD.sub(r'<code class="word">\1</code>', html))
    return FIGURES.sub(r'<td class="word">\1</td>', html)


def _words(code: re.Match[str]) -> str:
    marked = (f'<span class="word">{word}</span>' if 1 < len(word) < 45 else word for word in code[1].split(" "))
    return f"<code>{' '.join(marked)}</code>"


FROM_ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload|icon)[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>",
    re.IGNORECASE,
)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Raises PluginError if a page loads anything from another host."""
    if (found := FROM_ELSEWHERE.search(output)) is not None:
        raise PluginError(f"{page.file.src_uri} loads something from another host: {found[0]}")
    return output
