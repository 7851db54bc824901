"""The command line: `python -m promptset` writes a data set of prompts with exact token counts.

options (text)  ->  Job, all problems at once  ->  rows  ->  file (written aside, then moved) or stdout
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, NoReturn

import orjson

from promptset.distributions import Distribution, parse
from promptset.errors import SpecError
from promptset.kinds import NAMES, WORDS, Style, parse_style
from promptset.samples import Sample, Simulated, simulated
from promptset.sharing import Prefix, parse_prefix
from promptset.tokens import Tokenizer, load_tokenizer

_DESCRIPTION = """\
Write a data set of prompts that have exactly the tokens asked for, as the tokenizer of the target counts them.
One JSON object a line: {prompt or messages, input_tokens, output_tokens}.
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

The same seed writes the same bytes. A prompt is never repeated unless it is too short to differ.
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What to write, and where: the options, read and checked."""

    samples: Simulated
    count: int
    out: Path | None
    """The file to write; None is stdout."""


class _Parser(argparse.ArgumentParser):
    """Raises what it cannot parse, so that it is told together with the rest."""

    def error(self, message: str) -> NoReturn:
        raise SpecError(message)


def main(argv: Sequence[str] | None = None, *, prog: str = "python -m promptset") -> int:
    """Runs the command; the exit status: 0 good, 2 wrong usage, 130 interrupted (a file is then not written)."""
    parser = _parser(prog)
    try:
        options, unknown = parser.parse_known_args(argv)
        job = _job(options, _unknown_problems(parser, unknown))
        written = _write(job, sys.stdout.buffer)
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
    tokenizer = job.samples.maker.tokenizer
    for note in job.samples.repeats(job.count):
        print(f"{prog}: {note}", file=sys.stderr)
    print(f"{written} (tokenizer {tokenizer.name}, fingerprint {tokenizer.fingerprint})", file=sys.stderr)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_EPILOG.replace("{prog}", prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--tokenizer",
        metavar="T",
        help="directory, file, hub id, or the URL of a server that counts (default: an embedded one, no network)",
    )
    add("--count", metavar="N", default="100", help="how many prompts (default: 100)")
    add("--input-tokens", metavar="DIST", default="1024", help="tokens of a prompt (default: 1024)")
    add("--output-tokens", metavar="DIST", default="128", help="tokens to ask for in answer (default: 128)")
    add("--text", metavar="KIND", default=WORDS, help=f"kind of text: {', '.join(NAMES)} (default: {WORDS})")
    add("--repeat", metavar="SHARE", default="0", help="share of a prompt that repeats what stands in it (default: 0)")
    add("--prefix", metavar="SPEC", help="shared beginnings, such as tokens=512,groups=4 (default: none)")
    add("--chat", action="store_true", help="messages instead of prompts; the chat template's tokens are counted in")
    add("--seed", metavar="N", default="0", help="another seed, other prompts (default: 0)")
    add("--out", metavar="FILE", default="-", help="the file to write (default: -, stdout)")
    add("--force", action="store_true", help="overwrite the file")
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
    count = _whole("--count", options.count, 1, problems)
    seed = _whole("--seed", options.seed, None, problems)
    input_tokens = _lengths("--input-tokens", options.input_tokens, problems)
    output_tokens = _lengths("--output-tokens", options.output_tokens, problems)
    style: Style | None = None
    prefix: Prefix | None = None
    tokenizer: Tokenizer | None = None
    try:
        style = parse_style(options.text, options.repeat)
    except SpecError as e:
        problems += [f"--text {options.text} --repeat {options.repeat}: {problem}" for problem in e.problems]
    try:
        prefix = None if options.prefix is None else parse_prefix(options.prefix)
    except SpecError as e:
        problems += [f"--prefix {problem}" for problem in e.problems]
    try:
        tokenizer = load_tokenizer(options.tokenizer)
    except SpecError as e:
        problems += [f"--tokenizer: {problem}" for problem in e.problems]
    out = None if options.out == "-" else Path(options.out)
    problems += [] if out is None else _out_problems(out, options.force)
    if problems or tokenizer is None or input_tokens is None or output_tokens is None or count is None or seed is None:
        raise SpecError(problems)
    assert style is not None
    samples = simulated(
        tokenizer,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        chat=options.chat,
        seed=seed,
        prefix=prefix,
        style=style,
    )
    return Job(samples, count, out)


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


def _lengths(flag: str, text: str, problems: list[str]) -> Distribution | None:
    try:
        return parse(text, "tokens")
    except SpecError as e:
        problems += [f"{flag} {problem}" for problem in e.problems]
        return None


def _out_problems(out: Path, force: bool) -> list[str]:
    if out.is_dir():
        return [f"--out {out} is a directory: name a file in it"]
    if not out.parent.is_dir():
        return [f"--out {out}: the directory {out.parent} does not exist"]
    if out.is_file() and not force:
        return [f"--out {out} exists already: choose another name, or add --force to overwrite it"]
    return []


def _write(job: Job, stdout: IO[bytes]) -> str:
    """Writes the rows; what was written, in words."""
    if job.out is None:
        _write_rows(job, stdout)
        stdout.flush()
        return f"{job.count} prompts"
    if job.out.exists() and not job.out.is_file():  # a device or a pipe: nothing can be moved there
        with job.out.open("wb") as file:
            _write_rows(job, file)
        return f"{job.count} prompts in {job.out}"
    # Aside first, so that the name never stands for half a data set.
    descriptor, name = tempfile.mkstemp(prefix=f".{job.out.name}.", dir=job.out.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write_rows(job, file)
        # mkstemp lets nobody else read; a data set is made like any other file.
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(0o666 & ~mask)
        aside.replace(job.out)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return f"{job.count} prompts in {job.out}"


def _write_rows(job: Job, file: IO[bytes]) -> None:
    with _progress(job.count) as indices:
        for index in indices:
            file.write(orjson.dumps(_row(job.samples.sample_at(index)), option=orjson.OPT_APPEND_NEWLINE))


def _row(sample: Sample) -> dict[str, object]:
    text = {"prompt": sample.prompt} if sample.messages is None else {"messages": sample.messages}
    return {**text, "input_tokens": sample.input_tokens, "output_tokens": sample.output_tokens}


@contextlib.contextmanager
def _progress(count: int) -> Iterator[Iterator[int]]:
    """The indices; with a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield iter(range(count))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("prompts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield iter(progress.track(range(count)))
