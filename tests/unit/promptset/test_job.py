"""Invalid combinations of the command's options, and what a manifest says about options."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from promptset import job
from promptset.cli import _closing_lines, _parser, _recipe_list, _unknown_problems
from promptset.lines import CHUNK, DataSetSpec, tasks
from promptset.manifest import FileSummary
from promptset.output_formats import Line, RequestFacts


def options(words: str) -> Namespace:
    return _parser("p").parse_args(words.split())


def given(of: Namespace) -> dict[str, str]:
    return {key: value for key in job._RECIPE_KEYS if (value := getattr(of, key)) is not None}


WITH_TURNS = "cannot be combined with --turns: sessions have their own row format, in English words"
FROM = "cannot be combined with --from: the file brings its own prompts"


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ("", []),
        ("--format rows --bad-rows skip --model m", []),
        ("--format row", ["--format row: write one of rows, vllm, openai-batch"]),
        ("--bad-rows keep", ["--bad-rows keep: write one of fail, skip"]),
        ("--format openai-batch", ["--format openai-batch needs --model: every row names it"]),
        ("--format openai-batch --model m", []),
        ("--tools t.json", ["--tools needs --chat: only chats offer tools"]),
        ("--tools t.json --chat", []),
        ("--think-time 1s", ["--think-time needs --turns: only sessions have think times"]),
        ("--think-time 1s --turns 2", []),
        ("--columns prompt=q", ["--columns needs --from: it names columns of that file"]),
        ("--turns 2 --gaps 1s", [f"--gaps {WITH_TURNS}"]),
        ("--turns 2 --tools t --chat", [f"--tools {WITH_TURNS}"]),
        ("--turns 2 --format openai-batch --model m", [f"--format openai-batch {WITH_TURNS}"]),
        ("--turns 2 --text code --repeated-text 0.5", [f"--text code {WITH_TURNS}", f"--repeated-text 0.5 {WITH_TURNS}"]),
        ("--turns 2 --from {file}", [f"--from {WITH_TURNS}"]),
        ("--from {file} --columns prompt=q", []),
        ("--from {file} --input-tokens 5 --gaps 1s --recipe chatbot", [
            f"--input-tokens {FROM}", f"--gaps {FROM}", f"--recipe {FROM}"]),
        ("--from {file} --chat --tools t --prefix tokens=3", [f"--prefix {FROM}", f"--tools {FROM}"]),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_named(words: str, problems: list[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.touch()
    of = options(words.format(file=file))
    assert [*job._conflicts(of, given(of))] == problems


AGENT = "cannot be combined with --recipe coding-agent: the recipe describes its sessions"


@pytest.mark.parametrize(
    ("words", "limit", "problems"),
    [
        ("", None, []),
        ("--context-limit 32768", None, ["--context-limit needs a recipe of sessions, such as --recipe coding-agent"]),
        ("--recipe coding-agent", None, []),
        ("--recipe coding-agent --context-limit 32768", 32_768, []),
        ("--recipe coding-agent --input-tokens 5 --turns 2 --think-time 1s", None, [
            f"--input-tokens {AGENT}", f"--turns {AGENT}", f"--think-time {AGENT}"]),
        ("--recipe coding-agent --chat --tools t --text code", None, [f"--tools {AGENT}", f"--text code {AGENT}"]),
        ("--recipe coding-agent --format openai-batch --repeated-text 0.1", None, [
            f"--format openai-batch {AGENT}", f"--repeated-text 0.1 {AGENT}"]),
    ],
)  # fmt: skip
def test_a_recipe_of_sessions_describes_them_alone(words: str, limit: int | None, problems: list[str]) -> None:
    of, found = options(words), list[str]()
    assert job._context_limit(of, given(of), "coding-agent" in words and of.recipe is not None, found) == limit
    assert found == problems


@pytest.mark.parametrize(
    ("text", "least", "most", "number", "problem"),
    [
        ("3", None, None, 3, None),
        ("-3", None, None, -3, None),
        ("x", None, None, None, "--n x: write a whole number"),
        ("0", 1, None, None, "--n 0: write a whole number of at least 1"),
        ("1", 1, None, 1, None),
        ("256", 1, 256, 256, None),
        ("257", 1, 256, None, "--n 257: write a whole number from 1 to 256"),
    ],
)
def test_a_number_is_whole_and_within_its_limits(
    text: str, least: int | None, most: int | None, number: int | None, problem: str | None
) -> None:
    problems: list[str] = []
    assert job._whole("--n", text, least, problems, most) == number
    assert problems == ([] if problem is None else [problem])


@pytest.mark.parametrize(
    ("words", "manifest"),
    [
        ("--count 3 --input-tokens 9 --seed 7", {
            "count": 3, "seed": 7, "chat": False, "format": "rows", "input_tokens": "9", "output_tokens": "128",
            "text": "words", "repeat": "0"}),
        ("--count 3 --input-tokens 40 --chat --text code --repeated-text 0.2 --salt s", {
            "count": 3, "seed": 0, "salt": "s", "chat": True, "format": "rows", "input_tokens": "40",
            "output_tokens": "128", "text": "code", "repeat": "0.2"}),
        ("--turns 2 --input-tokens 9 --output-tokens 5", {
            "count": 100, "seed": 0, "chat": False, "format": "rows", "input_tokens": "9", "output_tokens": "5",
            "turns": "2", "think_time": "0s"}),
        ("--recipe azure-2023-conversation --input-tokens 900 --count 2", {
            "count": 2, "seed": 0, "chat": False, "format": "rows", "recipe": "azure-2023-conversation",
            "input_tokens": "900", "output_tokens": "empirical:azure-2023-conversation-output.json", "text": "words",
            "repeat": "0"}),
        ("--from {file}", {
            "count": 2, "seed": 0, "chat": False, "format": "rows", "from": "rows.jsonl", "columns": None,
            "bad_rows": "fail"}),
        ("--from {file} --count 1 --columns prompt=prompt --bad-rows skip", {
            "count": 1, "seed": 0, "chat": False, "format": "rows", "from": "rows.jsonl", "columns": "prompt=prompt",
            "bad_rows": "skip"}),
    ],
)  # fmt: skip
def test_a_manifest_says_the_options_that_make_the_file(words: str, manifest: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    made = job.job_of(options(words.format(file=file)), [])
    shown = {key: value for key, value in made.options.items() if key != "gaps"}
    assert shown == manifest
    assert (made.count, made.processes, made.out) == (manifest["count"], 1, None)
    assert (made.times_s is not None) is ("azure" in words)


@pytest.mark.parametrize(("limit", "limited"), [(None, {}), (32_768, {"context_limit": 32_768})])
def test_a_manifest_of_sessions_names_their_recipe_without_its_folder(
    limit: int | None, limited: dict[str, int]
) -> None:
    spec = DataSetSpec(tokenizer=None, chat=False, seed=4, sessions_of="mine/agents.yaml", context_limit=limit)
    assert job._manifest_options(spec, 1, options(""), {"input_tokens": "9"}) == {
        "count": 1, "seed": 4, "chat": False, "format": "rows", "recipe": "agents.yaml", **limited,
    }  # fmt: skip


def test_rows_are_made_in_chunks_each_with_its_times() -> None:
    assert [*tasks(130, None)] == [(0, [None] * CHUNK), (64, [None] * CHUNK), (128, [None] * 2)]
    assert [*tasks(66, iter(range(1_000)))] == [(0, [*range(64)]), (64, [64, 65])]
    assert [*tasks(64, None)] == [(0, [None] * 64)]


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ("--isl 5 --chta", [
            "unknown argument --isl: did you mean --input-tokens?", "unknown argument --chta: did you mean --chat?"]),
        ("-n 5 more --wholly-other", [
            "unknown argument -n: did you mean --count?", "unknown argument more", "unknown argument --wholly-other"]),
        ("--num=5", ["unknown argument --num=5: did you mean --count?"]),
    ],
)  # fmt: skip
def test_unknown_arguments_have_the_nearest_known_one(words: str, problems: list[str]) -> None:
    assert _unknown_problems(_parser("p"), words.split()) == problems


def test_the_list_of_recipes_is_a_table() -> None:
    lines = _recipe_list().splitlines()
    begins = {len(line) - len(line.partition("  ")[2].lstrip()) for line in lines}
    assert (len(lines) > 5, len(begins)) == (True, 1)


def test_the_last_line_counts_what_was_written() -> None:
    from promptset.manifest import FileSummary

    made = job.job_of(options("--count 2 --turns 2 --input-tokens 9"), [])
    summary = FileSummary(made.maker.head)
    summary.rows = 2
    of = made.maker.tokenizer
    assert [*_closing_lines(made, summary)] == [f"2 sessions (tokenizer {of.name}, fingerprint {of.fingerprint})"]


@pytest.mark.parametrize(
    ("stated", "counted", "checked", "exact", "length"),
    [(5, 5, 1, 1, [5]), (5, 6, 1, 0, [6]), (None, 6, 0, 0, [6]), (5, None, 0, 0, [5]), (None, None, 0, 0, [])],
)
def test_only_a_prompt_that_states_its_length_and_can_be_counted_is_checked(
    stated: int | None, counted: int | None, checked: int, exact: int, length: list[int]
) -> None:
    summary = FileSummary(None)
    summary.add(Line(b"{}\n", (RequestFacts(stated, counted, None),)))
    assert (summary.requests, summary.checked, summary.exact, [*summary._input]) == (1, checked, exact, length)
