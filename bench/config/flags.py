"""Command line flags made from the fields of a configuration model: one declaration, two ways to write it.

A field `input_tokens` becomes `--input-tokens`; a bool that is off becomes a switch, and a bool that is on becomes a
`--no-` switch. All values stay text here. The model checks them, so that a flag and a YAML key are refused with the
same message.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args

from pydantic import BaseModel

from bench.errors import UsageError
from bench.secrets import shown_url
from promptset.dashed_values import with_values
from promptset.help_text import HelpFormatter

if TYPE_CHECKING:
    from bench.config.other_tools import Answer

GROUPS = {
    "target": "what to measure",
    "load": "how to load it",
    "data": "what to send",
    "http": "what --endpoint http sends and expects",
    "limits": "limits and objectives",
    "engine": "how to measure",
    "telemetry": "what to export while it runs",
    "output": "what to write",
}
"""The groups of `--help`, in order. A field of another group (`file`) has no flag."""

EXAMPLES = {
    "target": "--url http://127.0.0.1:8000 --model my-model",
    "load": "--concurrency 32 --duration 2m",
    "data": "--input-tokens uniform:100..500 --output-tokens 128 --tokenizer ./my-model",
    "http": '--endpoint http --method PUT --body @order.json --expect "status=200,json:$.ok=true"',
    "limits": '--slo "ttft:p99<500ms" --slo "error_rate<1%"',
    "engine": "--workers 4 --gpus 2",
    "telemetry": "--otlp http://127.0.0.1:4318 --trace-share 1%",
    "output": "--out runs/mine --format json",
}
"""An example for each group. A command that lacks one of the example's flags does not show it."""

USUAL = (
    "url", "endpoint", "model", "api_key",
    "mode", "concurrency", "rate", "max_concurrency", "requests", "duration", "warmup",
    "input_tokens", "output_tokens", "dataset", "tokenizer", "ignore_eos",
    "slo", "max_errors", "out", "name", "format",
)  # fmt: skip
"""The settings that most runs need. `--help` shows these, `--help-all` shows all."""


@dataclass(frozen=True, slots=True)
class Option:
    """A flag that a command has in addition to the settings of a run: the word for its value, and its help."""

    name: str
    metavar: str
    help: str


T = TypeVar("T")


def tried(problems: list[str], make: Callable[[], T]) -> T | None:
    """Returns what `make` returns. If it raises UsageError, adds its sentences to the problems and returns None."""
    try:
        return make()
    except UsageError as e:
        problems += e.problems
        return None


def own_group(parser: argparse.ArgumentParser, title: str) -> argparse._ArgumentGroup:
    """A group for the command's own flags, before the flags of the run."""
    group = parser.add_argument_group(title)
    parser._action_groups.insert(2, parser._action_groups.pop())  # After the positional arguments and the options.
    return group


def add_options(parser: argparse.ArgumentParser, title: str, options: Iterable[Option]) -> None:
    """Add a command's own flags to the parser."""
    group = own_group(parser, title)
    for option in options:
        group.add_argument(f"--{option.name}", metavar=option.metavar, help=option.help, default=argparse.SUPPRESS)


def _no_choice(match: re.Match[str]) -> str:
    """Python versions differ in whether they quote the choices."""
    choices = match[3].replace("'", "")
    return f"{match[1]}: {match[2]} is not one of {choices}"


