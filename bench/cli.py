"""The command line: `python -m bench COMMAND`. Finds the command and turns errors into an exit status.

Everything that ends a command passes through `main`: a BenchError with its message and exit status; Ctrl-C, SIGTERM and
SIGHUP with 130; a full disk or too few open files with 2; and anything unexpected with 70 and a hint, never with the 1
that scripts take for a failed objective.
"""

from __future__ import annotations

import difflib
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from bench.commands import COMMANDS
from bench.commands.output import complain, never_too_narrow, output_is_lost, problem_of_the_machine
from bench.errors import BenchError, Exit, UsageError
from bench.process.interpreter import end_as_ctrl_c, ended_at_once, leave, set_up
from bench.stores.transfer import is_address

NOT_INSTALLED = (
    "Trueload is not installed there. In a clone, scripts/environment makes .venv with all it needs; then activate it "
    "(. .venv/bin/activate). Elsewhere: pip install ."
)

_LOST_OUTPUT = "the output cannot be written (is the disk full?): send it to another file"


def command() -> NoReturn:
    """Run this process's command, then end the process."""
    leave(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status; prints errors to stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv is None:  # This process runs only the command.
            set_up()
            end_as_ctrl_c()
            if words[:1] != ["dataset"]:  # It can write endless rows, and must stop when its reader closes the pipe.
                from promptset import closed_pipe  # Missing in a clone without an environment.

                closed_pipe.survive()
            never_too_narrow(sys.stdout)
            never_too_narrow(sys.stderr)
            if words and words[0] in COMMANDS:
                with ended_at_once(Exit.INTERRUPTED):
                    import_module(COMMANDS[words[0]].module)
        status = _dispatch(words)
        sys.stdout.flush()
    except UsageError as e:
        complain(e.problems)
        return e.exit_code
    except BenchError as e:
        complain([str(e)])
        return e.exit_code
    except SystemExit:  # argparse raises it for `--help`.
        if not output_is_lost():
            raise
        complain([_LOST_OUTPUT])
        return Exit.USAGE
    except KeyboardInterrupt as e:
        complain([str(e) or "interrupted"])
        return Exit.INTERRUPTED
    except Exception as e:
        if isinstance(e, ModuleNotFoundError) and (e.name or "").partition(".")[0] not in ("", "bench"):
            complain([f"{sys.executable} has no module {e.name!r}: {NOT_INSTALLED}"])
            return Exit.USAGE
        if (problem := problem_of_the_machine(e)) is not None:
            complain([_LOST_OUTPUT if output_is_lost() else problem])
            return Exit.USAGE
        _report_defect()
        return Exit.DEFECT
    return status


def _report_defect() -> None:
    traceback.print_exc()
    print(
        "error: this is a defect of Trueload, not of your server or your command. What was measured until now is in the "
        "run directory (`python -m bench report DIR` renders it). Please report the lines above.",
        file=sys.stderr,
    )


def _dispatch(words: list[str]) -> int:
    if undecoded := [word for word in words if re.search("[\ud800-\udfff]", word)]:
        # What a run writes down is UTF-8.
        raise UsageError([f"{word!a} is not UTF-8: give the file or directory another name" for word in undecoded])
    if len(words) > 1 and words[0] in ("-h", "--help") and words[1] in COMMANDS:  # `--help run`
        words = [words[1], words[0]]
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return Exit.GOOD if words else Exit.USAGE
    if words[0] == "help":  # `help run` is `run --help`.
        return _dispatch([*words[1:2], "--help"])
    if words[0] in ("-V", "--version", "version"):
        from importlib.metadata import PackageNotFoundError, version

        from bench import native

        try:
            print(f"trueload {version('trueload')} (core: {native.in_use()})")
        except PackageNotFoundError as e:
            raise UsageError(f"{sys.executable} has no version of Trueload: {NOT_INSTALLED}") from e
        return Exit.GOOD
    if words[0] not in COMMANDS:
        raise UsageError(_about_command(words))
    command = import_module(COMMANDS[words[0]].module)
    if not any("://" in word and is_address(word.rpartition("=")[2]) for word in words):
        return int(command.main(words[1:]))
    from bench.stores.words import placed

    with placed(words[0], words[1:]) as line:
        status: int = command.main(line.words)
    return line.finish(status)


def _about_command(words: list[str]) -> str:
    """A sentence about a first word that is not a command."""

    from bench.config import other_tools
    from bench.secrets import shown_url

    word = words[0]
    if word.startswith(("-", "http://", "https://")):
        begun = "python -m bench run " + ("--url URL" if not word.startswith("-") else "--url URL ...")
        return f"a command comes first, and {shown_url(word)!r} is not one: write {begun}"
    if (answer := other_tools.about_command(word)) is not None:
        return f"{word!r} is not a command: {answer}"
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it is one of {', '.join(COMMANDS)}"
    return f"{word!r} is not a command: {hint}"


def _help() -> str:
    lines = [f"  {name:<11} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m bench COMMAND [flags]",
            "",
            "A load tester for LLM inference servers that measures how wrong its numbers are.",
            "",
            "commands:",
            *lines,
            "",
            "python -m bench COMMAND --help explains a command. Try it without a server:",
            "  python -m bench calibrate --requests 100",
            "",
            "exit status: 0 good, 1 an objective failed, 2 wrong usage,",
            "             3 the measurement is INVALID, 4 the server could not be measured,",
            "             70 a defect of Trueload, 130 interrupted",
        ]
    )
