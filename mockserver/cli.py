"""The command line of the mock, `python -m mockserver`. The fields of `MockConfig` define its flags and its help."""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_origin

from mockserver import native
from mockserver.config import Flag, MockConfig, load
from mockserver.config_parts.sentences import flag_of
from mockserver.errors import MockError, UsageError
from mockserver.faults import FAULTS, GROUPS
from mockserver.presets import LIST, table
from promptset import closed_pipe, completion
from promptset.dashed_values import with_values
from promptset.help_text import HelpFormatter

_ABOUT = """\
A mock inference server with the OpenAI API of vLLM. It plans every latency in advance and records when each token was
sent, so you can check a load test against the truth. It needs no GPU and no model.

Examples:
  python -m mockserver                                                 # TTFT 50 ms, TPOT 20 ms, 128 tokens
  python -m mockserver --ttft lognormal:mean=200ms,cv=0.5 --itl gamma:mean=20ms,cv=0.3 --ledger ledger.jsonl
  python -m mockserver --engine batching --step-cost qwen2.5-7b-h100   # continuous batching, as vLLM on a GPU
  python -m mockserver --preset list                                   # GPUs and services to imitate
  python -m mockserver --replay ledger.jsonl                           # repeat the latencies of a ledger or a run
  python -m mockserver --port 0 --fault 429:rate=0.05,retry_after=2 --fault reset:every=50,after=10
  python -m mockserver --config mock.yaml                              # YAML keys have underscores: output_tokens: 128
"""

_MORE = """\
DIST is a fixed value or a distribution:
  50ms   uniform:10ms..90ms   normal:mean=50ms,std=5ms   exp:mean=1s
  lognormal:mean=200ms,cv=0.5,max=5s   gamma:mean=20ms,cv=0.3
  empirical:file.json
Times need a unit (us, ms, s), numbers of tokens none: uniform:100..500

SPEC is a fault, NAME[:key=value,...]. Options are in brackets:
{faults}
  Which requests?   rate=0.1 (10% of them), index=7 (only this one) or every=10 (every tenth);
                    from=10s,until=20s (time since the start); skip=100 (not the first 100). By default, all.
  A single request  can ask for faults with the header  x-mock-fault: NAME[:key=value,...][; NAME ...]
                    and for latencies with  x-mock-ttft: 200ms  x-mock-tpot  x-mock-itl  x-mock-output-tokens

Prints one line when it listens: mockserver ready at http://HOST:PORT

Then ask it:  GET /ledger (what it did)   /truth (what to expect)   /metrics   /health   /v1/models
  PATCH /admin/config  {{"ttft": "200ms"}}  changes latencies, lengths and faults while it serves

Docs: docs/mock.md
"""

