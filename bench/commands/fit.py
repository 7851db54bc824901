"""`bench fit`: makes a profile of a server, for the mock, from runs."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import orjson
from msgspec.structs import replace

from bench.clock import utc_now
from bench.commands import fit_replay
from bench.commands.output import show
from bench.config.flags import Parser, tried
from bench.documents.document import Level
from bench.documents.fit_document import fit_document
from bench.errors import Exit, UsageError
from bench.fit.batching import Given, fit_batching
from bench.fit.profile import batching_profile, sampled_profile
from bench.fit.read import read_runs, refuse_other_models
from bench.fit.replayed import warnings_of
from bench.fit.sampled import fit_sampled
from bench.machine.identity import versions
from bench.report import html
from bench.results.base import to_bytes, to_plain
from bench.results.profile import Profile
from bench.rng import stream
from bench.run_files.run_directory import RunDirectory
from bench.run_files.writable import refuse_file, write_file
from bench.series.drive import End
from bench.terminal import terminal

ABOUT = """\
Estimates from runs what a step of a continuous-batching server costs, and writes a profile for the mock:
python -m mockserver --profile FILE. Then it starts a mock with that profile on this machine and sends it the same loads, to
show how far it is from the server. It sends nothing to the server.
"""

EXAMPLES = """\
examples:
  python -m bench fit runs/one-user runs/four-users runs/sixteen-users --out profile.json
  python -m bench fit runs/1 runs/4 runs/16 --held-out runs/8 --out profile.json
  python -m bench fit runs/1 runs/16 --no-replay --out h100.json --server "vLLM 0.32, H100" --max-num-batched-tokens 8192

exit status: 0 fitted, even if some costs stay unknown; 2 wrong usage, or the runs have too little to fit;
             70 a defect of Trueload
"""

_SEED = 0


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    args = _parser().parse_args(list(argv))
    problems: list[str] = []
    limits = tried(problems, lambda: _limits(args)) or {}
    if args.engine == "sampled":
        problems += [
            f"--{name}: goes with --engine batching alone" for name in sorted(_flag_of(name) for name in limits)
        ]
    if args.no_replay and args.held_out:
        problems.append("--held-out names a run to replay, and --no-replay replays none: use only one of them")
    out = None if args.out is None else tried(problems, lambda: _place(Path(args.out)))
    runs = [Path(run) for run in args.runs]
    for run in args.held_out:
        tried(problems, partial(RunDirectory.open, Path(run)))
        if Path(run).resolve() in [fitted_run.resolve() for fitted_run in runs]:
            problems.append(f"--held-out {run}: it is fitted too, and would show nothing: name it once")
    if problems:
        for run in runs:  # Otherwise the fit itself reports their problems.
            tried(problems, partial(RunDirectory.open, run))
        raise UsageError(problems)

    profile = sampled(runs, args.server) if args.engine == "sampled" else fitted(runs, limits, args.server)
    refuse_other_models(profile.model, [Path(run) for run in args.held_out])
    _write(profile, out)
    end = End()
    if not args.no_replay:
        profile, end = _replayed(profile, args)
        _write(profile, out)
    pages = (
        "" if out is None else f"profile: {out}\npage: {page_of(out)}\nserve it: python -m mockserver --profile {out}"
    )
    show(profile, fit_document(profile), args.format, Level.USUAL, pages)
    end.refuse_interrupted("interrupted while replaying: the profile has only the replays that were finished")
    return Exit.GOOD


def _parser() -> Parser:
    parser = Parser(prog="python -m bench fit", description=ABOUT, epilog=EXAMPLES)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run directories of one server and model, at several loads"
    )
    parser.add_argument("--out", metavar="FILE", help="where to write the profile (default: nowhere, only print)")
    parser.add_argument(
        "--engine",
        choices=("batching", "sampled"),
        default="batching",
        help="the model of the server: batching finds what its steps cost; sampled says what TTFT and gaps were, for a "
        "server whose steps cannot be seen (default: batching)",
    )
    parser.add_argument(
        "--server", metavar="TEXT", help="a description of the server for the profile: name, version, GPU"
    )
    parser.add_argument("--max-num-seqs", metavar="N", help="the server's own limit, if you know it")
    parser.add_argument("--max-num-batched-tokens", metavar="N", help="likewise")
    parser.add_argument("--kv-blocks", metavar="N", help="likewise, in blocks of 16 tokens")
    parser.add_argument(
        "--step-gap", metavar="MS", help="tokens that arrive closer together belong to one step (default: found for each "
        "run)",
    )  # fmt: skip
    parser.add_argument(
        "--held-out", metavar="RUN", action="append", default=[], help="a run to replay but not to fit, as a "
        "check of the fit; may be repeated",
    )  # fmt: skip
    parser.add_argument("--no-replay", action="store_true", help="do not send the loads to a mock with the profile")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print (default: text)")
    return parser


def _write(profile: Profile, out: Path | None) -> None:
    """Write the profile atomically, with its page next to it."""
    if out is not None:
        write_file("--out", out, to_bytes(profile))
        write_file("--out", page_of(out), html.render(fit_document(profile)).encode())


def page_of(out: Path) -> Path:
    """The path of a profile's page."""
    return out.with_suffix(".html")


