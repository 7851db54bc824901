"""Problems on stderr: readable whatever text they contain."""

from __future__ import annotations

import pytest

from bench.commands.output import complain


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("red \x1b[31m \x07 \x9b", "red  [31m    "),
        ("no-break\u00a0space, right\u202eto left", "no-break space, right to left"),
        ("é 模型", "é 模型"),
        ("x" * 4_000, "x" * 4_000),
        ("x" * 4_001, f"{'x' * 4_000} … (4,001 characters)"),
    ],
)
def test_a_problem_cannot_steer_the_terminal_and_has_an_end(
    problem: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    complain([problem])
    assert capsys.readouterr().err == f"error: {shown}\n"
    complain([problem, "other"])
    assert capsys.readouterr().err == f"error: 2 problems\n  - {shown}\n  - other\n"


def test_bytes_of_a_path_that_are_no_text_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("builtins.print", lambda text, file: shown.append(text))
    complain(["/tmp/\udc80\udcff\ud800"])
    assert shown == ["error: /tmp/\udc80\udcff "]
