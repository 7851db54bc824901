"""The rules of docs/dev/architecture.md, "Who may import whom", checked on the syntax of every module."""

from __future__ import annotations

import re

import pytest

from tests.support.architecture_rules import (
    CHANCE,
    CLOCKS,
    LAYER_OF,
    LAYERS,
    MAY_IMPORT,
    MORE_PARAMETERS,
    MOST_LINES,
    MOST_PARAMETERS,
    PACKAGES,
    ROOT,
    TIES,
)
from tests.support.imports import (
    arrows_upwards,
    circle,
    circles,
    empty_names,
    forbidden_uses,
    function_sizes,
    inside,
    rule_for,
    run_time_imports,
    sources,
    tied,
    violations,
)


def test_every_module_keeps_the_rules() -> None:
    assert violations(sources()) == [], (
        "import something else, or allow it in MAY_IMPORT of tests/support/architecture_rules.py (those of the mock and of "
        "promptset are in files beside it), if docs/dev/architecture.md, Who may import whom, agrees"
    )


def test_every_room_of_bench_has_one_layer() -> None:
    assert sum(map(len, LAYERS)) == len(LAYER_OF)
    rooms = {module.split(".")[1] for module in sources() if module.startswith("bench.")}
    assert rooms == set(LAYER_OF), (
        "LAYERS of tests/support/architecture_rules.py must have each folder and file of bench in one layer"
    )


def test_the_page_of_the_architecture_names_every_folder_of_bench() -> None:
    page = (ROOT / "docs" / "dev" / "architecture.md").read_text(encoding="utf-8")
    tree = page.partition("## Where things are")[2].partition("\n## ")[0]
    folders = sorted(path.parent.name for path in (ROOT / "bench").glob("*/__init__.py"))
    assert [folder for folder in folders if f"{folder}/" not in tree] == [], (
        "add a line to the tree in docs/dev/architecture.md"
    )


def test_every_list_that_the_page_names_stands_in_the_file_that_it_names() -> None:
    page = (ROOT / "docs" / "dev" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`(_?[A-Z][A-Z_]+)` (?:in|of) `([\w/.]+\.py)`", page)
    assert ("ARRIVALS", "bench/schedule/__init__.py") in named
    assert [
        f"{name} in {path}"
        for name, path in named
        if not re.search(rf"^{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ] == [], "docs/dev/architecture.md names a list that its file lacks"


def test_no_room_of_bench_imports_one_above_it() -> None:
    assert arrows_upwards(sources()) == []


def test_only_clock_reads_clocks() -> None:
    assert forbidden_uses(sources(), CLOCKS, "clock") == []


def test_only_rng_makes_chance() -> None:
    assert forbidden_uses(sources(), CHANCE, "rng") == []


def test_the_rules_speak_of_modules_that_exist() -> None:
    assert set(MAY_IMPORT) - set(sources()) == set()


@pytest.mark.parametrize("package", ["bench", "mockserver", "promptset"])
def test_every_module_has_a_rule_of_its_own_or_of_its_folder(package: str) -> None:
    assert [module for module in sources() if rule_for(module) == package and module != package] == [], (
        "MAY_IMPORT of tests/support/architecture_rules.py needs a row for it: the modules of ours that it may import"
    )


@pytest.mark.parametrize("package", ["bench", "promptset"])
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    assert circle({name: source for name, source in sources().items() if inside(name, (package,))}) == []


def test_no_file_of_bench_names_what_it_is_part_of() -> None:
    bench = {name: source for name, source in sources().items() if inside(name, ("bench",))}
    assert tied(bench, TIES) == [], "give the part what it needs: a value, a function, or a Protocol next to it"
    assert [pair for pair in TIES if not tied(bench, [other for other in TIES if other != pair])] == []


def test_no_file_of_the_mock_loads_itself_by_a_detour() -> None:
    mock = {module: source for module, source in sources().items() if inside(module, ("mockserver",))}
    assert circles(run_time_imports(mock)) == []


def test_the_rooms_of_the_mock_stand_above_each_other() -> None:
    rules = {name: allowed for name, allowed in MAY_IMPORT.items() if name.startswith("mockserver.")}
    rooms: dict[str, set[str]] = {}
    for name, allowed in rules.items():
        own = ".".join(name.split(".")[:2])
        rooms.setdefault(own, set()).update(".".join(other.split(".")[:2]) for other in allowed if "." in other)
    # Only for the type checker: these two modules name the class whose fields they read.
    rooms["mockserver.combinations"].discard("mockserver.config")
    assert circles({room: others - {room} for room, others in rooms.items()}) == []


def test_names_say_what_a_value_is() -> None:
    assert empty_names(sources()) == [], "name it after its content: problems, record, sentence"
    planted = {"m": "def f(one: int) -> None:\n    found = [told for told in (one,)]\n    x.said = found_too = 1"}
    assert [where.partition(" ")[2] for where in empty_names(planted)] == ["one", "found", "told", "told", "one"]


def test_functions_are_short() -> None:
    long = {size.name: size.lines for size in function_sizes(sources()) if size.lines > MOST_LINES}
    assert long == {}, f"make it a list of named steps: a function has at most {MOST_LINES} lines"


def test_functions_take_few_parameters() -> None:
    many = {size.name: size.parameters for size in function_sizes(sources()) if size.parameters > MOST_PARAMETERS}
    assert {name: n for name, n in many.items() if name not in MORE_PARAMETERS} == {}, (
        f"a function has at most {MOST_PARAMETERS} parameters: combine those that belong together in a frozen value"
    )
    assert MORE_PARAMETERS.keys() - many.keys() == set(), "these no longer need an exception"


@pytest.mark.parametrize("package", ["bench", "mockserver"])
def test_a_package_has_at_most_25_files_outside_its_rooms(package: str) -> None:
    assert len(list(PACKAGES[package].glob("*.py"))) <= 25


def test_the_folder_of_data_sets_is_no_package() -> None:
    assert not (ROOT / "datasets" / "__init__.py").exists()
