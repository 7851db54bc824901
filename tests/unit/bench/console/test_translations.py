"""The console's translations: no message is missing, and every text on a page is in the catalogs."""

from __future__ import annotations

import ast
import gettext
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages.catalog import Catalog
from jinja2 import Environment, nodes
from markupsafe import Markup

from bench.console.language import (
    DOMAIN,
    ENGLISH,
    LANGUAGE,
    LANGUAGES,
    LOCALES,
    Phrase,
    choice_of,
    messages_of_scripts,
    shown,
    tr,
    words_of_scripts,
)
from bench.console.task import STATES

ROOT = Path(__file__).parents[4]
CONSOLE, REPORT = ROOT / "bench" / "console", ROOT / "bench" / "report" / "template"
OTHERS = [language for language in LANGUAGES if language != ENGLISH]
PLACES = re.compile(r"%\(\w+\)s")


@pytest.fixture(scope="module")
def translations() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import translations

        yield translations
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def template(translations: ModuleType) -> Catalog:
    extracted: Catalog = translations.extracted()
    return extracted


@pytest.fixture
def in_chinese() -> Iterator[None]:
    before = LANGUAGE.set("zh-CN")
    yield
    LANGUAGE.reset(before)


def problems(catalog: Catalog, template: Catalog) -> list[str]:
    """The problems of a catalog: run scripts/translations, and translate the listed messages."""
    shown_by_pages = {message.id for message in template if message.id}
    known = {message.id: message for message in catalog if message.id}
    found = [f"missing: {message}" for message in shown_by_pages - known.keys()]
    found += [f"shown by no page: {message}" for message in known.keys() - shown_by_pages]
    for message in known.values():
        if not message.string:
            found.append(f"not translated: {message.id}")
        elif message.fuzzy:
            found.append(f"fuzzy: {message.id}")
        elif sorted(set(PLACES.findall(str(message.id)))) != sorted(set(PLACES.findall(str(message.string)))):
            found.append(f"other placeholders: {message.id}")
        elif message.id.count("%%") != message.string.count("%%"):
            found.append(f"other percent signs: {message.id}")
    return [*found, *(f"obsolete: {message}" for message in catalog.obsolete)]


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalog_has_every_message_that_a_page_may_show(
    language: str, translations: ModuleType, template: Catalog
) -> None:
    assert problems(translations.read(language), template) == []


@pytest.mark.parametrize("language", OTHERS)
def test_the_compiled_catalog_is_that_of_its_text(language: str, translations: ModuleType) -> None:
    path = LOCALES / language.replace("-", "_") / "LC_MESSAGES" / f"{DOMAIN}.mo"
    with path.open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    catalog = translations.read(language)
    assert {m.id: compiled.gettext(m.id) for m in catalog if m.id} == {m.id: m.string for m in catalog if m.id}


def test_whatever_a_catalog_lacks_is_found() -> None:
    template, catalog = Catalog(), Catalog("zh_CN")
    for message in ("new", "%(n)s tasks", "1%% of %(n)s", "old", "unsure"):
        template.add(message)
    for message, text in (("%(n)s tasks", "%(m)s 个任务"), ("1%% of %(n)s", "%(n)s 的 1%"), ("old", ""), ("gone", "x")):
        catalog.add(message, text)
    catalog.add("unsure", "不确定", flags=["fuzzy"])
    assert problems(catalog, template) == [
        "missing: new",
        "shown by no page: gone",
        "other placeholders: %(n)s tasks",
        "other percent signs: 1%% of %(n)s",
        "not translated: old",
        "fuzzy: unsure",
    ]


# Texts outside the marker.

ALLOWED = frozenset({
    "Trueload", "API", "YAML", "URL", "HTML", "TTFT", "TPOT", "E2EL", "UTC", "p50", "p99", "ms", "P90", "P95", "P99",
    "Markdown", "KiB", "MiB", "GiB",
})  # fmt: skip
"""Words that are the same in every language."""
SHOWN_ATTRIBUTES = ("title", "aria-label", "placeholder", "alt", "data-name")
OF_REPORTS = {"banner", "section", "groups", "block", "table", "cell_of", "axis", "facts", "fact_table", "findings", "tiles",
              "copyable", "two_texts"}  # fmt: skip
"""Macros of blocks.html.j2 that no page of the console uses."""
EXAMPLES = re.compile(
    r"https?://\S+|openai/gsm8k|X-Tenant: \w+|concurrency(: 10|,model)|\{\"messages.*|Shaded: .*"
    r"|Drag over a chart to choose.*|Every \d*th row.*"
)
"""Values to type, and texts that the scripts of a live page replace or never show."""


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value for name, value in attrs if name in SHOWN_ATTRIBUTES and value]


def english_of_template(source: str, left_out: frozenset[str] | set[str] = frozenset()) -> list[str]:
    """Texts shown by a template that are not arguments of `tr`."""
    tree = Environment(autoescape=True).parse(source)
    for macro in list(tree.find_all(nodes.Macro)):
        if macro.name in left_out:
            macro.body = []
    parser = _Texts()
    parser.feed("".join(node.data if isinstance(node, nodes.TemplateData) else "" for node in _data(tree)))
    marked = {id(const) for call in tree.find_all(nodes.Call) if _is_tr(call) for const in call.find_all(nodes.Const)}
    consts = [
        c.value
        for c in tree.find_all(nodes.Const)
        if isinstance(c.value, str) and id(c) not in marked and c.value not in STATES
    ]
    # In expressions, constants that are states, fields or paths are not texts. A text has a capital letter or a space.
    texts = [*parser.texts, *(c for c in consts if re.search(r"^[A-Z][a-z]|[A-Za-z]+ [a-z]", c) and "</" not in c)]
    return [text.strip() for text in texts if _has_english(text)]


