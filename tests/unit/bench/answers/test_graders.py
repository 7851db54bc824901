"""Every grader over answers that are right, wrong, and hard to read."""

from __future__ import annotations

import pytest

from bench.answers.graders import GRADERS, grade, valid_call
from promptset.answers import Answer, ToolCall
from promptset.probes.values import GRADERS as DECLARED
from promptset.probes.values import Grader, GraderSettings, Pattern, Probe

NO_SETTINGS = GraderSettings()
LETTERS = GraderSettings(letters="ABCD")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "open", "parameters": SCHEMA}}
CALL = '{"name": "open", "arguments": {"n": 1}}'


def _probe(grader: Grader, answer: str, settings: GraderSettings = NO_SETTINGS) -> Probe:
    return Probe(
        probe_id="p-1",
        kind="own",
        messages=(),
        answer=answer,
        grader=grader,
        settings=settings,
        schema=SCHEMA if grader == "schema" else None,
        tools=(TOOL,) if grader == "tool_call" else None,
        max_tokens=16,
    )


CASES: list[tuple[Grader, str, GraderSettings, str, bool, str | None]] = [
    ("exact", "Paris", NO_SETTINGS, " Paris\n", True, "Paris"),
    ("exact", "Paris", NO_SETTINGS, "paris", False, "paris"),
    ("exact", "Paris", GraderSettings(ignore_case=True), "PARIS", True, "PARIS"),
    ("exact", "Paris", NO_SETTINGS, "  ", False, None),
    ("contains", "MARBLE-40281", NO_SETTINGS, "It is MARBLE-40281.", True, "MARBLE-40281"),
    ("contains", "MARBLE-40281", NO_SETTINGS, "It is MARBLE-402819.", False, None),
    ("contains", "12", NO_SETTINGS, "112", False, None),
    ("contains", "Yes", GraderSettings(ignore_case=True), "oh YES", True, "YES"),
    ("pattern", "", GraderSettings(patterns=(Pattern("^a+$"), Pattern("b", absent=True))), "aaa", True, "aaa"),
    ("pattern", "", GraderSettings(patterns=(Pattern("a"), Pattern("b", absent=True))), "ab", False, "ab"),
    ("pattern", "", GraderSettings(patterns=(Pattern(",", absent=True),)), "", False, None),
    ("number", "1234", NO_SETTINGS, "first 7, so\n#### 1,234 apples of 9", True, "1,234"),
    ("number", "18", NO_SETTINGS, r"thus \boxed{18} and not 19", True, "18"),
    ("number", "18", NO_SETTINGS, "16 - 3 - 4 = 9, 9 * 2 = $18.", True, "18"),
    ("number", "18", NO_SETTINGS, "18 or 19", False, "19"),
    ("number", "-5", NO_SETTINGS, "The result is -5", True, "-5"),
    ("number", "0.5", GraderSettings(tolerance=0.01), "about 0.505", True, "0.505"),
    ("number", "0.5", NO_SETTINGS, "about 0.505", False, "0.505"),
    ("number", "3", NO_SETTINGS, "three", False, None),
    ("letter", "B", LETTERS, "B", True, "B"),
    ("letter", "B", LETTERS, "(B)\nbecause A is wrong", True, "B"),
    ("letter", "C", LETTERS, "A looks good. But the answer is (C).", True, "C"),
    ("letter", "C", LETTERS, "B first\n**Answer: C**", True, "C"),
    ("letter", "D", LETTERS, "I choose D, not A", True, "D"),
    ("letter", "A", LETTERS, "no idea", False, None),
    ("letter", "J", GraderSettings(letters="ABCDEFGHIJ"), "The answer is J", True, "J"),
    (
        "json_equal",
        '{"a": 1, "b": [true]}',
        NO_SETTINGS,
        '```json\n{"b": [true], "a": 1.0}\n```',
        True,
        '{"b":[true],"a":1.0}',
    ),
    ("json_equal", '{"a": 1}', NO_SETTINGS, '{"a": true}', False, '{"a":true}'),
    ("json_equal", '{"a": 1}', NO_SETTINGS, '{"a": 1', False, None),
    ("json_equal", '{"a": 1}', NO_SETTINGS, '{"a": 1, "b": 2}', False, '{"a":1,"b":2}'),
    ("schema", "", NO_SETTINGS, '{"n": 3}', True, '{"n":3}'),
    ("schema", "", NO_SETTINGS, '{"n": "3"}', False, '{"n":"3"}'),
    ("schema", "", NO_SETTINGS, "n = 3", False, None),
]


@pytest.mark.parametrize(("grader", "answer", "settings", "text", "right", "read"), CASES)
def test_a_grader_reads_an_answer(
    grader: Grader, answer: str, settings: GraderSettings, text: str, right: bool, read: str | None
) -> None:
    found = grade(_probe(grader, answer, settings), Answer(content=text))
    assert (found.right, found.read) == (right, read)


@pytest.mark.parametrize(
    ("calls", "right", "valid"),
    [
        ([("open", '{"n": 1}')], True, True),
        ([("open", '{"n": 2}')], False, True),
        ([("open", '{"n": "1"}')], False, False),
        ([("open", '{"n": 1')], False, False),
        ([("close", '{"n": 1}')], False, False),
        ([("open", '{"n": 1}')] * 2, False, True),
        ([], False, False),
    ],
)
def test_a_call_is_right_if_tool_and_arguments_are(calls: list[tuple[str, str]], right: bool, valid: bool) -> None:
    answer = Answer(content=CALL, tool_calls=tuple(ToolCall("", name, arguments) for name, arguments in calls))
    probe = _probe("tool_call", CALL)
    assert (grade(probe, answer).right, valid_call(probe, answer)) == (right, valid)


def test_every_declared_grader_is_here() -> None:
    assert set(GRADERS) == set(DECLARED)
    assert {case[0] for case in CASES} == set(DECLARED) - {"tool_call"}


def test_a_text_with_half_a_character_is_no_json_and_no_defect() -> None:
    assert not grade(_probe("json_equal", "{}"), Answer(content='{"a": "\ud83d"}')).right
