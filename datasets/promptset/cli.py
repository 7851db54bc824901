"""The command line: `python -m promptset` writes a data set of prompts with exact token counts.

options (text)  ->  Job, all problems at once  ->  lines  ->  file (written aside, then moved) or stdout
                                                       ->  account  ->  manifest beside the file
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar, get_args

import orjson

from promptset import recipes
from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.kinds import NAMES, WORDS, parse_style
from promptset.loaders import BadRows, DataSet, parse_columns
from promptset.making import Maker, Order, lines_in_order, tasks
from promptset.output import FORMS, Account
from promptset.samples import Simulated
from promptset.sessions import SimulatedSessions
from promptset.sharing import parse_prefix
from promptset.tokens import load_tokenizer
from promptset.tools import ignored_note, load_tools

BAD_ROWS: tuple[str, ...] = get_args(BadRows)

_DESCRIPTION = """\
Write a data set of prompts that have exactly the tokens asked for, as the tokenizer of the target counts them.
One JSON object a line: {prompt or messages, input_tokens, output_tokens}; beside a file a manifest that says what is in it.
"""

_EPILOG = """\
Lengths (DIST) are fixed or drawn:
  128   uniform:100..500   normal:mean=1024,std=200,min=1   lognormal:mean=1024,cv=0.5,max=8192
  gamma:mean=128,cv=0.5   exp:mean=128,min=1   empirical:lengths.json   zipf:s=1.2,n=4096
min and max draw again what lies outside; nothing is clipped.

Examples:
  # 3 prompts of 64 tokens each, on stdout
  {prog} --count 3 --input-tokens 64

  # 1,000 chats of varying length, for a model whose tokenizer lies in a directory
  {prog} --count 1000 --chat --tokenizer ./my-model --input-tokens lognormal:mean=1024,cv=0.5,min=16 --out chats.jsonl

  # source code instead of words; Chinese, JSON and others likewise
  {prog} --text code --count 5

  # counted by the server that will be measured
  {prog} --tokenizer http://127.0.0.1:8000 --out counted.jsonl

  # prompts in 4 groups, each with its own shared beginning of 512 tokens (measures a prefix cache)
  {prog} --prefix tokens=512,groups=4 --input-tokens uniform:600..1200 --out shared.jsonl

  # prompts of which a warm prefix cache serves 60 %, for the batch API; by two processes
  {prog} --prefix hit_rate=0.6 --format openai-batch --model my-model --processes 2 --out batch.jsonl

  # traffic as a real service had it: lengths, and when each request came (for `python -m bench run --mode trace`)
  {prog} --recipe azure-2023-conversation --count 500 --out azure.jsonl

  # conversations of 2 to 6 turns, each of which adds 50 to 150 tokens, some seconds apart
  {prog} --turns uniform:2..6 --think-time exp:mean=5s --input-tokens uniform:50..150 --out sessions.jsonl

  # a trace or rows of your own, made into prompts and counted
  {prog} --from trace.jsonl --bad-rows skip --chat --out rows.jsonl