_ARGPARSE_SAYS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^argument (\S+): expected .*$", r"\1 needs a value"),
    (r"^argument (\S+): ignored explicit argument ('.*')$", r"\1 takes no value (given: \2)"),
    (r"^argument (\S+): invalid choice: ('.*?')(?:, maybe you meant .*)? \(choose from (.*)\)$", _no_choice),
    (r"^argument (\S+): not allowed with argument (\S+)$", r"\1 and \2 cannot be combined"),
    (r"^one of the arguments (.*) is required$", lambda match: f"give {' or '.join(match[1].split())}"),
    (r"^the following arguments are required: action(, .*)?$", "name an action, for example ls"),
    (r"^the following arguments are required: shell$", "name a shell: bash, zsh, fish or tcsh"),
    (r"^the following arguments are required: (.*)$", r"missing: \1"),
)
"""Messages of argparse, with plainer ones to replace them."""


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of exiting, and does not accept abbreviations: a script's flag must not
    change meaning."""

    def __init__(
        self, *, prog: str, description: str | None = None, epilog: str | None = None, usage: str | None = None
    ) -> None:
        width = min(os.get_terminal_size().columns, 110) if sys.stdout.isatty() else 100
        super().__init__(
            allow_abbrev=False,
            formatter_class=lambda prog: HelpFormatter(prog, max_help_position=34, width=width),
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
        )
        self.rare: set[str] = set()
        """The names of flags that only `--help-all` shows. If there are none, there is no `--help-all`."""
        self.brief = True

    def format_help(self) -> str:
        if not (self.brief and self.rare):
            return super().format_help()
        hidden = [action for action in self._actions if action.dest in self.rare and action.help != argparse.SUPPRESS]
        helps = [action.help for action in hidden]
        groups = [group for group in self._action_groups if {*group._group_actions} <= {*hidden}]
        titles = [(group.title, group.description) for group in groups]
        epilog = self.epilog
        for action in hidden:
            action.help = argparse.SUPPRESS
        for group in groups:
            group.title = group.description = None
        kinds = "headers, arrivals, sessions, timeouts, metrics, workers, clusters"
        more = f"{len(hidden)} more flags ({kinds}):\n  {self.prog} --help-all\n"
        self.epilog = f"{epilog.rstrip()}\n\n{more}" if epilog else more
        try:
            return super().format_help()
        finally:
            self.epilog = epilog
            for action, text in zip(hidden, helps, strict=True):
                action.help = text
            for group, (title, description) in zip(groups, titles, strict=True):
                group.title, group.description = title, description

    def parse_known_args(  # type: ignore[override]  # Of its two forms we use one.
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        return super().parse_known_args(with_values(self, args), namespace)

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            unknown = message.partition(": ")[2].split(" ")
            raise UsageError(_problems_of(self, unknown, unknown, {}))
        for pattern, plainly in _ARGPARSE_SAYS:
            message = re.sub(pattern, plainly, message)
        if message.startswith("missing: "):
            for action in self._actions:
                if action.required and action.choices and action.option_strings:
                    flag = action.option_strings[-1]
                    message = re.sub(rf"{flag}\b", f"{flag} ({', '.join(map(str, action.choices))})", message)
        raise UsageError(f"{message} (see {self.prog} --help)")


class _HelpAll(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option_string: object = None
    ) -> None:
        assert isinstance(parser, Parser)
        parser.brief = False
        parser.print_help()
        parser.exit()


class _OneOrMore(argparse.Action):
    """A flag that is usually given once: its value is a text, or a list of texts if it is repeated."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: object = None,
    ) -> None:
        before = getattr(namespace, self.dest, None)
        whole = values if before is None else [*(before if isinstance(before, list) else [before]), values]
        setattr(namespace, self.dest, whole)