def _replayed(profile: Profile, args: Namespace) -> tuple[Profile, End]:
    """Replay the profile's loads against a mock with this profile. Returns the profile with the results, and how the
    series ended."""
    with tempfile.TemporaryDirectory(prefix="trueload-fit-") as folder:
        file = Path(folder) / "profile.json"
        file.write_bytes(orjson.dumps(to_plain(profile)))
        fitted_runs, held_out = ([Path(run) for run in runs] for runs in (args.runs, args.held_out))
        replays, problems, end = fit_replay.replay(file, fitted_runs, held_out, terminal(args.quiet))
    warnings = [*profile.warnings, *problems, *warnings_of(replays)]
    return replace(profile, replay=replays or None, warnings=warnings), end


def _limits(args: Namespace) -> dict[str, float]:
    """The given limits, by name. Raises UsageError with every problem."""
    limits, problems = {}, []
    for name in ("max_num_seqs", "max_num_batched_tokens", "kv_blocks"):
        text = getattr(args, name)
        if text is None:
            continue
        if text.isdecimal() and int(text) >= 1:
            limits[name] = float(text)
        else:
            problems.append(f"--{name.replace('_', '-')} {text}: write a whole number of at least 1")
    if args.step_gap is not None:
        try:
            gap_ms = float(args.step_gap)
        except ValueError:
            gap_ms = 0.0
        if 0 < gap_ms < 60_000:
            limits["step_gap_us"] = gap_ms * 1000
        else:
            problems.append(f"--step-gap {args.step_gap}: write a number of ms, for example 0.6")
    if problems:
        raise UsageError(problems)
    return limits


def _flag_of(limit: str) -> str:
    return "step-gap" if limit == "step_gap_us" else limit.replace("_", "-")


def _place(path: Path) -> Path:
    """Check the path before the work, not after it."""
    if path.is_dir():
        raise UsageError(f"--out {path} is a directory: name a file, for example {path / 'profile.json'}")
    for file in (path, page_of(path)):
        refuse_file("--out", file)
    return path


def fitted(paths: Sequence[Path], limits: Mapping[str, float], server: str | None) -> Profile:
    """The profile of these runs. Raises UsageError if they have too little data to fit."""
    runs = read_runs(paths)
    whole = {name: int(value) for name, value in limits.items() if name != "step_gap_us"}
    stated = {name: value for run in reversed(runs) for name, value in run.stated.items()}
    try:
        fit = fit_batching(
            [run.streams for run in runs],
            stream(_SEED, "fit"),
            Given(step_gap_us=limits.get("step_gap_us"), **whole),
            stated,
        )
    except ValueError as e:
        raise UsageError(f"nothing was fitted: {e}") from e
    date = utc_now().isoformat(timespec="seconds")
    return batching_profile(fit, runs, date=date, trueload=versions().get("trueload"), server=server)


def sampled(paths: Sequence[Path], server: str | None) -> Profile:
    """The same from times alone."""
    runs = read_runs(paths)
    try:
        fit = fit_sampled([run.streams for run in runs])
    except ValueError as e:
        raise UsageError(f"nothing was fitted: {e}") from e
    date = utc_now().isoformat(timespec="seconds")
    return sampled_profile(fit, runs, date=date, trueload=versions().get("trueload"), server=server)
