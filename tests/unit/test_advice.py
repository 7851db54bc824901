"""A sentence recommends only flags of the command that prints it, or of a command that it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import mockserver.cli
import promptset.cli
from bench.commands.parsers import parser_of, parsers

ROOT = Path(__file__).parents[2]
MOCK, PROMPTSET = "mockserver", "promptset"
PRINTS = {
    "bench": "run",
    "bench/accuracy": "calibrate",
    "bench/agents": "mcp",
    "bench/answer_quality": "quality",
    "bench/calibrate": "calibrate",
    "bench/capacity_plan": "plan",
    "bench/comparison": "compare",
    "bench/console": "console",
    "bench/console/comparing.py": "compare",
    "bench/console/form_words.py": "run",
    "bench/console/settings_form.py": "run",
    "bench/console/task_queue.py": "search",
    "bench/documents/gate_document.py": "gate",
    "bench/documents/plan_document.py": "plan",
    "bench/documents/tune_document.py": "tune",
    "bench/exports": "export",
    "bench/fit": "fit",
    "bench/limits": "limits",
    "bench/load_search": "search",
    "bench/load_sweep": "sweep",
    "bench/machine/machine_cache.py": "limits",
    "bench/process/mock_process.py": "calibrate",
    "bench/release_gate": "gate",
    "bench/scale/cluster/collect.py": "report",
    "bench/statistics/gate.py": "gate",
    "bench/tuning": "tune",
    "datasets/promptset": PROMPTSET,
    "datasets/promptset/loaders/dataset.py": "plan",
    "datasets/promptset/loaders/http_requests.py": "run",
    "datasets/promptset/loaders/inputs.py": "run",
    "datasets/promptset/recipes": "run",
    "mockserver": MOCK,
}
"""The command that prints the sentences of a folder or file: for rooms shared by several commands, the one with the
fewest flags. A file of bench/commands prints those of its command."""
OF_OTHERS = ("bench/imports", "bench/commands/import_result.py")
"""Their flags are those with which other load testers were run."""
OTHER_PROGRAMS = re.compile(r"vLLM:|[Dd]ocker|llama-server|\{port\}|--print-completion")
"""Sentences with flags of other programs, and with parts of a flag."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")


@cache
def flags() -> dict[str, frozenset[str]]:
    every = {**parsers(), MOCK: mockserver.cli._parser(), PROMPTSET: parser_of(promptset.cli.main)}
    return {name: frozenset(parser._option_string_actions) for name, parser in every.items()}


def sentences(source: str) -> Iterator[tuple[int, str]]:
    """The texts of a file that are not docstrings, with their lines."""
    tree = ast.parse(source)
    parts: set[int] = set()
    for node in ast.walk(tree):
        text, line = "", getattr(node, "lineno", 0)
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Expr):
            parts.add(id(node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        if " " in text.strip():
            yield line, text


def printer_of(path: str) -> str:
    name = Path(path).stem.replace("import_result", "import").replace("_", "-")
    if path.startswith("bench/commands/") and name in flags():
        return name
    return PRINTS[max((place for place in PRINTS if f"{path}/".startswith(f"{place}/")), key=len)]


def unknown(path: str, source: str) -> list[str]:
    """The recommended flags that do not exist."""
    found = []
    for line, text in sentences(source) if FLAG.search(source) else ():
        advised = FLAG.findall(text)
        if not advised or OTHER_PROGRAMS.search(text):
            continue
        named = [name for name in flags() if re.search(rf"\b{name}s?\b", re.sub(r"\bmocks?\b", MOCK, text))]
        named += [MOCK] if text.startswith(("--ttft", "--profile {", "{} --")) else []
        known = frozenset[str]().union(*(flags()[name] for name in (printer_of(path), *named)))
        found += [f"{path}:{line}: {flag} in {text!r}" for flag in advised if flag not in known]
    return found


def test_every_flag_that_a_sentence_names_exists() -> None:
    found = []
    for room in ("bench", "mockserver", "datasets/promptset"):
        for file in sorted((ROOT / room).rglob("*.py")):
            path = str(file.relative_to(ROOT))
            if not any(path.startswith(place) for place in OF_OTHERS):
                found += unknown(path, file.read_text())
    assert found == []


def test_a_flag_of_another_command_is_seen() -> None:
    source = 'raise UsageError(f"{path}: skip these rows with --bad-rows skip, or give --sloo")'
    assert [sentence.partition(" in ")[0] for sentence in unknown("bench/capacity_plan/traffic.py", source)] == [
        "bench/capacity_plan/traffic.py:1: --sloo"
    ]
    assert unknown("bench/capacity_plan/traffic.py", '"search longer, or from a lower --start: plan"') == []
    (found,) = unknown("bench/commands/gate.py", '"""Docstring: give --any"""\nx = "give --rate 5"')
    assert found == "bench/commands/gate.py:2: --rate in 'give --rate 5'"
