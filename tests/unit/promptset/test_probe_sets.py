"""Probes from files: the user's own rows, and the published formats of GSM8K, MMLU, MMLU-Pro and IFEval."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from promptset.errors import SpecError
from promptset.probes import Probe, hub_set, make_probes, parse_probes
from promptset.probes.hub_set import file_of
from promptset.probes.ifeval import patterns_of
from promptset.probes.sets import looks_like_a_set


def read(path: Path, count: int | None = None) -> list[Probe]:
    return make_probes(parse_probes(f"{path}" if count is None else f"{path}={count}"), seed=0)


def written(folder: Path, *rows: dict[str, Any], name: str = "own.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_own_rows(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"prompt": "The capital of France?", "answer": "Paris"},
        {"question": "6 times 7?", "answer": 42},
        {"prompt": "Which? A or B", "answer": "B", "max_tokens": 3},
        {"messages": [{"role": "user", "content": "As JSON"}], "answer": {"a": [1, 2]}, "id": "mine", "kind": "json"},
        {"prompt": "Yes?", "answer": "yes", "grader": "exact", "ignore_case": True},
        {"prompt": "A date", "patterns": [r"\d{4}-\d\d"]},
        {"prompt": "A row", "schema": {"type": "object"}},
    )
    probes = read(path)
    assert [(probe.probe_id, probe.kind, probe.grader, probe.answer, probe.max_tokens) for probe in probes] == [
        ("own-1", "own", "contains", "Paris", 256),
        ("own-2", "own", "number", "42", 256),
        ("own-3", "own", "letter", "B", 3),
        ("mine", "json", "json_equal", '{"a":[1,2]}', 256),
        ("own-5", "own", "exact", "yes", 256),
        ("own-6", "own", "pattern", "", 256),
        ("own-7", "own", "schema", "", 256),
    ]
    assert probes[4].settings.ignore_case
    assert [pattern.expression for pattern in probes[5].settings.patterns] == [r"\d{4}-\d\d"]
    assert probes[6].schema == {"type": "object"}
    assert [probe.probe_id for probe in read(path, 2)] == ["own-1", "own-2"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "a", "answer": 1, "max_token": 3}, "a row has no 'max_token'"),
        ({"answer": 1}, "give one of prompt, question and messages"),
        ({"prompt": " ", "answer": 1}, "prompt must be a text that is not empty"),
        ({"prompt": "a", "answer": 1, "grader": "judge"}, "grader must be one of exact, number"),
        ({"prompt": "a", "grader": "number"}, "there is no answer"),
        ({"prompt": "a"}, "the grader schema needs a schema"),
        (
            {"prompt": "a", "schema": {"properties": {"n": {"type": "strng"}}}},
            "schema is not a JSON schema: at $.properties.n.type, 'strng' is not valid",
        ),
        (
            {"prompt": "a", "schema": {"pattern": "("}},
            "schema is not a JSON schema: at $.pattern, '(' is not a 'regex'",
        ),
        ({"prompt": "a", "schema": [], "answer": 1}, "schema must be an object, a JSON schema"),
        ({"prompt": "a", "answer": 1, "max_tokens": 0}, "max_tokens must be a whole number from 1"),
        ({"prompt": "a", "answer": 1, "max_tokens": True}, "max_tokens must be a whole number from 1"),
        ({"prompt": "a", "answer": 1, "ignore_case": 1}, "ignore_case must be true or false"),
        ({"prompt": "a", "schema": {"$schema": 3}}, "schema is not a JSON schema: $schema must be a text"),
        (
            {"prompt": "a", "answer": 1, "tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "the parameters of tool 1 must be an object, a JSON schema",
        ),
        (
            {
                "prompt": "a",
                "answer": 1,
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {"required": 3}}}],
            },
            "the parameters of tool 1 are not a JSON schema: at $.required, 3 is not of type 'array'",
        ),
        ({"prompt": "a", "patterns": ["("]}, "the pattern '(' is no regular expression"),
        ({"prompt": "a", "answer": 1, "tolerance": -1}, "tolerance must be a number from 0"),
        ({"prompt": "a", "answer": 1, "tolerance": True}, "tolerance must be a number from 0"),
        ({"prompt": "a", "answer": 1, "patterns": [1]}, "patterns must be a list of regular expressions"),
        ({"prompt": "a", "answer": 1, "patterns": "a"}, "patterns must be a list of regular expressions"),
        ({"prompt": "a", "answer": 1, "letters": "A1"}, "letters must be a text of letters, such as ABCDE"),
        ({"prompt": "a", "answer": 1, "tools": []}, "tools must be a list"),
        ({"messages": [{"role": "user"}], "answer": 1}, "message 1 must have a role and a content"),
        ({"question": " ", "choices": ["x", "y"], "answer": 0}, "question must be a text that is not empty"),
        ({"question": "a", "choices": ["x"], "answer": 0}, "choices must be a list of 2 to 10 texts"),
        ({"question": "a", "choices": ["x", "y"], "answer": 2}, "answer must be the number (from 0) or the letter"),
        ({"prompt": "a", "instruction_id_list": ["x:y"], "kwargs": [{}]}, "no instruction is called 'x:y'"),
        (
            {"prompt": "a", "instruction_id_list": ["keywords:existence"], "kwargs": [{}]},
            "the kwargs of keywords:existence are incomplete",
        ),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    path = written(tmp_path, {"prompt": "a", "answer": 1}, row)
    with pytest.raises(SpecError) as refused:
        read(path)
    assert f"{path}, line 2: {problem}" in str(refused.value)


def test_two_probes_with_one_id_and_too_few_rows_are_refused(tmp_path: Path) -> None:
    row = {"id": "a", "prompt": "a", "answer": 1}
    with pytest.raises(SpecError, match="'a' is the id of several probes"):
        read(written(tmp_path, row, {**row, "prompt": "b"}))
    # A repeated question is one probe.
    with pytest.raises(SpecError, match="has 1 different question: 2 are too many"):
        read(written(tmp_path, row, {**row, "id": "b"}), 2)
    with pytest.raises(SpecError, match="has 2 different questions: 3 are too many"):
        read(written(tmp_path, row, {"prompt": "b", "answer": 1}, row), 3)
    with pytest.raises(SpecError, match="has no row with a question and an answer"):
        read(written(tmp_path))


def test_gsm8k(tmp_path: Path) -> None:
    row = {"question": "Ann has 3 bags of 500 nuts. How many?", "answer": "3*500 = <<3*500=1500>>1500\n#### 1,500"}
    (probe,) = read(written(tmp_path, row, name="gsm8k.jsonl"))
    assert (probe.kind, probe.grader, probe.answer) == ("gsm8k", "number", "1500")
    assert probe.messages[0]["content"].startswith(row["question"])


def test_mmlu_in_its_three_forms(tmp_path: Path) -> None:
    sheet = tmp_path / "anatomy_test.csv"
    sheet.write_text('"Which, of these?",bone,skin,hair,nail,B\nWhere?,a,b,c,d,D\n', encoding="utf-8")
    mmlu = {"question": "Which?", "subject": "anatomy", "choices": ["bone", "skin", "hair", "nail"], "answer": 1}
    pro = {"question": "Which?", "options": [str(i) for i in range(10)], "answer": "J", "answer_index": 9}
    first, second, third = read(sheet)[0], *read(written(tmp_path, mmlu, pro))
    for probe, letters, answer in ((first, "ABCD", "B"), (second, "ABCD", "B"), (third, "ABCDEFGHIJ", "J")):
        assert (probe.grader, probe.settings.letters, probe.answer) == ("letter", letters, answer)
    assert first.messages[0]["content"].startswith("Which, of these?\nA. bone\nB. skin\n")


def test_a_wrong_row_of_a_sheet_is_named_with_its_line(tmp_path: Path) -> None:
    sheet = tmp_path / "anatomy_test.csv"
    sheet.write_text("Which?,bone,skin,hair,nail,B\nWhere?,a,b\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"anatomy_test\.csv, line 2: 3 values: MMLU has 6"):
        read(sheet)


def test_ifeval_leaves_out_what_no_expression_can_check(tmp_path: Path) -> None:
    rows = [
        {"key": 1, "prompt": "No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
        {"key": 2, "prompt": "In Thai.", "instruction_id_list": ["language:response_language"], "kwargs": [{}]},
    ]
    (probe,) = read(written(tmp_path, *rows))
    assert (probe.probe_id, probe.grader, probe.messages[0]["content"]) == ("own-1", "pattern", "No commas.")


CHECKS: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["fog", "sun"]}, ["Sun and FOG"], ["sun", ""]),
    (
        "keywords:frequency",
        {"keyword": "no", "frequency": 3, "relation": "at least"},
        ["No no, no", "nonono"],
        ["no, no"],
    ),
    ("keywords:frequency", {"keyword": "no", "frequency": 3, "relation": "less than"}, ["no, no"], ["no no no"]),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, ["category"], ["A Cat."]),
    ("keywords:letter_frequency", {"letter": "a", "let_frequency": 2, "let_relation": "at least"}, ["Aa"], ["abc"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, ["one, two - three"], ["one two", ""]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["one two"], ["one two three"]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ["a\n***\nb", "***\na\n***\nb\n***"], ["a", "a***b***c"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "well"},
        ["One.\n\nWell, two."],
        ["Well.\n\nTwo.", "One.\n\nWell.\n\nThree.", "One.\n\nWells"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[name] lives in [city]"], ["[name] [", "x"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Bye\np. s. more"], ["Bye ps"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["Points:\n* a\n- b\nend"], ["* a", "* a\n* b\n* c"]),
    ("detectable_format:constrained_response", {}, ["My answer is maybe."], ["maybe"]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, ["*a* and **b**"], ["*a*", "* * * *"]),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1\na\nSection 2\nb"],
        ["Section 1"],
    ),
    ("detectable_format:title", {}, ["<<Rain>>\ntext"], ["<<>>", "Rain"]),
    ("combination:two_responses", {}, ["one\n******\ntwo"], ["one ****** one", "one", "a******b******c"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, ["say it. Hello"], ["Hello. Say it."]),
    ("startend:end_checker", {"end_phrase": "The end."}, ['So: "The End."\n'], ["The end. More"]),
    ("startend:quotation", {}, ['"a\nb"'], ['"a', "a"]),
    ("punctuation:no_comma", {}, ["a b"], ["a, b"]),
]  # fmt: skip


@pytest.mark.parametrize(("instruction", "arguments", "right", "wrong"), CHECKS, ids=lambda value: str(value)[:40])
def test_an_instruction_of_ifeval(
    instruction: str, arguments: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    def holds(text: str) -> bool:
        patterns = patterns_of(instruction, arguments)
        return all((re.search(pattern.expression, text) is None) is pattern.absent for pattern in patterns)

    assert [text for text in right if not holds(text)] == []
    assert [text for text in wrong if holds(text)] == []


@pytest.mark.parametrize(("instruction", "arguments", "right", "wrong"), CHECKS, ids=lambda value: str(value)[:40])
def test_a_long_answer_is_checked_at_once(
    instruction: str, arguments: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    """With these, a backtracking regular expression would never end."""
    for text in (right[0] + " " + wrong[0], "*a [b << \n\n *** - ", "no a Section "):
        for pattern in patterns_of(instruction, arguments):
            re.search(pattern.expression, text * (4_000 // len(text)))


def test_the_test_split_of_a_hub_data_set_is_taken(tmp_path: Path) -> None:
    for name in ("main/train-00000-of-00001.parquet", "main/test-00000-of-00001.parquet", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert file_of(tmp_path, "openai/gsm8k").name == "test-00000-of-00001.parquet"
    (tmp_path / "main/test-00000-of-00001.parquet").unlink()
    assert file_of(tmp_path, "openai/gsm8k").name == "train-00000-of-00001.parquet"
    (tmp_path / "main/train-00000-of-00001.parquet").unlink()
    with pytest.raises(SpecError, match="has no file of a split"):
        file_of(tmp_path, "openai/gsm8k")


@pytest.mark.parametrize(("name", "is_one"), [("a/b", True), ("a.jsonl", True), ("20", False), ("x" * 300, False)])
def test_a_name_too_long_for_a_file_is_none(name: str, is_one: bool) -> None:
    assert looks_like_a_set(name) is is_one


class Hub:
    """Stands in for huggingface_hub: a data set in the local cache, on the network, or nowhere."""

    def __init__(self, folder: Path, cached: bool, error: Exception | None = None) -> None:
        self.calls: list[tuple[str, str, bool]] = []
        self.patterns: set[str] = set()
        self._folder = folder
        self._cached = cached
        self._error = error

    def snapshot_download(
        self, repo_id: str, *, repo_type: str, allow_patterns: list[str], local_files_only: bool
    ) -> str:
        self.calls.append((repo_id, repo_type, local_files_only))
        self.patterns = {*allow_patterns}
        if local_files_only and not self._cached:
            raise FileNotFoundError("not in the cache")
        if self._error is not None:
            raise self._error
        return str(self._folder)


def installed(monkeypatch: pytest.MonkeyPatch, hub: Hub | None) -> None:
    found = SimpleNamespace(find_spec=lambda name: hub if name == "huggingface_hub" else None)
    imported = {"huggingface_hub": hub}
    monkeypatch.setattr(hub_set, "importlib", SimpleNamespace(util=found, import_module=imported.__getitem__))


@pytest.mark.parametrize(("cached", "asked"), [(True, [True]), (False, [True, False])])
def test_a_data_set_of_the_hub_is_taken_from_the_cache_and_else_from_the_network(
    cached: bool, asked: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, {"question": "2 + 2?", "answer": "#### 4"}, name="test.jsonl")
    hub = Hub(tmp_path, cached)
    installed(monkeypatch, hub)
    (probe,) = make_probes(parse_probes("openai/gsm8k"), seed=0)
    assert (probe.probe_id, probe.answer) == ("gsm8k-1", "4")
    assert hub.calls == [("openai/gsm8k", "dataset", local) for local in asked]
    suffixes = (".parquet", ".jsonl", ".json", ".csv")
    assert hub.patterns == {f"*{split}*{suffix}" for split in ("test", "validation", "train") for suffix in suffixes}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no network\nmore about it"), "the data set a/b cannot be loaded from the hub: no network"),
        (ValueError(""), "the data set a/b cannot be loaded from the hub: ValueError('')"),
    ],
)
def test_a_data_set_that_the_hub_does_not_give_is_one_sentence(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, Hub(tmp_path, cached=False, error=error))
    with pytest.raises(SpecError) as refused:
        make_probes(parse_probes("a/b"), seed=0)
    assert refused.value.problems == [said]


def test_a_data_set_of_the_hub_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, None)
    with pytest.raises(SpecError) as refused:
        make_probes(parse_probes("a/b"), seed=0)
    assert refused.value.problems == [
        "no file is called a/b; huggingface_hub, which loads a data set of that name, is not installed: "
        "pip install huggingface_hub"
    ]


@pytest.mark.parametrize(
    ("most", "problem"),
    [(1, None), (256, None), (0, "max_tokens"), (True, "max_tokens"), (1.0, "max_tokens"), ("9", "max_tokens")],
)
def test_a_probe_asks_for_a_token_at_least(most: object, problem: str | None, tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "Why?", "answer": "a", "max_tokens": most})
    if problem is None:
        assert [probe.max_tokens for probe in read(path)] == [most]
        return
    with pytest.raises(SpecError) as refused:
        read(path)
    assert refused.value.problems == [f"{path}, line 1: max_tokens must be a whole number from 1"]


def test_published_rows_ask_for_room_to_reason_or_for_a_letter(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"question": "2 + 2?", "answer": "It is 4.\n#### 4"},
            {"question": "Which?", "choices": ["a", "b"], "answer": 1}]  # fmt: skip
    assert [(probe.answer, probe.max_tokens) for probe in read(written(tmp_path, *rows))] == [("4", 512), ("B", 64)]


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("What?,a,b,c,d,B\nWhy?,a,b,c,d,A\n", ["B", "A"]),  # MMLU has no header.
        ("id,kind,prompt,answer,grader,letters\n1,k,Why?,x,exact,AB\n", ["x"]),
        ("prompt,A\n", None),
        ("prompt,answer\nWhy?,A\n", ["A"]),
    ],
)
def test_a_sheet_of_six_columns_without_a_header_is_that_of_mmlu(
    text: str, answers: list[str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text(text, encoding="utf-8")
    if answers is None:
        with pytest.raises(SpecError) as refused:
            read(path)
        assert refused.value.problems == [f"{path} has no row with a question and an answer"]
    else:
        assert [probe.answer for probe in read(path)] == answers


@pytest.mark.parametrize(
    "more",
    [
        {"instruction_id_list": [], "kwargs": []},
        {"instruction_id_list": []},
        {"instruction_id_list": ["punctuation:no_comma"]},
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}, {}]},
        {"instruction_id_list": "punctuation:no_comma", "kwargs": [{}]},
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": {"a": 1}},
    ],
)
def test_each_instruction_of_ifeval_has_its_arguments(more: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "Why?", **more})
    with pytest.raises(SpecError) as refused:
        read(path)
    assert refused.value.problems == [
        f"{path}, line 1: instruction_id_list and kwargs must be lists of the same length"
    ]