The same seed writes the same bytes, on any machine and by any number of processes. A prompt is
never repeated unless it is too short to differ.
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What to write, and where: the options, read and checked."""

    order: Order
    maker: Maker
    count: int
    times_s: Iterator[float] | None
    processes: int
    out: Path | None
    """The file to write; None is stdout."""
    options: dict[str, Any]
    """What the manifest says of how it was made."""


class _Parser(argparse.ArgumentParser):
    """Raises what it cannot parse, so that it is told together with the rest."""

    def error(self, message: str) -> NoReturn:
        raise SpecError(message)


def main(argv: Sequence[str] | None = None, *, prog: str = "python -m promptset") -> int:
    """Runs the command; the exit status: 0 good, 2 wrong usage, 130 interrupted (a file is then not written)."""
    parser = _parser(prog)
    try:
        options, unknown = parser.parse_known_args(argv)
        if options.recipe == "list":
            print(_recipes())
            return 0
        job = _job(options, _unknown_problems(parser, unknown))
        account = Account(job.maker.head)
        _write(job, account, sys.stdout.buffer)
    except SpecError as e:
        for problem in e.problems:
            print(f"{prog}: {problem}", file=sys.stderr)
        print(f"{prog}: --help shows the options, with examples", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read us has enough (`| head`). What is still buffered must not be flushed into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as e:
        print(f"{prog}: {options.out} cannot be written: {e.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
    for line in _told(job, account):
        print(f"{prog}: {line}" if not line[0].isdigit() else line, file=sys.stderr)
    return 0


def _told(job: Job, account: Account) -> Iterator[str]:
    """What the user must know of what was written."""
    samples = job.maker.samples
    if isinstance(samples, DataSet):
        if samples.skipped_rows:
            yield f"{samples.skipped_rows} rows are wrong and left out; the first: {samples.skipped[0]}"
        if account.exact != account.checked:
            yield f"the input_tokens of {account.checked - account.exact} rows are not what this tokenizer counts"
    elif isinstance(samples, Simulated):
        yield from samples.repeats(job.count)
        if (note := ignored_note(job.maker.tokenizer, samples.maker.tools)) is not None:
            yield note
    where = "" if job.out is None else f" in {job.out}"
    tokenizer = job.maker.tokenizer
    what = "sessions" if isinstance(samples, SimulatedSessions) else "prompts"
    yield f"{account.rows} {what}{where} (tokenizer {tokenizer.name}, fingerprint {tokenizer.fingerprint})"


def _recipes() -> str:
    names = recipes.names()
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {recipes.load(name).about}" for name in names)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_EPILOG.replace("{prog}", prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_argument_group("what to make")
    add = what.add_argument
    add("--count", metavar="N", help="how many prompts (default: 100; of a file: all)")
    add("--input-tokens", metavar="DIST", help="tokens of a prompt (default: 1024)")
    add("--output-tokens", metavar="DIST", help="tokens to ask for in answer (default: 128)")
    add("--text", metavar="KIND", default=WORDS, help=f"kind of text: {', '.join(NAMES)} (default: {WORDS})")
    add("--repeat", metavar="SHARE", default="0", help="share of a prompt that repeats what stands in it (default: 0)")
    add("--prefix", metavar="SPEC", help="shared beginnings, such as tokens=512,groups=4 (default: none)")
    add("--gaps", metavar="DIST", help="times between requests: every row says when it is sent (default: none)")
    add("--turns", metavar="DIST", help="sessions of so many turns; --input-tokens is then what a turn adds")
    add("--think-time", metavar="DIST", help="of sessions: times between an answer and the next turn (default: 0s)")
    add("--chat", action="store_true", help="messages instead of prompts; the chat template's tokens are counted in")
    add("--tools", metavar="FILE", help="with --chat: a JSON list of OpenAI tools that every chat offers, counted in")
    add("--recipe", metavar="NAME|FILE", help="lengths, sharing and gaps of known traffic; `list` shows the names")
    add("--seed", metavar="N", default="0", help="another seed, other prompts (default: 0)")
    add(
        "--tokenizer",
        metavar="T",
        help="directory, file, hub id, or the URL of a server that counts (default: an embedded one, no network)",
    )
    add = parser.add_argument_group("what to read instead").add_argument
    add("--from", dest="source", metavar="FILE", help="rows or a trace: JSON (Lines), CSV, text, Parquet")
    add("--columns", metavar="SPEC", help="which columns to take, ours=theirs: prompt=question,output_tokens=len")
    add("--bad-rows", metavar="fail|skip", default="fail", help="what to do with rows that are wrong (default: fail)")
    add = parser.add_argument_group("what to write").add_argument
    add("--out", metavar="FILE", default="-", help="the file to write, a manifest beside it (default: -, stdout)")
    add("--force", action="store_true", help="overwrite the file")
    add("--format", metavar="F", default="rows", help=f"form of the rows: {', '.join(FORMS)} (default: rows)")
    add("--model", metavar="NAME", help="the model that openai-batch rows name")
    add(
        "--processes", metavar="N", default="1", help="processes that make prompts; the bytes are the same (default: 1)"
    )
    return parser


def _unknown_problems(parser: argparse.ArgumentParser, unknown: list[str]) -> list[str]:
    known = [name for action in parser._actions for name in action.option_strings]
    problems = []
    for argument in unknown:
        close = get_close_matches(argument.partition("=")[0], known, n=1)
        problems.append(f"unknown argument {argument}" + (f": did you mean {close[0]}?" if close else ""))
    return problems


def _job(options: argparse.Namespace, problems: list[str]) -> Job:
    """The options as values. Raises SpecError with every problem."""
    count = None if options.count is None else _whole("--count", options.count, 1, problems)
    seed = _whole("--seed", options.seed, None, problems)
    processes = _whole("--processes", options.processes, 1, problems)
    given: dict[str, str] = {
        key: getattr(options, key)
        for key in ("input_tokens", "output_tokens", "prefix", "gaps")
        if getattr(options, key) is not None
    }
    problems += _wrong_together(options, given)
    recipe: dict[str, str] = {}
    if options.recipe is not None and (loaded := _tried("--recipe", recipes.load, problems, options.recipe)):
        recipe = {key: value for key in ("input_tokens", "output_tokens", "prefix", "gaps")
                  if (value := getattr(loaded, key)) is not None}  # fmt: skip
    asked = {"input_tokens": "1024", "output_tokens": "128", **recipe, **given}
    for key in ("input_tokens", "output_tokens"):
        _tried(f"--{key.replace('_', '-')}", parse, problems, asked[key], "tokens")
    for flag, dimension in (("turns", "tokens"), ("think_time", "time")):
        if getattr(options, flag) is not None:
            _tried(f"--{flag.replace('_', '-')}", parse, problems, getattr(options, flag), dimension)
    gaps = _tried("--gaps", parse, problems, asked["gaps"], "time") if "gaps" in asked else None
    if "prefix" in asked:
        _tried("--prefix", parse_prefix, problems, asked["prefix"])
    if options.columns is not None:
        _tried("--columns", parse_columns, problems, options.columns)
    _tried(f"--text {options.text} --repeat {options.repeat}:", parse_style, problems, options.text, options.repeat)
    tools = None if options.tools is None else _tried("--tools", load_tools, problems, Path(options.tools))
    tokenizer = _tried("--tokenizer:", load_tokenizer, problems, options.tokenizer)
    out = None if options.out == "-" else Path(options.out)
    problems += [] if out is None else _out_problems(out, options.force)
    if problems or tokenizer is None or seed is None or processes is None:
        raise SpecError(problems)
    order = Order(
        tokenizer=options.tokenizer,
        chat=options.chat,
        seed=seed,
        form=options.format,
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
    )
    maker = Maker(order, tokenizer)
    rows = len(maker.samples) if isinstance(maker.samples, DataSet) else None
    if rows is not None and count is not None and count > rows:
        raise SpecError(f"--count {count}: {options.source} has {rows} rows")
    if count is None:
        count = 100 if rows is None else rows
    times_s = None if gaps is None else recipes.times_s(gaps, seed)
    return Job(order, maker, count, times_s, processes, out, _manifest_options(order, count, options, asked))


def _wrong_together(options: argparse.Namespace, given: Mapping[str, str]) -> Iterator[str]:
    """What is no choice, or does not go with another option."""
    for flag, value, known in (("--format", options.format, list(FORMS)), ("--bad-rows", options.bad_rows, BAD_ROWS)):
        if value not in known:
            yield f"{flag} {value}: it is one of {', '.join(known)}"
    form = FORMS.get(options.format)
    if form is not None and form.needs_model and options.model is None:
        yield f"--format {options.format} needs --model, the name that every row asks for"
    if options.tools is not None and not options.chat:
        yield "--tools are part of a chat: add --chat"
    if options.turns is None and options.think_time is not None:
        yield "--think-time is for sessions: say with --turns how many turns they have"
    if options.turns is not None:
        for flag, wrong in (
            ("--gaps", options.gaps is not None),
            ("--tools", options.tools is not None),
            ("--from", options.source is not None),
            (f"--format {options.format}", options.format != "rows"),
            (f"--text {options.text}", options.text != WORDS),
            (f"--repeat {options.repeat}", options.repeat != "0"),
        ):
            if wrong:
                yield f"{flag} does not go with --turns: sessions have their own rows, in English words"
    if options.source is None:
        if options.columns is not None:
            yield "--columns is about the rows of --from, and none is given"
        return
    if not Path(options.source).is_file():
        yield f"--from {options.source}: there is no such file"
    for key in (*given, *(key for key in ("tools", "recipe") if getattr(options, key) is not None)):
        yield f"--{key.replace('_', '-')} shapes simulated prompts, and --from brings its own"


T = TypeVar("T")


def _tried(flag: str, read: Callable[..., T], problems: list[str], *arguments: Any) -> T | None:
    """What `read` makes of the arguments; None, and the problems noted, where it refuses them."""
    try:
        return read(*arguments)
    except SpecError as e:
        problems += [f"{flag} {problem}" for problem in e.problems]
        return None


def _manifest_options(
    order: Order, count: int, options: argparse.Namespace, asked: Mapping[str, str]
) -> dict[str, Any]:
    shared = {"count": count, "seed": order.seed, "chat": order.chat, "format": order.form}
    if order.source is not None:
        return {**shared, "from": Path(order.source).name, "columns": order.columns, "bad_rows": order.bad_rows}
    named = {"recipe": options.recipe} if options.recipe is not None else {}
    # A recipe's table lies where this machine has it: its name is enough.
    said = {key: re.sub(r"empirical:.*[/\\]", "empirical:", value) for key, value in asked.items()}
    if order.turns is not None:
        return {**shared, **named, **said, "turns": order.turns, "think_time": order.think_time}
    offered = {} if order.tools is None else {"tools": [tool["function"]["name"] for tool in order.tools]}
    return {**shared, **named, **said, "text": order.text, "repeat": order.repeat, **offered}


def _whole(flag: str, text: str, least: int | None, problems: list[str]) -> int | None:
    try:
        number = int(text)
    except ValueError:
        problems.append(f"{flag} {text}: write a whole number")
        return None
    if least is not None and number < least:
        problems.append(f"{flag} {text}: write a whole number of at least {least}")
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


def _write(job: Job, account: Account, stdout: IO[bytes]) -> None:
    """Writes the rows, and the manifest beside a file."""
    if job.out is None:
        _write_rows(job, account, stdout)
        stdout.flush()
        return
    if job.out.exists() and not job.out.is_file():  # a device or a pipe: nothing can be moved there
        with job.out.open("wb") as file:
            _write_rows(job, account, file)
        return
    with _aside(job.out) as file:
        _write_rows(job, account, file)
    manifest = account.manifest(job.out.name, job.maker.tokenizer, job.options)
    with _aside(job.out.with_name(f"{job.out.name}.manifest.json")) as file:
        file.write(orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


@contextlib.contextmanager
def _aside(out: Path) -> Iterator[IO[bytes]]:
    """A file that is moved to its name when it is whole, so that the name never stands for half of it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        # mkstemp lets nobody else read; a data set is made like any other file.
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(0o666 & ~mask)
        aside.replace(out)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _write_rows(job: Job, account: Account, file: IO[bytes]) -> None:
    with _progress(job.count) as advance:
        todo = tasks(job.count, job.times_s)
        for lines in lines_in_order(job.maker, job.order, todo, job.processes):
            for line in lines:
                file.write(line.content)
                account.add(line)
            advance(len(lines))


@contextlib.contextmanager
def _progress(count: int) -> Iterator[Callable[[int], None]]:
    """Tells how many rows more there are; with a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("prompts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=count)
        yield lambda rows: progress.advance(bar, rows)
