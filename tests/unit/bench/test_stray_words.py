"""Words of a command line that belong to no flag, and flags that do not exist: one sentence each."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import cache
from typing import Literal

import pytest
from pydantic import BaseModel

from bench.commands.parsers import parsers
from bench.config.fields import option
from bench.config.flags import Parser, about_unknown, add_fields, parse

ALL = "python -m bench run --help-all lists all"
SWEEP = "--rate takes one value; for several loads, write python -m bench sweep --loads rate="
AGAIN = "takes one value, and may be given again"


@cache
def run_parser() -> ArgumentParser:
    return parsers()["run"]


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        ("x", ["'x' was not expected: values follow a flag"]),
        ("http://h", ["'http://h' was not expected: did you mean --url http://h?"]),
        ("--url http://a http://b", [f"'http://b' was not expected: --url {AGAIN}: --url A --url B"]),
        ("--url http://a x y", [f"'x' was not expected: --url {AGAIN}: --url A --url B"]),
        ("--slo a b", [f"'b' was not expected: --slo {AGAIN}: --slo A --slo B"]),
        ("--seed 1 2", ["'2' was not expected: --seed takes one value"]),
        ("--seed 1 http://h", ["'http://h' was not expected: did you mean --url http://h?"]),
        ("--rate 1 2", [f"'2' was not expected: {SWEEP}1,2"]),
        ("--rate 1 2 --seed 3 4 5", [f"'2' was not expected: {SWEEP}1,2", "'4' was not expected: --seed takes one value"]),
        ("--rate 5 -5 6", [f"'-5' was not expected: {SWEEP}5"]),
        ("a b --rate 1 c", ["'a' was not expected: values follow a flag", f"'c' was not expected: {SWEEP}1,c"]),
        ("concurrency=5", ["'concurrency=5' was not expected: did you mean --concurrency 5?"]),
        ("--url http://h url=http://u:p@x", ["'url=http://***@x' was not expected: did you mean --url http://***@x?"]),
        ("—rate 5", ["'—rate' begins with a long dash: write --rate"]),
        ("–-rate 5", ["'–-rate' begins with a long dash: write --rate"]),
        ("−rate 5", ["'−rate' begins with a long dash: write --rate"]),
        ("-c400", ["-c is not a flag here: write --concurrency 400"]),
        ("-c 400", ["-c is not a flag here: write --concurrency 400"]),
        ("a ftp://x --slo s", ["'a' was not expected: values follow a flag",
                               "'ftp://x' was not expected: values follow a flag"]),
        ("-num-prompts 5", ["-num-prompts is not a flag here: write --requests 5"]),
        ("-tp 5", ["-tp is not a flag here: write --gpus 5. It is a flag of the server; --gpus counts its GPUs."]),
        ("-n 5", ["-n is not a flag here: write --requests 5"]),
        ("-5", ["'-5' was not expected: values follow a flag"]),
        ("--Rate 5", ["--Rate is not a flag: did you mean --rate?"]),
        ("--conc=5", ["--conc is not a flag: did you mean --concurrency?"]),
        ("--con 5", ["--con is not a flag: did you mean --concurrency?"]),
        ("--outt x", ["--outt is not a flag: did you mean --out?"]),
        ("--no-strem", ["--no-strem is not a flag: did you mean --no-stream?"]),
        ("--url http://h --rate=5 6", ["'6' was not expected: values follow a flag"]),
        ("--no-stream x", ["'x' was not expected: values follow a flag"]),
        ("--dry", [f"--dry is not a flag: {ALL}"]),
        ("x --bogus", ["'x' was not expected: values follow a flag", f"--bogus is not a flag: {ALL}"]),
        ("--xyz 5 http://h", [f"--xyz is not a flag: {ALL}", "'http://h' was not expected: did you mean --url http://h?"]),
        ("--num-prompts 5 http://h",
         ["--num-prompts is not a flag here: write --requests 5",
          "'http://h' was not expected: did you mean --url http://h?"]),
        ("--max_tokens 5",
         ["--max_tokens is not a flag here: write --output-tokens 5. --ignore-eos makes replies exactly that long."]),
        ("--request-rate 5 6",
         ["--request-rate is not a flag here: write python -m bench sweep --loads rate=5,6. Arrivals are Poisson; "
          "--arrivals constant sends at equal intervals."]),
        ("-u http://h", ["-u is not a flag here: write --url http://h"]),
    ],
)  # fmt: skip
def test_a_word_that_belongs_to_no_flag_is_answered_once(words: str, sentences: list[str]) -> None:
    _, problems = parse(run_parser(), words.split())
    assert problems == sentences


@pytest.mark.parametrize(
    ("words", "given"),
    [
        # What was surely meant is not missing besides.
        ("http://h", {"url": "http://h"}),
        ("-u http://h", {"url": "http://unknown"}),
        ("--api-key http://h http://i", {"api_key": "http://h", "url": "http://i"}),
        ("--url http://a http://b", {"url": "http://a"}),
        ("--request-rate 5", {"rate": "1"}),
        ("--seed 1 2", {"seed": "1"}),
    ],
)
def test_what_a_wrong_word_gave_is_not_missing(words: str, given: dict[str, str]) -> None:
    flags, _ = parse(run_parser(), words.split())
    assert {key: value for key, value in flags.items() if value is not None} == given


@pytest.mark.parametrize(
    ("name", "known", "sentence"),
    [
        ("--ratee", ["--rate"], "--ratee is not a flag: did you mean --rate?"),
        ("--x", ["--rate", "--help"], "--x is not a flag: prog --help lists all"),
        ("--x", ["--rate", "--help-all"], "--x is not a flag: prog --help-all lists all"),
        # Three letters are too few to begin a flag.
        ("--ra", ["--ramp-up"], "--ra is not a flag: prog --help lists all"),
        ("--ram", ["--ramp-up"], "--ram is not a flag: did you mean --ramp-up?"),
        ("--RATE", ["--rate"], "--RATE is not a flag: did you mean --rate?"),
        ("--Max_Errors", ["--max-errors"], "--Max_Errors is not a flag: did you mean --max-errors?"),
        # The case of a single letter counts.
        ("-Q", ["-q"], "-Q is not a flag: prog --help lists all"),
    ],
)
def test_a_flag_that_does_not_exist_leads_to_the_nearest_one(name: str, known: list[str], sentence: str) -> None:
    assert about_unknown(name, None, known, "prog").sentence == sentence


class Model(BaseModel):
    number: int | None = option(None, "a number", group="load")
    word: Literal["a", "b"] | None = option(None, "a word", group="load")


def test_a_setting_without_a_word_for_its_value_takes_its_choices_or_its_name() -> None:
    parser = Parser(prog="p")
    add_fields(parser, Model)
    assert {action.dest: action.metavar for action in parser._actions if action.dest in Model.model_fields} == {
        "number": "NUMBER", "word": "a|b",
    }  # fmt: skip
