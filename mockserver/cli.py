"""The command line of the mock: `python -m mockserver`, also `--help`, made from the fields of `MockConfig`."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_origin

from mockserver.config import Flag, MockConfig, flag_of, load
from mockserver.errors import MockError, UsageError
from mockserver.presets import LIST, table

_ABOUT = """\
A synthetic inference server that speaks the OpenAI API as vLLM does. Every latency is chosen in advance and written
down when it happens, so that a load test against it can be checked.
"""

_MORE = """\
DIST is a distribution:
  50ms   uniform:10ms..90ms   normal:mean=50ms,std=5ms   lognormal:mean=200ms,cv=0.5,max=5s   gamma:mean=20ms,cv=0.3
  exp:mean=1s   empirical:file.json   and for tokens the same without a unit: 128, uniform:100..500

SPEC is NAME[:key=value,...], and every rule that hits a request adds its fault:
{faults}
  which requests:  rate=0.1 (a share), index=7 (one) or every=10 (each tenth); from=10s,until=20s (since the start);
                   skip=100 (not the first 100); without one of them, all
  one request:     send it with the header  x-mock-fault: NAME[:key=value,...][; NAME ...]
                   its latencies too:  x-mock-ttft: 200ms  x-mock-tpot  x-mock-itl  x-mock-output-tokens

examples:
  python -m mockserver
  python -m mockserver --ttft lognormal:mean=200ms,cv=0.5 --itl gamma:mean=20ms,cv=0.3 --ledger ledger.jsonl
  python -m mockserver --engine batching --step-cost qwen2.5-7b-h100   # continuous batching, as vLLM on a GPU
  python -m mockserver --replay ledger.jsonl                           # the latencies of a ledger or a run again
  python -m mockserver --port 0 --fault 429:rate=0.05,retry_after=2 --fault reset:every=50,after=10
  python -m mockserver --config mock.yaml        # the same keys, with underscores:  output_tokens: uniform:100..500

It prints one line when it listens: mockserver ready at http://HOST:PORT
Then:  GET /ledger (what was done)   /truth (what to expect)   /metrics   /health   /v1/models
       PATCH /admin/config  {{"ttft": "200ms"}}  changes latencies, lengths and faults while it serves
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
        raise UsageError(message)


def _list_of_faults() -> str:
    """The faults by group, a line each, with the options that each takes."""
    from mockserver.faults import FAULTS, GROUPS

    lines = []
    for group, title in GROUPS.items():
        kinds = [kind for kind in FAULTS.values() if kind.group == group]
        if group == "refuse":  # They differ in the status alone.
            lines.append(f"  {title}: {' '.join(kind.name for kind in kinds)}   [retry_after=1: 429 and 503]")
            continue
        lines.append(f"  {title}:")
        for kind in kinds:
            options = " ".join(option.name for option in kind.options)
            lines.append(f"    {kind.name:15}  {kind.doc}" + (f"  [{options}]" if options else ""))
    return "\n".join(lines)


class _Preset(argparse.Action):
    """`--preset list` shows what there is and ends, as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        if values == LIST:
            print(table())
            parser.exit()
        setattr(namespace, self.dest, values)


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m mockserver",
        description=_ABOUT,
        epilog=_MORE.format(faults=_list_of_faults()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    groups["server"].add_argument(
        "--config", metavar="FILE", default=None, help="YAML file with any of these, flags win over it"
    )
    for name, field in MockConfig.model_fields.items():
        flag = next(extra for extra in field.metadata if isinstance(extra, Flag))
        options: dict[str, Any] = {"action": "append"} if get_origin(field.annotation) is tuple else {}
        if name == "preset":
            options = {"action": _Preset}
        usual = field.default
        if field.annotation is bool:
            usual = "on" if usual else "off"
        default = f" (default: {usual})" if usual not in (None, ()) else ""
        groups[flag.group].add_argument(
            flag_of(name), metavar=flag.metavar, help=f"{field.description}{default}".replace("%", "%%"), **options
        )
    return parser


def read_arguments(arguments: Sequence[str]) -> MockConfig:
    """The configuration that a command line asks for. Raises UsageError with every problem."""
    parser = _parser()
    given, unknown = parser.parse_known_args(arguments)
    flags = vars(given)
    path = flags.pop("config")
    # What follows an unknown flag is most likely its value, and no second problem.
    followed = zip([None, *unknown], unknown, strict=False)
    problems = [_unknown(w) for before, w in followed if w.startswith("-") or before is None or before[0] != "-"]
    try:
        config = load(None if path is None else Path(path), flags)
    except UsageError as e:
        raise UsageError([*problems, *e.problems]) from e
    if problems:
        raise UsageError(problems)
    return config


def _unknown(word: str) -> str:
    if not word.startswith("-"):
        return f"{word}: every argument belongs to a flag; see --help"
    name = word.partition("=")[0]
    close = difflib.get_close_matches(name, ["--config", *map(flag_of, MockConfig.model_fields)], n=1)
    return f"{name}: no such flag; " + (f"did you mean {close[0]}?" if close else "see --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mock until SIGTERM or SIGINT; the exit status: 0, or 2 for wrong usage."""
    try:
        config = read_arguments(sys.argv[1:] if arguments is None else arguments)
        from mockserver.http.server import serve

        serve(config)
    except MockError as e:
        for line in str(e).splitlines():
            print(f"mockserver: {line}", file=sys.stderr)
        return e.exit_code
    return 0
