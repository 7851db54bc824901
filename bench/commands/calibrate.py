"""`bench calibrate`: sends a load to our own mock, and finds the error of every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.accuracy import metamorphic
from bench.accuracy.sweep import LoadPoint, points_of
from bench.calibrate import measure
from bench.commands.options import ConfigFile, parse_flags, read_file, resolve_flags, run_parser
from bench.commands.output import finish, show, show_calibration_sweep
from bench.config import RunConfig
from bench.config.flags import own_group
from bench.documents.checks_document import checks_document
from bench.documents.document import Level
from bench.errors import Exit, UsageError
from bench.load_test import default_directory
from bench.terminal import terminal

ABOUT = """\
Measures how wrong the numbers are, at this load, on this machine. It starts a mock server that records when it sent each
token, sends it the load, and compares every number with that record. Later runs of a similar load show the result.
"""


EXAMPLES = """\
examples:
  python -m bench calibrate --concurrency 32 --requests 500
  python -m bench calibrate --rate 100 --duration 30s --mock "--ttft 200ms --tpot lognormal:mean=20ms,cv=0.3"
  python -m bench calibrate --concurrency 30 --requests 300 --mock "--replicas 3 --replica 1:ttft=80ms"
  python -m bench calibrate --sweep       # find the largest load that this machine measures correctly
  python -m bench calibrate --full        # change the mock's settings, and check that reports change accordingly
  python -m bench calibrate --url http://other-host:8000     # a mock on another machine (python -m mockserver --host 0.0.0.0)

exit status: 0 good, 2 wrong usage, 3 INVALID: the numbers are wrong at this load, 4 no mock answers, 70 a defect of Trueload,
             130 interrupted