def _data(tree: nodes.Node) -> Iterator[nodes.Node]:
    for child in tree.iter_child_nodes():
        if isinstance(child, nodes.Output):
            yield from child.nodes
        else:
            yield from _data(child)


def _is_tr(call: nodes.Call) -> bool:
    return isinstance(call.node, nodes.Name) and call.node.name == "tr"


def _has_english(text: str) -> bool:
    words = re.findall(r"[A-Za-z][A-Za-z0-9]+", EXAMPLES.sub("", text))
    return any(word not in ALLOWED for word in words)


CODE = re.compile(
    r"^<|[#.\[:>][\w\[=-]|^[a-z-]+ [a-z-]+$|^\S*$|^[a-z-]+=|use strict|^M\$|^verdict |^state |^pill |^key |^_blank"
)
"""Selectors, classes and other strings of a script that nobody reads."""


def english_of_script(source: str) -> list[str]:
    """Texts of a script with two words or more that are not arguments of `tr`."""
    code = re.sub(r"^\s*//.*$|\s//\s.*$", "", source, flags=re.MULTILINE)
    code = re.sub(r'\btr\("(?:[^"\\]|\\.)*"', "", code)
    texts = re.findall(r'"((?:[^"\\\n]|\\.)*)"(?!: )|`((?:[^`\\]|\\.)*)`', code)
    found = [re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", " ", one or other).strip() for one, other in texts]
    return [
        text
        for text in found
        if re.search(r"[A-Za-z]{2,} [a-z]{2,}", text) and text not in STATES and not CODE.search(text)
    ]


def unmarked_errors(source: str) -> list[int]:
    """The console's errors whose sentence is a bare string, by line."""
    errors = {"ConsoleError", "NotFound", "Conflict", "TooLarge", "DiskProblem", "Damaged"}
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors and node.args
        and isinstance(node.args[0], ast.JoinedStr | ast.BinOp | ast.Constant)
    ]  # fmt: skip


def test_pages_show_no_text_outside_the_marker() -> None:
    templates = {path.name: english_of_template(path.read_text("utf-8")) for path in CONSOLE.glob("templates/*.j2")}
    # The charts of a live page are those of a report.
    templates["blocks"] = english_of_template((REPORT / "blocks.html.j2").read_text("utf-8"), OF_REPORTS)
    assert {name: texts for name, texts in templates.items() if texts} == {}
    scripts = {
        path: english_of_script(path.read_text("utf-8"))
        for path in (*CONSOLE.glob("static/*.js"), *REPORT.glob("*.js"))
    }
    assert {path.name: texts for path, texts in scripts.items() if texts} == {}
    errors = {path: unmarked_errors(path.read_text("utf-8")) for path in CONSOLE.rglob("*.py")}
    assert {path.name: lines for path, lines in errors.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "<p>Start now</p>",
        '<button title="Start it">{{ tr("Go") }}</button>',
        '<p>{{ "Nothing yet" if a else tr("b") }}</p>',
        '{{ post("/a", "Delete", csrf) }}',
        "<p>{{ n }} tasks</p>",
        "{% if a %}<b>all</b>{% endif %}",
    ],
)
def test_a_text_outside_the_marker_is_found(source: str) -> None:
    assert english_of_template(source) != []


def test_texts_of_scripts_and_errors_outside_the_marker_are_found() -> None:
    assert english_of_script('a.textContent = "Not yet known";') == ["Not yet known"]
    assert english_of_script("a.append(`about ${n} seconds left`);") == ["about   seconds left"]
    assert english_of_script('a.textContent = tr("Not yet known");  // Not this one') == []
    assert unmarked_errors(
        'raise NotFound(f"no task {name}")\nraise Conflict(tr("no"))\nraise ConsoleError("a" + b)'
    ) == [1, 3]


# Rendered pages.


def test_scripts_are_given_the_messages_that_their_extractor_finds(template: Catalog) -> None:
    found = {m.id for m in template if m.id and any(place.endswith(".js") for place, _ in m.locations)}
    assert set(messages_of_scripts()) == found


def test_scripts_get_no_words_in_english(in_chinese: None) -> None:
    assert words_of_scripts("ended")["ended"] == "已结束"
    LANGUAGE.set(ENGLISH)
    assert words_of_scripts("ended") == {}


def test_a_phrase_is_english_until_a_page_shows_it(in_chinese: None) -> None:
    phrase = tr("%(task)s is %(state)s: stop it first", task="a", state=Phrase("running"))
    assert (f"{phrase}", str(ValueError(phrase))) == ("a is running: stop it first",) * 2
    # Errors and values keep what their translation needs.
    assert shown(str(ValueError(phrase))) == "a 的状态是“运行中”：请先停止它"
    assert shown("a is running") == "a is running"
    assert shown(Phrase("of no catalog")) == "of no catalog"
    assert shown(tr("")) == ""


def test_links_in_a_sentence_stay_links_and_what_came_from_outside_does_not(in_chinese: None) -> None:
    text = shown(tr("%(name)s: %(sentence)s", name=Markup("<a href=/>x</a>"), sentence="<b>"))
    assert text == "<a href=/>x</a>：&lt;b&gt;"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"), ("en-GB,en;q=0.9,zh;q=0.8", "en"), ("zh-Hans", "zh-CN"),
        ("de,zh;q=0.3", "zh-CN"), ("de", "en"), ("en;q=0.1, zh-TW;q=0.2", "zh-CN"), ("zh;q=0", "en"), ("zh;q=much", "en"),
        ("*", "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_that_the_browser_prefers(accepted: str, language: str) -> None:
    assert choice_of(accepted) == language