_GROUPS = {
    "server": "server",
    "latency": "latency",
    "batching": "engine batching",
    "text": "replies",
    "faults": "faults",
    "truth": "truth",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        missing = re.fullmatch(r"argument (--[\w-]+): expected one argument", message)
        if missing is None:
            raise UsageError(message)
        metavar = next(action.metavar for action in self._actions if missing[1] in action.option_strings)
        raise UsageError(f"{missing[1]}: needs a value ({missing[1]} {metavar}); see --help")


def _list_of_faults() -> str:
    """The faults by group, one line each, with their options."""
    lines = []
    for group, title in GROUPS.items():
        kinds = [kind for kind in FAULTS.values() if kind.group == group]
        if group == "refuse":  # They differ only in the status.
            lines.append(f"  {title}: {' '.join(kind.name for kind in kinds)}   [retry_after=1: 429 and 503]")
            continue
        lines.append(f"  {title}:")
        for kind in kinds:
            options = " ".join(option.name for option in kind.options)
            lines.append(f"    {kind.name:15}  {kind.doc}" + (f"  [{options}]" if options else ""))
    return "\n".join(lines)


class _Version(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option_string: object = None
    ) -> None:
        print(f"mockserver {importlib.metadata.version('trueload')} (sender: {native.in_use()})")
        parser.exit()


class _Names(argparse.Action):
    """`--model one --model two` is `--model one,two`."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option_string: object = None
    ) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, values if before is None else f"{before},{values}")


class _Preset(argparse.Action):
    """`--preset list` prints the presets and exits, as --help does."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option_string: object = None
    ) -> None:
        if values == LIST:
            print(table())
            parser.exit()
        setattr(namespace, self.dest, values)


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m mockserver",
        usage="%(prog)s [--FLAG VALUE]...",
        description=_ABOUT,
        epilog=_MORE.format(faults=_list_of_faults()),
        formatter_class=HelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    groups["server"].add_argument(
        "--config", metavar="FILE", default=None, help="read settings from this YAML file; flags override it"
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    completion.add_to(parser, "trueload-mock")
    for name, field in MockConfig.model_fields.items():
        flag = next(extra for extra in field.metadata if isinstance(extra, Flag))
        options: dict[str, Any] = {"action": "append"} if get_origin(field.annotation) is tuple else {}
        if name == "preset":
            options = {"action": _Preset}
        if name == "model":
            options = {"action": _Names}
        usual = field.default
        if field.annotation is bool:
            usual = "on" if usual else "off"
        default = f" (default: {usual})" if usual not in (None, ()) else ""
        groups[flag.group].add_argument(
            flag_of(name), metavar=flag.metavar, help=f"{field.description}{default}".replace("%", "%%"), **options
        )
    return parser


def read_arguments(arguments: Sequence[str]) -> MockConfig:
    """The configuration from command-line arguments. Raises UsageError with every problem."""
    parser = _parser()
    namespace, unknown = parser.parse_known_args(with_values(parser, arguments))
    flags = vars(namespace)
    path = flags.pop("config")
    # The word after an unknown flag is most likely its value, not a second problem.
    followed = zip([None, *unknown], unknown, strict=False)
    problems = [_unknown(w) for before, w in followed if w.startswith("-") or before is None or before[0] != "-"]
    try:
        config = load(None if path is None else Path(path), flags)
    except UsageError as e:
        raise UsageError([*problems, *e.problems]) from e
    if problems:
        raise UsageError(problems)
    return config


_FLAGS = ("--config", "--version", "--print-completion", *map(flag_of, MockConfig.model_fields))
_LOAD_TESTER_FLAGS = (
    "--url",
    "--concurrency",
    "--rate",
    "--requests",
    "--duration",
    "--slo",
    "--input-tokens",
    "--out",
)
_OTHER_NAMES = {"--max-tokens": "--output-tokens", "--context-length": "--max-model-len", "--latency": "--ttft"}


def _unknown(word: str) -> str:
    """Describes the problem with a word that argparse does not know, and how to fix it."""
    if word.isdecimal():
        return f"{word}: unexpected argument; did you mean --port {word}?"
    if not word.startswith("-"):
        return f"{word}: unexpected argument; every value needs a flag, see --help"
    name = word.partition("=")[0]
    if not name.startswith("--") and len(name) == 2:
        same_letter = [flag for flag in _FLAGS if flag[2] == name[1]]
        hint = f"did you mean {' or '.join(same_letter)}?" if same_letter else "see --help"
        return f"{name}: the mock has no short flags; {hint}"
    if name in _LOAD_TESTER_FLAGS:
        return f"{name}: not a flag of the mock but of the load tester, python -m bench run"
    close = [_OTHER_NAMES[name]] if name in _OTHER_NAMES else difflib.get_close_matches(name, _FLAGS, n=1)
    close = [
        flag for flag in _FLAGS if sorted(flag) == sorted(name)
    ] or close  # --prot is nearer to --port than to --tpot.
    return f"{name}: no such flag; " + (f"did you mean {close[0]}?" if close else "see --help")


def _keys_of(arguments: Sequence[str]) -> list[str]:
    """The API keys of a command line, exactly as written."""
    parser = _parser()
    namespace, _ = parser.parse_known_args(with_values(parser, arguments))
    return list(getattr(namespace, "api_key", ()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mock until SIGTERM or SIGINT. Returns the exit status: 0, 2 for wrong usage, or 130 if Ctrl-C came before it
    served."""
    if arguments is None:  # We own the process.
        closed_pipe.survive(results=False)
        arguments = sys.argv[1:]
    try:
        config = read_arguments(arguments)
        from mockserver.http.server import serve

        if any(key != key.rstrip() for key in _keys_of(arguments)):
            print("mockserver: note: --api-key: white space after the key was removed", file=sys.stderr)
        serve(config)
    except MockError as e:
        for line in str(e).splitlines():
            print(f"mockserver: {line}", file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        print("mockserver: interrupted before it served", file=sys.stderr)
        return 130
    return 0
