"""Built-in probes: any number, all different, each solved from its text alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptset.chat import Message
from promptset.errors import SpecError
from promptset.probes import (
    CODE,
    KINDS,
    Part,
    Probe,
    Solution,
    codes,
    codes_in,
    make_probe,
    make_probes,
    parse_probes,
    solve,
)

SEED = 31


def made(spec: str, seed: int = SEED, salt: str | None = None) -> list[Probe]:
    return make_probes(parse_probes(spec), seed=seed, salt=salt)


def question(probe: Probe) -> str:
    text = probe.messages[-1]["content"]
    assert isinstance(text, str)
    return text


def solution(probe: Probe) -> Solution:
    solved = solve(probe.messages, probe.tools)
    assert solved is not None, question(probe)
    return solved


def test_a_number_alone_is_an_even_mix_of_all_kinds_in_turns() -> None:
    probes = made("8")
    assert [probe.probe_id for probe in probes] == [*(f"{kind}-0" for kind in KINDS), "canary-1", "retrieve-1"]


def test_fewer_probes_are_the_first_of_more() -> None:
    assert made("60") == made("600")[:60]


@pytest.mark.parametrize("kind", KINDS)
def test_who_solves_a_probe_from_its_text_finds_the_answer(kind: str) -> None:
    for probe in made(f"{kind}=50"):
        solved = solution(probe)
        assert (solved.kind, solved.code) == (probe.kind, probe.code)
        if kind == "tool":
            assert {"name": solved.tool, "arguments": json.loads(solved.text)} == json.loads(probe.answer)
        else:
            assert (solved.tool, solved.text) == (None, probe.answer)


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 10**6), st.integers(0, 2**32), st.data())
def test_every_probe_is_solved_whatever_its_number_seed_and_options(
    kind: str, index: int, seed: int, data: st.DataObject
) -> None:
    options = {
        name: data.draw(st.integers(option.low, min(option.high, 500))) for name, option in KINDS[kind].options.items()
    }
    probe = make_probe(kind, index, seed=seed, options=options)
    assert solution(probe).code == probe.code
    assert probe.code is None or codes_in(probe.answer) == [probe.code]


@pytest.mark.parametrize("digits", [1, 15])
def test_both_numbers_have_the_requested_digits(digits: int) -> None:
    numbers = [
        number for probe in made(f"arithmetic=50:digits={digits}") for number in re.findall(r"\d+", question(probe))
    ]
    assert [len(number) for number in numbers] == [digits] * 100


def test_the_question_is_recognised_in_parts_of_a_message_after_others_and_inside_a_template() -> None:
    (probe,) = made("arithmetic=1")
    text = question(probe)
    parts = [{"type": "text", "text": "Hello."}, {"type": "image_url"}, {"type": "text", "text": text}]
    talk: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    rendered = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    for messages in (talk, [{"role": "user", "content": rendered}]):
        found = solve(messages)
        assert found is not None
        assert found.text == probe.answer


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "What is the capital of France?"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": "Write the number and nothing else."}],
        [{"role": "user", "content": "What is 1 + 1? Write the number and nothing else."}, {"role": "assistant"}],
        [{"role": "assistant", "content": "What is 1 + 1? Write the number and nothing else."}],
        [{"role": "user", "content": "Which code has locker 5? Write its code and nothing else."}],
    ],
)
def test_what_asks_no_probe_has_no_solution(messages: list[dict[str, object]]) -> None:
    assert solve(messages) is None


def test_a_tool_that_is_not_offered_is_not_called() -> None:
    (probe,) = made("tool=1")
    found = solve(probe.messages, [{"type": "function", "function": {"name": "other"}}])
    assert found is not None
    assert found.tool is None
    assert json.loads(found.text) == json.loads(probe.answer)["arguments"]


def test_codes_and_questions_of_a_run_differ_from_each_other_and_from_those_of_other_runs() -> None:
    probes = made("3000")
    own = [probe.code for probe in probes if probe.code is not None]
    assert len(own) == 2_000
    assert len(set(own)) == len(own)
    assert all(CODE.fullmatch(code) for code in own)
    assert len({question(probe) for probe in made("canary=1000,retrieve=20,schema=1000,tool=1000")}) == 3_020
    for others in (made("3000", seed=32), made("3000", salt="other")):
        # Two runs draw 2,000 of 23 million codes each, so 0.2 codes are expected in both.
        assert len(set(own) & {probe.code for probe in others if probe.code is not None}) <= 3


def test_all_numbers_of_all_slots_have_different_codes() -> None:
    last = {codes.code(3, None, slot, codes.MOST - 1 - i) for slot in range(codes.SLOTS) for i in range(500)}
    first = {codes.code(3, None, slot, i) for slot in range(codes.SLOTS) for i in range(500)}
    assert len(first | last) == 2 * 500 * codes.SLOTS
    # If the step shared a prime factor (2, 3 or 5) with the number of codes, codes would repeat after such a part of
    # them.
    assert len({codes.code(3, None, 0, part * (codes.MOST // 30)) for part in range(30)}) == 30


def test_no_line_of_a_list_has_the_code_of_a_probe() -> None:
    """Otherwise a correct line would prove cross-talk."""
    (probe,) = made("retrieve=1:tokens=30000")
    listed = set(codes_in(question(probe)))
    assert len(listed) > 1_500
    own = {codes.code(SEED, None, slot, i) for slot in range(len(KINDS)) for i in range(50_000)}
    assert listed & own == {probe.code}
    assert all(len(locker) == 6 for locker in re.findall(r"Locker (\d+)", question(probe)))


def test_a_list_has_about_the_tokens_that_were_asked_for() -> None:
    words = len(re.findall(r"\w+", question(made("retrieve=1:tokens=3000")[0])))
    # 15 tokens per line; a line has 7 words, with its code counted as two
    assert words == pytest.approx(200 * 7, abs=20)


def test_answers_by_hand() -> None:
    def answer(text: str) -> str:
        found = solve([{"role": "user", "content": text}])
        assert found is not None
        return found.text

    assert answer("What is 12 - 30? Write the number and nothing else.") == "-18"
    assert answer("What is 12 * 30? Write the number and nothing else.") == "360"
    assert answer(
        "Sort these words from A to Z: pear, apple, fig. Write the words, with commas between them, and nothing else."
    ) == ("apple, fig, pear")


def test_a_sorted_answer_is_right_in_whatever_form_it_is_written() -> None:
    (probe,) = made("sort=1:words=4")
    (pattern,) = probe.settings.patterns
    words = probe.answer.split(", ")
    for text in (
        probe.answer,
        "\n".join(f"{i}. {word.upper()}" for i, word in enumerate(words, 1)),
        f"Sorted: {words}",
    ):
        assert re.search(pattern.expression, text), text
    for text in (", ".join(reversed(words)), ", ".join(words[:3]), probe.answer + "s"):
        assert not re.search(pattern.expression, text), text


@pytest.mark.parametrize("kind", ["schema", "tool"])
def test_the_right_answer_follows_the_schema_of_the_request(kind: str) -> None:
    (probe,) = made(f"{kind}=1")
    if kind == "schema":
        assert probe.schema is not None
        jsonschema.validate(json.loads(probe.answer), probe.schema)
        return
    assert probe.tools is not None
    call = json.loads(probe.answer)
    tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in probe.tools}
    jsonschema.validate(call["arguments"], tools[call["name"]])


def test_a_description_is_read() -> None:
    assert parse_probes("canary=200, retrieve=5:tokens=4000,sort,my/set.jsonl=7,openai/gsm8k") == (
        Part("canary", 200, {}),
        Part("retrieve", 5, {"tokens": 4000}),
        Part("sort", 100, {"words": 5}),
        Part("my/set.jsonl", 7),
        Part("openai/gsm8k", None),
    )
    assert [str(part) for part in parse_probes("retrieve:tokens=4000,a.jsonl")] == [
        "retrieve=100:tokens=4000",
        "a.jsonl",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0", "'0' probes: write a whole number from 1 to 1440000"),
        ("", "no kind of probe and no file is called ''"),
        ("canry=5", "no kind of probe and no file is called 'canry': did you mean canary?"),
        ("sort,canry=5", "no kind of probe and no file is called 'canry'"),
        ("canary=x", "canary: 'x' probes: write a whole number"),
        ("canary=2000000", "canary: '2000000' probes"),
        ("canary=5,canary=6", "canary is given twice"),
        ("canary=5:tokens=9", "canary has no option 'tokens': it takes none"),
        ("retrieve:token=9", "retrieve has no option 'token': it takes tokens"),
        ("retrieve:tokens=٩٩٩", "retrieve: tokens=٩٩٩: write a whole number from 50 to 1000000"),
        ("retrieve:tokens=9", "retrieve: tokens=9: write a whole number from 50 to 1000000"),
        ("a.jsonl:tokens=9", "a.jsonl: a set has no options, and 'tokens=9' was given"),
    ],
)
def test_a_wrong_description_is_answered_with_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_probes(text)
    assert problem in str(refused.value)


def test_all_problems_of_a_description_are_named_at_once() -> None:
    with pytest.raises(SpecError) as refused:
        parse_probes("canry,sort=x,arithmetic:digit=2")
    assert len(refused.value.problems) == 3


def test_every_code_has_five_digits_and_is_that_of_one_number() -> None:
    numbers = (0, 89_999, 90_000, codes.SPACE - 1, codes.SPACE)
    first, last, second, very_last, again = map(codes._code, numbers)
    assert [word[-5:] for word in (first, last, second, very_last)] == ["10000", "99999", "10000", "99999"]
    assert first[:-5] == last[:-5] != second[:-5]
    assert again == first  # The codes start over.
    assert {len(word) for word in codes.words()} == {5, 6, 7}
    assert all(codes.CODE.fullmatch(word) for word in (first, last, second, very_last))
    assert math.gcd(codes._STEP, codes.SPACE) == 1


def test_the_probes_of_a_seed_stay_what_they_were() -> None:
    # A result states its seed, which must give the same questions on every machine and in every version.
    probes = made("120", seed=7, salt="a")
    sort = "Write the words, with commas between them, and nothing else."
    assert [question(probe) for probe in made("arithmetic=3,sort=2", seed=7)] == [
        "What is 91 + 84? Write the number and nothing else.",
        f"Sort these words from A to Z: night, river, pocket, machine, return. {sort}",
        "What is 63 * 88? Write the number and nothing else.",
        f"Sort these words from A to Z: house, plate, payment, beach, throw. {sort}",
        "What is 72 + 95? Write the number and nothing else.",
    ]
    content = orjson.dumps([dataclasses.asdict(probe) for probe in probes], option=orjson.OPT_SORT_KEYS)
    assert hashlib.sha256(content).hexdigest()[:16] == "acc945c2881e3883"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("canary", {}),
        ("retrieve", {"tokens": (1_000, 50, 1_000_000)}),
        ("arithmetic", {"digits": (2, 1, 15)}),
        ("sort", {"words": (5, 2, 100)}),
        ("schema", {}),
        ("tool", {}),
    ],
)
def test_the_options_of_a_kind_have_defaults_and_limits(kind: str, options: dict[str, tuple[int, int, int]]) -> None:
    known = KINDS[kind].options
    assert {name: (option.default, option.low, option.high) for name, option in known.items()} == options
    for name, (default, low, high) in options.items():
        for value in (low, high):
            assert parse_probes(f"{kind}=1:{name}={value}") == (Part(kind, 1, {name: value}),)
        for value in (low - 1, high + 1):
            with pytest.raises(SpecError, match=f"write a whole number from {low} to {high}"):
                parse_probes(f"{kind}=1:{name}={value}")
        assert parse_probes(kind) == (Part(kind, 100, {name: default}),)
        made_by_default = make_probe(kind, 0, seed=0, options={name: default})
        assert made(f"{kind}=1", seed=0) == [made_by_default]


def test_the_number_of_probes_has_a_limit_of_its_own() -> None:
    assert parse_probes("canary=1440000") == (Part("canary", 1_440_000),)
    assert [part.count for part in parse_probes("1440000")] == [240_000] * 6
    for text in ("1440001", "canary=1440001"):
        with pytest.raises(SpecError, match="write a whole number from 1 to 1440000"):
            parse_probes(text)


def test_a_question_is_found_up_to_200_characters_before_the_end() -> None:
    text = "What is 12 - 30? Write the number and nothing else."
    near, far = text + "x" * (200 - len("nothing else.")), text + "x" * (201 - len("nothing else."))
    assert solve([{"role": "user", "content": near}]) is not None
    assert solve([{"role": "user", "content": far}]) is None
