"""The command line: `python -m promptset` writes a data set of prompts with exact token counts.

options (text)  ->  Job, or all problems at once  ->  lines  ->  file (a temporary one, then renamed) or stdout
                                                          ->  FileSummary  ->  manifest next to the file
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib.metadata import version
from typing import NoReturn

from promptset import completion, recipes
from promptset.agents.made import AgentSessions
from promptset.dashed_values import with_values
from promptset.errors import SpecError
from promptset.help_text import HelpFormatter
from promptset.job import Job, job_of
from promptset.kinds import NAMES, WORDS
from promptset.loaders import DataSet
from promptset.manifest import FileSummary
from promptset.output import write
from promptset.output_formats import OUTPUT_FORMATS
from promptset.sessions import SimulatedSessions
from promptset.simulated import SimulatedPrompts
from promptset.tools import ignored_note

_DESCRIPTION = """\
Write prompts with an exact number of tokens, as the tokenizer of the target counts them. One JSON object per line:
{prompt or messages, input_tokens, output_tokens}. A manifest next to each file describes it.
"""

_EPILOG = """\
Lengths (DIST) are fixed or drawn:
  128   uniform:100..500   normal:mean=1024,std=200,min=1   exp:mean=128,min=1
  lognormal:mean=1024,cv=0.5,max=8192   gamma:mean=128,cv=0.5
  zipf:s=1.2,n=4096   empirical:lengths.json
Values outside min and max are drawn again, never clipped.

Examples:
  # 3 prompts of 64 tokens each, to stdout
  {prog} --count 3 --input-tokens 64

  # 1,000 chats of varying length, in the tokens of a model's own tokenizer
  {prog} --count 1000 --chat --tokenizer ./my-model --input-tokens lognormal:mean=1024,cv=0.5,min=16 --out chats.jsonl

  # source code instead of words; also english, json, chinese and others
  {prog} --text code --count 5

  # counted by the server under test
  {prog} --tokenizer http://127.0.0.1:8000 --out counted.jsonl

  # prompts in 4 groups with a shared prefix of 512 tokens, for a prefix cache
  {prog} --prefix tokens=512,groups=4 --input-tokens uniform:600..1200 --out shared.jsonl

  # prompts with a prefix cache hit rate of 60%, for the batch API
  {prog} --prefix hit_rate=0.6 --format openai-batch --model my-model --processes 2 --out batch.jsonl

  # lengths and times of a real service, for run --mode trace
  {prog} --recipe azure-2023-conversation --count 500 --out azure.jsonl

  # conversations of 2 to 6 turns that add 50 to 150 tokens each
  {prog} --turns uniform:2..6 --think-time exp:mean=5s --input-tokens uniform:50..150 --out sessions.jsonl

  # sessions of coding agents for a model with a window of 32,768 tokens
  {prog} --recipe coding-agent --context-limit 32768 --count 3 --out agents.jsonl

  # a trace or rows of your own: makes the missing prompts, counts all tokens
  {prog} --from trace.jsonl --bad-rows skip --chat --out rows.jsonl