"""


UNREAD = {"server_metrics": ("off",), "gpu_metrics": "off"}
"""The ledger has more than the mock's metrics page, and serving that page takes the mock some ms, in which it sends no
token."""

DEFAULTS = {"check_usage": True, **UNREAD}
"""The defaults of a calibration."""


NOT_BOTH = "--mock is for the mock that calibrate starts, and --url names one that runs: use only one of them"
ONE_MOCK = (
    "--url is given more than once: calibrate those mocks one by one, or the replicas of a single one with --mock "
    "'--replicas N'"
)


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = run_parser("calibrate", ABOUT, EXAMPLES, ["url"])
    group = own_group(parser, "how to calibrate")
    group.add_argument(
        "--mock",
        default="",
        metavar='"FLAGS"',
        help="flags of the mock, as for python -m mockserver (default: TTFT 50 ms, TPOT 20 ms)",
    )
    group.add_argument(
        "--url", action="append", metavar="URL", help="measure a mock that already runs there, instead of starting one"
    )
    group.add_argument(
        "--sweep",
        nargs="*",
        metavar="LOADS",
        help="calibrate several loads: concurrency=1,10,100 rate=50,200 (default: 1 to 1000 streams, 20 to 400/s)",
    )
    group.add_argument(
        "--full",
        nargs="*",
        metavar="CHECKS",
        help="change one setting of the mock at a time, and check that the report changes as it must (default: all checks)",
    )
    group.add_argument("--no-store", action="store_true", help="do not keep the result for later runs")
    flags, problems = parse_flags(parser, argv)
    mock_flags, urls, store = flags.pop("mock"), flags.pop("url") or [None], not flags.pop("no_store")
    url = urls[0]
    if len(urls) > 1:
        problems.append(ONE_MOCK)
    loads, checks = flags.pop("sweep"), flags.pop("full")
    file = read_file(flags, problems)  # Only once: standard input cannot be read again for each run.
    if url is None and flags.get("cluster") is not None:
        problems.append(
            "--cluster: calibrate starts its mock on this machine, which other nodes cannot reach: start one where they can "
            "(--host 0.0.0.0), and name it with --url"
        )
    if checks is not None:
        return _metamorphic(
            flags, checks, [("--mock", mock_flags), ("--url", url), ("--sweep", loads)], problems, file, argv
        )
    if loads is not None:
        return _sweep(flags, loads, mock_flags, url, store, problems, file, argv)
    if url is not None and mock_flags:
        problems.append(NOT_BOTH)

    def config_at(address: measure.Places) -> RunConfig:
        return resolve_flags({"name": "calibration", **DEFAULTS, **flags, "url": address}, problems, file)

    command = ["python", "-m", "bench", "calibrate", *argv]
    if url is not None:
        config = config_at(url)
        result = measure.calibrate_at(config, command=command, observer=terminal(config.quiet))
    else:
        config = config_at(measure.anywhere(mock_flags))
        result = measure.calibrate(config_at, mock_flags=mock_flags, command=command, observer=terminal(config.quiet))
    if store and measure.keep(result):
        terminal(config.quiet).say(f"kept in {measure.default_path()}: later runs of such a load show these errors")
    return finish(config, result)


def _sweep(
    flags: dict[str, Any],
    loads: Sequence[str],
    mock_flags: str,
    url: str | None,
    store: bool,
    problems: list[str],
    file: ConfigFile,
    argv: Sequence[str],
) -> int:
    if url is not None:
        problems.append("--sweep starts a mock for each load, and --url names one that runs: use only one of them")
    for name in ("mode", "concurrency", "rate", "max_concurrency"):
        if name in flags:
            problems.append(f"--{name.replace('_', '-')} and --sweep cannot be combined: give the loads to --sweep")
    try:
        points = points_of(loads)
    except UsageError as e:
        raise UsageError([*problems, *e.problems]) from e
    name, quiet = flags.get("name", "sweep"), bool(flags.get("quiet"))
    folder = Path(flags["out"]) if "out" in flags else default_directory(name)
    settings = {"name": name, **DEFAULTS, **flags}

    def config_at(address: measure.Places, point: LoadPoint) -> RunConfig:
        place = {"url": address, "out": str(folder / point.name)}
        return resolve_flags({**settings, **point.flags(settings), **place, "quiet": True}, problems, file)

    result = measure.sweep(
        config_at, points, folder, mock_flags=mock_flags, command=["python", "-m", "bench", "calibrate", *argv],
        store=store, observer=terminal(quiet),
    )  # fmt: skip
    return show_calibration_sweep(result, folder, flags.get("format", "text"))


def _metamorphic(
    flags: dict[str, Any],
    checks: Sequence[str],
    others: Sequence[tuple[str, object]],
    problems: list[str],
    file: ConfigFile,
    argv: Sequence[str],
) -> int:
    loads = ({**metamorphic.LOAD, **check.load} for check in metamorphic.CHECKS.values())
    needed = {key for load in loads for key in load} | {"mode", "duration"}
    conflicts = [f"--{key.replace('_', '-')}" for key in flags if key in needed]
    conflicts += [flag for flag, value in others if value not in (None, "")]
    problems += [f"{flag} and --full cannot be combined: each check has its own" for flag in conflicts]
    name, quiet = flags.get("name", "full"), bool(flags.get("quiet"))
    folder = Path(flags["out"]) if "out" in flags else default_directory(name)
    fixed = {"name": name, "check_usage": True, **flags}

    def config_at(address: measure.Places, check: str, load: Mapping[str, Any]) -> RunConfig:
        return resolve_flags(
            {**UNREAD, **load, "url": address, "out": str(folder / check), "quiet": True}, problems, file
        )

    result = measure.check_all(
        config_at,
        fixed,
        checks,
        folder,
        command=["python", "-m", "bench", "calibrate", *argv],
        observer=terminal(quiet),
    )
    show(
        result.to_json(),
        checks_document(result),
        flags.get("format", "text"),
        Level.USUAL,
        f"checks: {folder / 'full.json'}",
    )
    return Exit.GOOD if result.holds else Exit.INVALID
