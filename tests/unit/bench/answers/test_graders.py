"""Every grader, with answers that are right, wrong, and hard to parse."""

from __future__ import annotations

from dataclasses import replace

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


DEEP = "[" * 300 + "]" * 300
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
    ("json_equal", "[1, 2]", NO_SETTINGS, "[1, 2]", True, "[1,2]"),
    ("json_equal", "[1, 2]", NO_SETTINGS, "[1]", False, "[1]"),
    ("json_equal", "[1, 2]", NO_SETTINGS, "[2, 1]", False, "[2,1]"),
    ("json_equal", "[1]", NO_SETTINGS, "1", False, "1"),
    ("json_equal", "1", NO_SETTINGS, "[1]", False, "[1]"),
    ("json_equal", "[]", NO_SETTINGS, "{}", False, "{}"),
    ("json_equal", '{"a": 1}', NO_SETTINGS, "[1]", False, "[1]"),
    ("json_equal", '{"a": {"b": 1}}', NO_SETTINGS, '{"a": {"b": 2}}', False, '{"a":{"b":2}}'),
    ("json_equal", '{"a": 1}', NO_SETTINGS, '{"b": 1}', False, '{"b":1}'),
    ("json_equal", "true", NO_SETTINGS, "1", False, "1"),
    ("json_equal", "0", NO_SETTINGS, "false", False, "false"),
    ("json_equal", "false", NO_SETTINGS, "false", True, "false"),
    ("json_equal", '"a"', NO_SETTINGS, '"a"', True, '"a"'),
    ("exact", " Paris ", NO_SETTINGS, "Paris", True, "Paris"),
    ("contains", "Yes", NO_SETTINGS, "oh YES", False, None),
    ("contains", "a.c", NO_SETTINGS, "abc", False, None),
    ("contains", "12", NO_SETTINGS, "the 12, at last", True, "12"),
    ("pattern", "", GraderSettings(patterns=(Pattern("a"), Pattern("c"))), "ab", False, "ab"),
    ("number", "7", NO_SETTINGS, "#### 5\n#### 7 of 9", True, "7"),
    ("number", "7", NO_SETTINGS, r"\boxed{5} or \boxed{3 + 4 = 7}, of 9", True, "7"),
    ("number", "7", NO_SETTINGS, "7 #### none", False, None),
    # Of a whole number every digit counts, also beyond those of a float; of a fraction nine.
    ("number", "1000000000", NO_SETTINGS, "1000000001", False, "1000000001"),
    ("number", "12345678901234567890", NO_SETTINGS, "12345678901234567891", False, "12345678901234567891"),
    ("number", "12345678901234567890", NO_SETTINGS, "12,345,678,901,234,567,890", True, "12,345,678,901,234,567,890"),
    ("number", "18", NO_SETTINGS, "18.00", True, "18.00"),
    ("number", "1000000000.5", NO_SETTINGS, "1000000001.5", True, "1000000001.5"),
    ("number", "1000000000.5", NO_SETTINGS, "1000000002.5", False, "1000000002.5"),
    ("number", "-1000000000.5", NO_SETTINGS, "-1000000001.5", True, "-1000000001.5"),
    ("number", "5", NO_SETTINGS, "1e999999999", False, "1e999999999"),
    ("number", "5", NO_SETTINGS, "it is .5", False, ".5"),
    ("number", "0.5", NO_SETTINGS, "it is .5", True, ".5"),
    ("number", "5", NO_SETTINGS, "1, 2, ...5", True, "5"),
    ("number", "0.5", GraderSettings(tolerance=0.25), "0.75", True, "0.75"),
    ("number", "0.5", GraderSettings(tolerance=0.25), "0.25", True, "0.25"),
    ("number", "none", NO_SETTINGS, "5", False, "5"),
    ("letter", "B", LETTERS, "The answer is B. The answer is not C", True, "B"),
    ("letter", "C", LETTERS, "The answer is B. No: the answer is C", True, "C"),
    ("letter", "B", LETTERS, "hm\nA or B", True, "B"),
    ("letter", "A", LETTERS, "A or B", True, "A"),
    ("letter", "B", LETTERS, "Answer: B\nthe answer is C", False, "C"),
    ("letter", "A", LETTERS, "A.\nThe answer is B", True, "A"),
    ("schema", "", NO_SETTINGS, '{"n": 3}', True, '{"n":3}'),
    ("schema", "", NO_SETTINGS, '{"n": "3"}', False, '{"n":"3"}'),
    ("schema", "", NO_SETTINGS, "n = 3", False, None),
    # Nested more deeply than can be written.
    ("schema", "", NO_SETTINGS, DEEP, False, DEEP),
    ("json_equal", "[]", NO_SETTINGS, DEEP, False, DEEP),
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


@pytest.mark.parametrize(
    ("wanted", "call", "right"),
    [
        ("no JSON", ("open", "{}"), False),
        ('{"arguments": {}}', ("open", "{}"), False),
        ('{"name": "open"}', ("open", "null"), True),
        ('{"name": "open"}', ("open", "{"), False),
        ('{"name": "open", "arguments": {"n": 1}}', ("open", '{"n": 1.0}'), True),
    ],
)
def test_a_call_is_compared_with_what_is_wanted(wanted: str, call: tuple[str, str], right: bool) -> None:
    found = grade(_probe("tool_call", wanted), Answer(tool_calls=(ToolCall("", *call),)))
    assert (found.right, found.read) == (right, f"{call[0]}({call[1]})")


def test_a_tool_without_parameters_takes_any_arguments_and_a_wrong_schema_none() -> None:
    def valid(*tools: dict[str, object], calls: tuple[ToolCall, ...]) -> bool:
        offered = tuple({"type": "function", "function": tool} for tool in tools)
        probe = replace(_probe("tool_call", CALL), tools=offered or None)
        return valid_call(probe, Answer(tool_calls=calls))

    good, bad = ToolCall("", "open", "[1]"), ToolCall("", "open", "[")
    assert valid({"name": "open"}, calls=(good,))
    assert not valid({"name": "open"}, calls=(good, bad))
    assert not valid({"name": "open", "parameters": {"type": 5}}, calls=(good,))
    assert not valid({"name": "open", "parameters": {"type": "object"}}, calls=(good,))
    assert not valid(calls=(good,))


def test_a_schema_probe_without_a_schema_takes_any_json() -> None:
    probe = replace(_probe("schema", ""), schema=None)
    assert (grade(probe, Answer(content="[1]")).right, grade(probe, Answer(content="[")).right) == (True, False)
    broken = replace(probe, schema={"type": "string", "pattern": "("})
    assert not grade(broken, Answer(content='"a"')).right


def test_every_declared_grader_is_here() -> None:
    assert set(GRADERS) == set(DECLARED)
    assert {case[0] for case in CASES} == set(DECLARED) - {"tool_call"}


def test_a_text_with_half_a_character_is_no_json_and_no_defect() -> None:
    assert not grade(_probe("json_equal", "{}"), Answer(content='{"a": "\ud83d"}')).right