The same options write the same bytes, on any machine and with any number of processes. No two prompts of a file are
equal, unless they are too short to differ.
"""


class _Parser(argparse.ArgumentParser):
    """Raises errors, so that they are printed together with all other problems."""

    def error(self, message: str) -> NoReturn:
        raise SpecError(message)


def main(argv: Sequence[str] | None = None, *, prog: str = "python -m promptset") -> int:
    """Runs the command. Returns the exit status: 0 success, 2 wrong usage, 130 interrupted (then no file is written)."""
    parser = _parser(prog)
    try:
        options, unknown = parser.parse_known_args(with_values(parser, sys.argv[1:] if argv is None else argv))
        if options.version:
            print(f"promptset {version('trueload')}")
            return 0
        if options.recipe == "list":
            print(_recipe_list())
            return 0
        if not unknown and options.count is None and options.out is None and sys.stdout.isatty():
            raise SpecError(
                "say how many prompts to print (--count 3), name a file (--out prompts.jsonl), or pipe the output"
            )
        job = job_of(options, _unknown_problems(parser, unknown))
        summary = FileSummary(job.maker.head)
        write(job, summary, sys.stdout.buffer)
    except SpecError as e:
        for problem in e.problems:
            print(f"{prog}: {problem}", file=sys.stderr)
        print(f"{prog}: --help shows the options, with examples", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader has stopped reading (`| head`). Do not flush the rest of the buffer into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as e:
        # Output goes to a temporary file first, so the path in the error is the one that could not be read or written.
        print(f"{prog}: {e.filename or options.out or 'stdout'}: {e.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
    for line in _closing_lines(job, summary):
        print(f"{prog}: {line}" if not line[0].isdigit() else line, file=sys.stderr)
    return 0


def _closing_lines(job: Job, summary: FileSummary) -> Iterator[str]:
    """Warnings about the written rows, and their number."""
    samples = job.maker.samples
    if isinstance(samples, DataSet):
        if samples.skipped_rows:
            yield f"bad rows skipped: {samples.skipped_rows}; the first: {samples.skipped[0]}"
        if summary.exact != summary.checked:
            yield f"rows whose input_tokens differs from this tokenizer's count: {summary.checked - summary.exact}"
    elif isinstance(samples, SimulatedPrompts):
        yield from samples.repeats(job.count)
        if (note := ignored_note(job.maker.tokenizer, samples.maker.tools)) is not None:
            yield note
    where = "" if job.out is None else f" in {job.out}"
    tokenizer = job.maker.tokenizer
    unit = "sessions" if isinstance(samples, SimulatedSessions | AgentSessions) else "prompts"
    yield f"{summary.rows} {unit}{where} (tokenizer {tokenizer.name}, fingerprint {tokenizer.fingerprint})"


def _recipe_list() -> str:
    names = recipes.names()
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {recipes.about(name)}" for name in names)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        usage="%(prog)s [--FLAG VALUE]...",
        description=_DESCRIPTION,
        epilog=_EPILOG.replace("{prog}", prog),
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version and exit")
    completion.add_to(parser, "trueload-promptset")
    add = parser.add_argument_group("what to make").add_argument
    add("--count", metavar="N", help="number of prompts (default: 100; with --from: all rows)")
    add("--input-tokens", metavar="DIST", help="tokens per prompt (default: 1024)")
    add("--output-tokens", metavar="DIST", help="tokens to request for the answer (default: 128)")
    add("--text", metavar="KIND", default=WORDS, help=f"kind of text: {', '.join(NAMES)} (default: {WORDS})")
    add(
        "--repeated-text",
        dest="repeat",
        metavar="SHARE",
        default="0",
        help="share of a prompt that repeats its own earlier text (default: 0)",
    )
    add("--prefix", metavar="SPEC", help="shared prefixes, such as tokens=512,groups=4 (default: none)")
    add("--gaps", metavar="DIST", help="times between requests; each row then says when to send it (default: none)")
    add("--turns", metavar="DIST", help="make sessions with this many turns; each turn adds --input-tokens")
    add("--think-time", metavar="DIST", help="in sessions: time between an answer and the next turn (default: 0s)")
    add("--chat", action="store_true", help="write messages instead of prompts; the chat template's tokens count")
    add("--tools", metavar="FILE", help="with --chat: a JSON list of OpenAI tools for every chat; their tokens count")
    add("--recipe", metavar="NAME|FILE", help="lengths, sharing and gaps of known traffic; `list` shows the names")
    add(
        "--context-limit",
        metavar="TOKENS",
        help="with a recipe of sessions: the model's window; all lengths are scaled to it (default: the recipe's)",
    )
    add("--seed", metavar="N", default="0", help="decides lengths, sharing and times, and the texts (default: 0)")
    add("--salt", metavar="TEXT", help="another salt makes other texts of the same lengths (default: none)")
    add(
        "--tokenizer",
        metavar="T",
        help="directory, file, hub id, or URL of a server that counts (default: an embedded one, no network)",
    )
    add = parser.add_argument_group("what to read instead").add_argument
    add("--from", dest="source", metavar="FILE", help="rows or a trace: JSON (Lines), CSV, text, Parquet")
    add("--columns", metavar="SPEC", help="columns to read, ours=theirs: prompt=question,output_tokens=len")
    add("--bad-rows", metavar="fail|skip", default="fail", help="stop at bad rows, or skip them (default: fail)")
    add = parser.add_argument_group("what to write").add_argument
    add("--out", metavar="FILE", help="the file to write, with a manifest next to it (default: -, which is stdout)")
    add("--force", action="store_true", help="overwrite the file")
    add(
        "--format", metavar="F", default="rows", help=f"format of the rows: {', '.join(OUTPUT_FORMATS)} (default: rows)"
    )
    add("--model", metavar="NAME", help="the model that openai-batch rows name")
    add("--processes", metavar="N", default="1", help="processes that make prompts; same bytes (default: 1)")
    return parser


_OTHER_NAMES = {
    "--isl": "--input-tokens",
    "--osl": "--output-tokens",
    "--n": "--count",
    "-n": "--count",
    "--num": "--count",
    "--num-prompts": "--count",
    "--requests": "--count",
    "--dataset": "--from",
    "--output": "--out",
    "--arrivals": "--gaps",
}
"""Flag names of other tools and commands, and our equivalents."""


def _unknown_problems(parser: argparse.ArgumentParser, unknown: list[str]) -> list[str]:
    known = [name for action in parser._actions for name in action.option_strings]
    problems = []
    for before, argument in zip([None, *unknown], unknown, strict=False):
        if before is not None and before.startswith("-") and not argument.startswith("-"):
            continue  # Most likely the value of the unknown flag, not a second problem.
        name = argument.partition("=")[0]
        close = [_OTHER_NAMES[name]] if name in _OTHER_NAMES else get_close_matches(name, known, n=1)
        problems.append(f"unknown argument {argument}" + (f": did you mean {close[0]}?" if close else ""))
    return problems
