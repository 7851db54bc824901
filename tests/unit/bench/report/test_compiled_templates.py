"""Templates compiled by an earlier report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest

from bench.report.compiled_templates import KeptTemplates


class Counting(jinja2.Environment):
    """Counts how often it compiles."""

    compiled = 0

    def compile(self, *args: Any, **given: Any) -> Any:
        self.compiled += 1
        return super().compile(*args, **given)


def environment(folder: Path, source: str = "Hello {{ name }}") -> Counting:
    return Counting(autoescape=True, loader=jinja2.DictLoader({"page": source}), bytecode_cache=KeptTemplates(folder))


def rendered(found: Counting) -> str:
    return found.get_template("page").render(name="<you>")


def test_a_template_is_compiled_once_and_then_kept(tmp_path: Path) -> None:
    first, second = environment(tmp_path / "a" / "kept"), environment(tmp_path / "a" / "kept")

    assert rendered(first) == rendered(second) == "Hello &lt;you&gt;"
    assert (first.compiled, second.compiled) == (1, 0)


def test_a_template_that_has_changed_is_compiled_anew(tmp_path: Path) -> None:
    rendered(environment(tmp_path))
    changed = environment(tmp_path, "Good-bye {{ name }}")

    assert rendered(changed) == "Good-bye &lt;you&gt;"
    assert changed.compiled == 1


@pytest.mark.parametrize("keep", [0, 5, 30, -1])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, keep: int) -> None:
    rendered(environment(tmp_path))
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    again, after = environment(tmp_path), environment(tmp_path)

    assert rendered(again) == rendered(after) == "Hello &lt;you&gt;"
    assert (again.compiled, after.compiled) == (1, 0)


def test_where_nothing_can_be_kept_each_report_compiles(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    first, second = environment(tmp_path / "file"), environment(tmp_path / "file")

    assert rendered(first) == rendered(second)
    assert (first.compiled, second.compiled) == (1, 1)
