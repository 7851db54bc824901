"""User input, typed and pasted: values that begin with a dash, headers, nesting, help on narrow terminals, completions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import pytest

from promptset.completion import with_values as completed
from promptset.dashed_values import with_values
from promptset.depth import too_deep
from promptset.header_values import api_key, header_value
from promptset.help_text import fitted
from promptset.large_numbers import large_number
from promptset.output_formats import OUTPUT_FORMATS
from promptset.samples import Sample


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("-d", "--duration")
    made.add_argument("--quiet", action="store_true")
    made.add_argument("--names", nargs="*")
    return made


@pytest.mark.parametrize(
    ("words", "tied"),
    [
        (["--duration", "-5s"], ["--duration=-5s"]),
        (["-d", "-5s", "-6s"], ["-d=-5s", "-6s"]),
        (["--duration", "5s"], ["--duration", "5s"]),
        (["--duration", "--quiet"], ["--duration", "--quiet"]),
        (["--duration", "-d=3"], ["--duration", "-d=3"]),
        (["--quiet", "-5s"], ["--quiet", "-5s"]),
        (["--names", "-5s"], ["--names", "-5s"]),
        (["-5s"], ["-5s"]),
        (["--duration", ""], ["--duration", ""]),
    ],
)
def test_a_value_that_begins_with_a_dash_is_tied_to_its_flag(words: Sequence[str], tied: list[str]) -> None:
    assert with_values(parser(), words) == tied


@pytest.mark.parametrize("text", ["key\n", " key ", "\tkey\r\n"])
def test_a_pasted_value_loses_its_white_space(text: str) -> None:
    assert (header_value(text, "x"), api_key(text)) == ("key", "key")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("k\u00e9y", "the key has characters that a header cannot carry: it is not ASCII"),
        ("a\nb", "the key has characters that a header cannot carry: a line break"),
        ("a\x1fb", "the key has characters that a header cannot carry: a line break"),
        ("a\x7fb", "the key has characters that a header cannot carry: a line break"),
        (" ", "the key is empty"),
    ],
)
def test_what_a_header_cannot_carry_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        api_key(text)
    assert not text.strip() or text not in str(refused.value)
    assert api_key("a b~!") == "a b~!"


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def test_what_is_nested_too_deep_cannot_be_sent() -> None:
    # orjson writes 254 levels, and a request adds up to 30 around the given value.
    assert [too_deep(nested(levels)) for levels in (0, 200, 224, 225, 900)] == [False, False, False, True, True]
    with pytest.raises(TypeError):
        too_deep({1, 2})


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("short enough\nin two lines", 12, ["short enough", "in two lines"]),
        ("one paragraph of\ntwo lines here", 15, ["one paragraph", "of two lines", "here"]),
        ("  name  what is said of it at length", 24, ["  name  what is said of", "        it at length"]),
        ("  # a comment that is long", 16, ["  # a comment", "  # that is long"]),
        ("  python -m bench run --url http://h --rate 5", 30, [
            "  python -m bench run \\", "    --url http://h --rate 5"]),
        ("  python -m bench run --rate 5   # above it", 34, ["  # above it", "  python -m bench run --rate 5"]),
    ],
)  # fmt: skip
def test_help_fits_a_narrow_terminal_and_commands_remain_commands(text: str, width: int, lines: list[str]) -> None:
    assert fitted(text, width).split("\n") == lines


def test_flags_complete_to_what_their_metavar_names() -> None:
    import shtab

    made = argparse.ArgumentParser()
    flags = {
        name: made.add_argument(f"--{name}", metavar=metavar)
        for name, metavar in (("a", "auto|off|URL"), ("f", "FILE"), ("d", "RUN_DIR"), ("n", "N"))
    }
    flags["c"] = made.add_argument("--c", choices=("x",), metavar="y|z")
    below = made.add_subparsers().add_parser("sub")
    flags["s"] = below.add_argument("--s", metavar="on|DIR")
    assert completed(made) is made
    assert {name: flag.choices for name, flag in flags.items()} == {
        "a": ["auto", "off"], "f": None, "d": None, "n": None, "c": ("x",), "s": ["on"],
    }  # fmt: skip
    offered = {name: getattr(flag, "complete", None) for name, flag in flags.items()}
    assert offered == {"a": None, "f": shtab.FILE, "d": shtab.DIRECTORY, "n": None, "c": None, "s": shtab.DIRECTORY}


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("sample", "row"),
    [
        (Sample(prompt="p", input_tokens=3, output_tokens=5), {"prompt": "p", "input_tokens": 3, "output_tokens": 5}),
        (Sample(messages=(USER,), at_s=0.0), {"messages": (USER,), "input_tokens": None, "at_s": 0.0}),
        (Sample(body={"prompt": "b"}, input_tokens=3), {"prompt": "b"}),
        (Sample(prompt="p", headers=(("a", "b"),), model="m", priority=0), {
            "prompt": "p", "input_tokens": None, "model": "m", "priority": 0, "headers": {"a": "b"}}),
    ],
)  # fmt: skip
def test_a_row_says_what_its_sample_has(sample: Sample, row: dict[str, Any]) -> None:
    assert OUTPUT_FORMATS["rows"].write(sample, 0, None) == row


@pytest.mark.parametrize(
    ("sample", "url", "body"),
    [
        (Sample(prompt="p", output_tokens=5), "/v1/completions", {"model": "m", "prompt": "p", "max_tokens": 5}),
        (Sample(messages=(USER,)), "/v1/chat/completions", {"model": "m", "messages": (USER,)}),
        (Sample(messages=(USER,), output_tokens=5), "/v1/chat/completions", {
            "model": "m", "messages": (USER,), "max_completion_tokens": 5}),
        (Sample(body={"messages": [USER], "model": "x"}), "/v1/chat/completions", {"messages": [USER], "model": "m"}),
    ],
)  # fmt: skip
def test_a_request_of_a_batch_has_a_number_a_place_and_a_body(sample: Sample, url: str, body: dict[str, Any]) -> None:
    assert OUTPUT_FORMATS["openai-batch"].write(sample, 7, "m") == {
        "custom_id": "request-7", "method": "POST", "url": url, "body": body,
    }  # fmt: skip


def test_a_line_of_exactly_the_width_stays_as_it_is() -> None:
    command = "  python -m bench run --rate 5 --duration 9s"
    longer = f"{command} --seed 3"
    assert fitted(f"{command}\n{longer}", len(command)).splitlines()[0] == command
    assert fitted(longer, len(longer)) == longer
    assert fitted(longer, len(longer) - 1).splitlines()[0].endswith(" \\")
    described = "name  " + "a" * 30 + "  b"
    assert fitted(f"{described}\n{described}c", len(described)).splitlines()[0] == described


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        (b"18446744073709551615", None), (b"18446744073709551616", "18446744073709551616"),
        (b"-9223372036854775808", None), (b"-9223372036854775809", "-9223372036854775809"),
        (b"[1, " + b"7" * 40 + b"]", "7" * 40), (b"7" * 41, "7" * 40 + "..."), (b"7" * 5000, "7" * 40 + "..."),
        (b"1.00000000000000000000", None), (b'"18446744073709551616"', None),
    ],
)  # fmt: skip
def test_a_number_of_more_than_64_bits_is_named_by_its_first_digits(text: bytes, digits: str | None) -> None:
    said = f"the number {digits} has more than 64 bits and would be sent as another: write it as text"
    assert large_number(text) == (None if digits is None else said)


def test_help_is_broken_at_spaces_and_at_no_hyphen() -> None:
    assert fitted("  name  time-to-first-token and more-of-it", 24).split("\n") == [
        "  name  time-to-first-token",
        "        and more-of-it",
    ]
    assert fitted("one two-three", 9).split("\n") == ["one", "two-three"]
