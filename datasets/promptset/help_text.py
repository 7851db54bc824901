"""Formats `--help` texts no wider than the terminal."""

from __future__ import annotations

import argparse
import re
import textwrap

_COMMAND = re.compile(r" +(python -m |trueload|\{prog\})")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of descriptions and examples unless they are too long."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.indent(fitted(text, width), indent)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Breaks a long list of choices over several lines."""
        indent = self._current_indent + 4
        lines = _packed(re.split(r"(?<=[|,])", super()._format_action_invocation(action)), self._width - indent)
        return f"\n{' ' * indent}".join(lines)


def fitted(text: str, width: int) -> str:
    """The text with no line longer than `width`, if its words allow it. Shell commands stay valid."""
    if max(map(len, text.split("\n"))) <= width:
        return text
    whole = re.sub(r"\n {8,}(?=\S)", " ", text)  # Descriptions of a name continue far to the right.
    paragraphs = re.sub(r"(?m)^(\S.*)\n(?=\S)", r"\1 ", whole)
    return "\n".join(part for line in paragraphs.split("\n") for part in _parts(line, width))


def _parts(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = " " * _indent(line)
    if line.lstrip().startswith("# "):
        return _wrapped(line, f"{indent}# ", width)
    if _COMMAND.match(line):
        command, _, comment = re.sub("   +(?! |#)", "  # ", line.strip()).partition("  #")
        units = re.split(r" (?=--?[a-z]|> )", command.strip())  # A flag and its value.
        lines = _packed([f"{unit} " for unit in units], width - len(indent) - 3)
        above = _wrapped(f"{indent}#{comment}", f"{indent}# ", width) if comment else []
        return above + f" \\\n{indent}  ".join(each.strip() for each in lines).join((indent, "")).split("\n")
    name = re.match(r" *\S+?(?: \S+?)*?(?:  +|: )(?=\S)", line)  # A name followed by its description.
    column = name.end() if name is not None and name.end() <= width // 3 else len(indent)
    return _wrapped(line, " " * column, width)


def _wrapped(line: str, hanging: str, width: int) -> list[str]:
    lead = line[: max(len(hanging), _indent(line))]
    return textwrap.wrap(
        line[len(lead) :],
        width,
        initial_indent=lead,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _packed(units: list[str], width: int) -> list[str]:
    """The units, as many on each line as fit."""
    lines = [units[0]]
    for unit in units[1:]:
        if len(lines[-1]) + len(unit) <= width:
            lines[-1] += unit
        else:
            lines.append(unit)
    return lines


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
