"""Rows of GSM8K, MMLU, MMLU-Pro and IFEval, as published."""

from __future__ import annotations

from promptset.errors import SpecError
from promptset.probes.ifeval import patterns_of
from promptset.probes.values import GraderSettings, Pattern, Probe, Row, user

_LETTERS = "ABCDEFGHIJ"
_LONG, _SHORT = 512, 64
"""Output tokens to ask for: with reasoning, and for the answer alone."""


def gsm8k_row(probe_id: str, name: str, row: Row) -> Probe:
    """{question, answer}: the right number follows the last `####`."""
    question, answer = _texts(row, "question", "answer")
    number = answer.rpartition("####")[2].strip().replace(",", "")
    return Probe(
        probe_id=probe_id,
        kind=name,
        messages=user(f"{question}\n\nThink step by step. End with #### and the number."),
        answer=number,
        grader="number",
        max_tokens=_LONG,
    )


def _choices(probe_id: str, name: str, question: str, choices: list[str], right: int) -> Probe:
    letters = _LETTERS[: len(choices)]
    lines = "\n".join(f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True))
    return Probe(
        probe_id=probe_id,
        kind=name,
        messages=user(f"{question}\n{lines}\n\nAnswer with the letter alone."),
        answer=letters[right],
        grader="letter",
        settings=GraderSettings(letters=letters),
        max_tokens=_SHORT,
    )


def mmlu_row(probe_id: str, name: str, row: Row) -> Probe:
    """MMLU {question, choices, answer: 0-3}, MMLU-Pro {question, options, answer: a letter}."""
    key = "choices" if "choices" in row else "options"
    (question,) = _texts(row, "question")
    choices, answer = row[key], row["answer"]
    if (
        not isinstance(choices, list)
        or not 2 <= len(choices) <= len(_LETTERS)
        or not all(isinstance(choice, str) for choice in choices)
    ):
        raise SpecError(f"{key} must be a list of 2 to {len(_LETTERS)} texts")
    right = _LETTERS.find(answer) if isinstance(answer, str) and len(answer) == 1 else answer
    if not isinstance(right, int) or isinstance(right, bool) or not 0 <= right < len(choices):
        raise SpecError(f"answer must be the number (from 0) or the letter of one of {len(choices)} choices")
    return _choices(probe_id, name, question, choices, right)


def ifeval_row(probe_id: str, name: str, row: Row) -> Probe:
    """{key, prompt, instruction_id_list, kwargs}."""
    (prompt,) = _texts(row, "prompt")
    names, kwargs = row["instruction_id_list"], row.get("kwargs", [])
    if not isinstance(names, list) or not isinstance(kwargs, list) or len(names) != len(kwargs) or not names:
        raise SpecError("instruction_id_list and kwargs must be lists of the same length")
    patterns: list[Pattern] = []
    for instruction, arguments in zip(names, kwargs, strict=True):
        patterns += patterns_of(instruction, arguments or {})
    return Probe(
        probe_id=probe_id,
        kind=name,
        messages=user(prompt),
        answer="",
        grader="pattern",
        settings=GraderSettings(patterns=tuple(patterns)),
        max_tokens=_LONG,
    )


def _texts(row: Row, *keys: str) -> tuple[str, ...]:
    if problems := [f"{key} must be a text that is not empty" for key in keys if not _is_text(row[key])]:
        raise SpecError(problems)
    return tuple(row[key] for key in keys)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""
