"""Turns the options of the command line into a job, or reports every problem at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from promptset import recipes
from promptset.agents.recipe import LEAST_LIMIT
from promptset.chat import Tool
from promptset.distributions import Distribution, parse
from promptset.errors import SpecError
from promptset.kinds import WORDS, parse_style
from promptset.lines import DataSetSpec, LineMaker
from promptset.loaders import BadRows, DataSet, parse_columns
from promptset.output_formats import OUTPUT_FORMATS
from promptset.sharing import parse_prefix
from promptset.tokens import load_tokenizer
from promptset.tools import load_tools

BAD_ROWS: tuple[str, ...] = get_args(BadRows)

_MOST_PROCESSES = 256
_RECIPE_KEYS = ("input_tokens", "output_tokens", "prefix", "gaps")


@dataclass(frozen=True, slots=True)
class Job:
    """What to write, and where."""

    spec: DataSetSpec
    maker: LineMaker
    count: int
    times_s: Iterator[float] | None
    processes: int
    out: Path | None
    """The file to write; None is stdout."""
    options: dict[str, Any]
    """The options as the manifest shows them."""


def job_of(options: argparse.Namespace, problems: list[str]) -> Job:
    """Turn the options into a job. Raises SpecError with every problem."""
    count = None if options.count is None else _whole("--count", options.count, 1, problems)
    seed = _whole("--seed", options.seed, None, problems)
    processes = _whole("--processes", options.processes, 1, problems, _MOST_PROCESSES)
    given = {key: value for key in _RECIPE_KEYS if (value := getattr(options, key)) is not None}
    problems += _conflicts(options, given)
    of_sessions = options.recipe is not None and recipes.makes_sessions(options.recipe)
    limit = _context_limit(options, given, of_sessions, problems)
    recipe = {} if of_sessions else _recipe(options, problems)
    asked = {"input_tokens": "1024", "output_tokens": "128", **recipe, **given}
    gaps = _check_distributions(options, asked, problems)
    tools = None if options.tools is None else _read_or_note("--tools", load_tools, problems, Path(options.tools))
    tokenizer = _read_or_note("--tokenizer:", load_tokenizer, problems, options.tokenizer)
    out = None if options.out in (None, "-") else Path(options.out)
    problems += [] if out is None else _out_problems(out, options.force)
    if problems or tokenizer is None or seed is None or processes is None:
        raise SpecError(problems)
    spec = _spec(options, asked, seed, tools, limit, of_sessions=of_sessions)
    maker = LineMaker(spec, tokenizer)
    rows = len(maker.samples) if isinstance(maker.samples, DataSet) else None
    if rows is not None and count is not None and count > rows:
        raise SpecError(f"--count {count}: {options.source} has {rows} rows")
    if count is None:
        count = 100 if rows is None else rows
    times_s = None if gaps is None else recipes.times_s(gaps, seed)
    return Job(spec, maker, count, times_s, processes, out, _manifest_options(spec, count, options, asked))


def _recipe(options: argparse.Namespace, problems: list[str]) -> dict[str, str]:
    if options.recipe is None or not (recipe := _read_or_note("--recipe", recipes.load, problems, options.recipe)):
        return {}
    return {key: value for key in _RECIPE_KEYS if (value := getattr(recipe, key)) is not None}


def _check_distributions(
    options: argparse.Namespace, asked: Mapping[str, str], problems: list[str]
) -> Distribution | None:
    """Record values that cannot be parsed. Returns the gaps between rows, if rows have times."""
    for key in ("input_tokens", "output_tokens"):
        _read_or_note(f"--{key.replace('_', '-')}", parse, problems, asked[key], "tokens")
    for key, dimension in (("turns", "tokens"), ("think_time", "time")):
        if getattr(options, key) is not None:
            _read_or_note(f"--{key.replace('_', '-')}", parse, problems, getattr(options, key), dimension)
    gaps = _read_or_note("--gaps", parse, problems, asked["gaps"], "time") if "gaps" in asked else None
    if "prefix" in asked:
        _read_or_note("--prefix", parse_prefix, problems, asked["prefix"])
    if options.columns is not None:
        _read_or_note("--columns", parse_columns, problems, options.columns)
    repeated = "" if options.repeat == "0" else f" --repeated-text {options.repeat}"
    style = f"--text {options.text}{repeated}:"
    _read_or_note(style, parse_style, problems, options.text, options.repeat)
    return gaps


def _spec(
    options: argparse.Namespace,
    asked: Mapping[str, str],
    seed: int,
    tools: tuple[Tool, ...] | None,
    limit: int | None,
    *,
    of_sessions: bool,
) -> DataSetSpec:
    return DataSetSpec(
        tokenizer=options.tokenizer,
        chat=options.chat,
        seed=seed,
        salt=options.salt,
        format=options.format,
        model=options.model,
        source=options.source,
        columns=options.columns,
        bad_rows=options.bad_rows,
        input_tokens=asked["input_tokens"],
        output_tokens=asked["output_tokens"],
        prefix=asked.get("prefix"),
        text=options.text,
        repeat=options.repeat,
        tools=tools,
        turns=options.turns,
        think_time="0s" if options.think_time is None else options.think_time,
        sessions_of=options.recipe if of_sessions else None,
        context_limit=limit,
    )


def _context_limit(
    options: argparse.Namespace, given: Mapping[str, str], of_sessions: bool, problems: list[str]
) -> int | None:
    """The window for a recipe of sessions. Records options that conflict with such a recipe."""
    if not of_sessions:
        if options.context_limit is not None:
            problems.append("--context-limit needs a recipe of sessions, such as --recipe coding-agent")
        return None
    _read_or_note("--recipe", recipes.load_sessions, problems, options.recipe)
    wrong = [f"--{key.replace('_', '-')}" for key in given]
    wrong += [
        f"--{flag}" for flag in ("turns", "think-time", "tools") if getattr(options, flag.replace("-", "_")) is not None
    ]
    wrong += [] if options.format == "rows" else [f"--format {options.format}"]
    wrong += [] if options.text == WORDS else [f"--text {options.text}"]
    wrong += [] if options.repeat == "0" else [f"--repeated-text {options.repeat}"]
    problems += [
        f"{flag} cannot be combined with --recipe {options.recipe}: the recipe describes its sessions" for flag in wrong
    ]
    if options.context_limit is None:
        return None
    return _whole("--context-limit", options.context_limit, LEAST_LIMIT, problems)


def _conflicts(options: argparse.Namespace, given: Mapping[str, str]) -> Iterator[str]:
    """Unknown choices, and options that contradict each other."""
    for flag, value, known in (
        ("--format", options.format, list(OUTPUT_FORMATS)),
        ("--bad-rows", options.bad_rows, BAD_ROWS),
    ):
        if value not in known:
            yield f"{flag} {value}: write one of {', '.join(known)}"
    chosen = OUTPUT_FORMATS.get(options.format)
    if chosen is not None and chosen.needs_model and options.model is None:
        yield f"--format {options.format} needs --model: every row names it"
    if options.tools is not None and not options.chat:
        yield "--tools needs --chat: only chats offer tools"
    if options.turns is None and options.think_time is not None:
        yield "--think-time needs --turns: only sessions have think times"
    if options.turns is not None:
        for flag, wrong in (
            ("--gaps", options.gaps is not None),
            ("--tools", options.tools is not None),
            ("--from", options.source is not None),
            (f"--format {options.format}", options.format != "rows"),
            (f"--text {options.text}", options.text != WORDS),
            (f"--repeated-text {options.repeat}", options.repeat != "0"),
        ):
            if wrong:
                yield f"{flag} cannot be combined with --turns: sessions have their own row format, in English words"
    if options.source is None:
        if options.columns is not None:
            yield "--columns needs --from: it names columns of that file"
        return
    if Path(options.source).is_dir():
        yield f"--from {options.source} is a directory: name a file in it"
    elif not Path(options.source).exists():
        yield f"--from {options.source}: there is no such file"
    for key in (*given, *(key for key in ("tools", "recipe") if getattr(options, key) is not None)):
        yield f"--{key.replace('_', '-')} cannot be combined with --from: the file brings its own prompts"


T = TypeVar("T")


def _read_or_note(flag: str, read: Callable[..., T], problems: list[str], *arguments: object) -> T | None:
    """The value that `read` returns. On failure returns None and adds its problems to `problems`."""
    try:
        return read(*arguments)
    except SpecError as e:
        problems += [f"{flag} {problem}" for problem in e.problems]
        return None


def _manifest_options(
    spec: DataSetSpec, count: int, options: argparse.Namespace, asked: Mapping[str, str]
) -> dict[str, Any]:
    salt = {} if spec.salt is None else {"salt": spec.salt}
    shared = {"count": count, "seed": spec.seed, **salt, "chat": spec.chat, "format": spec.format}
    if spec.source is not None:
        return {**shared, "from": Path(spec.source).name, "columns": spec.columns, "bad_rows": spec.bad_rows}
    named = {"recipe": options.recipe} if options.recipe is not None else {}
    # The folder of a recipe's table differs between machines, so only its name is shown.
    distributions = {key: re.sub(r"empirical:.*[/\\]", "empirical:", value) for key, value in asked.items()}
    if spec.sessions_of is not None:
        limited = {} if spec.context_limit is None else {"context_limit": spec.context_limit}
        return {**shared, "recipe": Path(spec.sessions_of).name, **limited}
    if spec.turns is not None:
        return {**shared, **named, **distributions, "turns": spec.turns, "think_time": spec.think_time}
    offered = {} if spec.tools is None else {"tools": [tool["function"]["name"] for tool in spec.tools]}
    return {**shared, **named, **distributions, "text": spec.text, "repeat": spec.repeat, **offered}


def _whole(flag: str, text: str, least: int | None, problems: list[str], most: int | None = None) -> int | None:
    try:
        number = int(text)
    except ValueError:
        number = None
    limits = "" if least is None else f" of at least {least}" if most is None else f" from {least} to {most}"
    if number is None or (least is not None and number < least) or (most is not None and number > most):
        problems.append(f"{flag} {text}: write a whole number{limits}")
        return None
    return number


def _out_problems(out: Path, force: bool) -> list[str]:
    if out.is_dir():
        return [f"--out {out} is a directory: name a file in it"]
    if not out.parent.is_dir():
        return [f"--out {out}: the directory {out.parent} does not exist"]
    if out.is_file() and not force:
        return [f"--out {out} exists already: choose another name, or add --force to overwrite it"]
    return []