def add_fields(parser: Parser, model: type[BaseModel], leave_out: Collection[str] = ()) -> None:
    """Add a flag for each field of the model whose group is in GROUPS, and --help-all."""
    parser.add_argument("--help-all", nargs=0, action=_HelpAll, help="show every flag", default=argparse.SUPPRESS)
    parser.rare = {*model.model_fields} - {*USUAL}
    lacks = {f"--{name.replace('_', '-')}" for name in leave_out}
    examples = {name: text for name, text in EXAMPLES.items() if lacks.isdisjoint(text.split())}
    groups = {
        name: parser.add_argument_group(title, f"example: {examples[name]}" if name in examples else None)
        for name, title in GROUPS.items()
    }
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if not isinstance(extra, dict) or extra.get("group") not in groups or name in leave_out:
            continue
        group = groups[str(extra["group"])]
        flag = f"--{name.replace('_', '-')}"
        default = extra.get("otherwise")
        if default is None and field.annotation is not bool and not field.is_required():
            written = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            default = None if field.default in (None, (), "") else written
        help_text = f"{field.description or ''}{'' if default is None else f' (default: {default})'}"
        if field.annotation is bool:
            on = field.default is True
            group.add_argument(
                f"--no-{name.replace('_', '-')}" if on else flag,
                dest=name,
                action="store_const",
                const=not on,
                default=argparse.SUPPRESS,
                help=help_text,
            )
            continue
        repeats = field.default == () and not field.is_required()
        choices = [
            word for part in get_args(field.annotation) or () for word in get_args(part) if isinstance(word, str)
        ]
        choices = choices or [word for word in get_args(field.annotation) if isinstance(word, str)]
        group.add_argument(
            flag,
            dest=name,
            action=_OneOrMore if extra.get("several") else "append" if repeats else "store",
            default=argparse.SUPPRESS,
            metavar=str(extra.get("metavar") or ("|".join(choices) if choices else name.upper())),
            help=help_text,
        )


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The given flags, and a sentence for each wrong word, which suggests the flag that was perhaps meant."""
    words = with_values(parser, argv)
    args, unknown = parser.parse_known_args(words)
    problems = _problems_of(parser, words, unknown, vars(args)) if unknown else []
    return vars(args), problems


def _problems_of(
    parser: argparse.ArgumentParser, words: Sequence[str], unknown: Sequence[str], given: dict[str, object]
) -> list[str]:
    known = [o for action in parser._actions if action.help != argparse.SUPPRESS for o in action.option_strings]
    problems: list[str] = []
    place = last = -1
    for i, word in enumerate(unknown):
        place = words.index(word, place + 1)
        name, _, value = word.partition("=")
        if name.startswith("-") and not _is_number(word):
            if glued := re.fullmatch(r"(-[a-zA-Z])(\d\S*)", word):  # -c400 is -c 400.
                name, value = glued.groups()
            behind = list(takewhile(lambda w: not w.startswith("-"), unknown[i + 1 :]))
            value = value or ",".join(behind[:1] + [w for w in behind[1:] if "://" not in w])
            answer = about_unknown(name, value or None, known, parser.prog)
            problems.append(answer.sentence)
            for key, some in (("url", "http://unknown"), ("rate", "1")):
                if f"--{key}" in answer.flags.intersection(known):
                    given.setdefault(key, some)  # It was given, so it is not missing.
        elif last < 0 or place != last + 1 or ("://" in word and "url" not in given):
            # Otherwise the word belongs to the word before it.
            problems.append(_stray(parser, words, place, given))
        last = place
    return problems


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-\d+(\.\d+)?", word) is not None


def about_unknown(name: str, value: str | None, known: Sequence[str], prog: str) -> Answer:
    """The answer to a word that is not a flag: our flag for it, or the nearest one."""
    from bench.config import other_tools  # The table is needed only for a wrong word.

    dashed = name.replace("_", "-").lower() if len(name) > 2 else name  # -H is not -h.
    if dashed in known:
        return other_tools.Answer(f"{name} is not a flag: did you mean {dashed}?", frozenset())
    for spelled in (name, dashed, f"-{name}" if len(name) > 2 else name):
        if (answer := other_tools.about_flag(spelled, value, known)) is not None:
            return answer._replace(sentence=f"{name} is not a flag here: {answer.sentence}")
    near = _nearest(dashed, known)
    all_of_them = f"{prog} {'--help-all' if '--help-all' in known else '--help'}"
    hint = f"did you mean {near[0]}?" if near else f"{all_of_them} lists all"
    return other_tools.Answer(f"{name} is not a flag: {hint}", frozenset())


def _stray(parser: argparse.ArgumentParser, words: Sequence[str], place: int, given: dict[str, object]) -> str:
    """A sentence about the word at this place, which belongs to no flag."""
    word = words[place]
    if word.startswith(("–", "—", "−")):
        return f"{shown_url(word)!r} begins with a long dash: write --{word.lstrip('–—−-')}"
    options = {option: action for action in parser._actions for option in action.option_strings}
    if word.startswith(("http://", "https://")) and "--url" in options and "url" not in given:
        given["url"] = word  # The URL is not missing.
        return f"{shown_url(word)!r} was not expected: did you mean --url {shown_url(word)}?"
    key, equals, value = word.partition("=")
    if equals and f"--{key}" in options:
        return f"{shown_url(word)!r} was not expected: did you mean --{key} {shown_url(value)}?"
    before = place
    while before > 0 and words[before].partition("=")[0] not in options:
        before -= 1
    flag = words[before].partition("=")[0]
    action = options.get(flag)
    if action is None or place - before < 2 or action.nargs is not None:
        return f"{shown_url(word)!r} was not expected: values follow a flag"
    if isinstance(action, argparse._AppendAction | _OneOrMore):
        return (
            f"{shown_url(word)!r} was not expected: {flag} takes one value, and may be given again: {flag} A {flag} B"
        )
    hint = ""
    if flag in ("--concurrency", "--rate"):
        end = next((i for i in range(before + 1, len(words)) if words[i].startswith("-")), len(words))
        loads = ",".join(words[before + 1 : end])
        hint = f"; for several loads, write python -m bench sweep --loads {flag.removeprefix('--')}={loads}"
    return f"{shown_url(word)!r} was not expected: {flag} takes one value{hint}"


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    """The flags that were perhaps meant, likeliest first. Compared without dashes, which make any two short names alike."""
    bare = {option.lstrip("-"): option for option in known}
    begun = [option for option in known if name.startswith("--") and len(name) > 4 and option.startswith(name)]
    close = difflib.get_close_matches(name.lstrip("-"), bare, n=1, cutoff=0.75)
    return begun or [bare[word] for word in close]
