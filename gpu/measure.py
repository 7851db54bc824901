#!/usr/bin/env python3
"""From a model's name to a measured server: one folder with reports, a profile, and the versions of everything.

    tune  ->  serve  ->  warm  ->  sweep  ->  search  ->  fit  ->  index.html

It starts the engine with `serve_vllm.py`, in the engine's own environment, and Trueload in this one. Each phase leaves
its files in the folder, and measure.json records the progress: run the same command again to resume.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.errors import UsageError
from bench.run_files.writable import make_directory
from gpu.engines import ENGINES, parser_and_rest

STATE = "measure.json"
STOP_S = 60.0
MEASURED = (0, 1, 3)
"""Exit statuses of commands that measured something: success, an objective missed or no answer, a busy client."""
LOADS = (1, 2, 4, 8, 16, 32)
PARTS = (
    ("tune/tune.html", "The race of the engine's flags"),
    ("sweep/sweep.html", "Throughput and latency over the load"),
    ("search/search.html", "The load that holds the objectives"),
    ("profile.html", "How the mock behaves with the profile"),
    ("profile.json", "The profile, for python -m mockserver --profile"),
    ("engine.log", "What the engine said"),
    (STATE, "What was asked for, the phases and the versions"),
)
"""Files that the folder may contain at the end."""
_EPILOG = """\
Options after -- go to the engine unchanged.

Examples:
  python gpu/measure.py Qwen/Qwen2.5-7B-Instruct --out measured/qwen-h100 --python ~/vllm/bin/python
  python gpu/measure.py ./tiny-model --allow-cpu --out measured/tiny --loads 1,2,4,16 --held-out 8 --seconds 20
  python gpu/measure.py ./tiny-model --out measured/tuned --tune max-num-seqs=64,256 --tune max-num-batched-tokens=4096,16384
  python gpu/measure.py Qwen/Qwen2.5-7B-Instruct --out measured/qwen-h100      # again: goes on where it was ended
"""


_BEGIN_ANEW = "remove the file, which begins the measurement anew, or name another --out"


class Failed(Exception):
    """Why the measurement did not finish: one sentence for the user."""


def say(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)


class Measurement:
    """The folder, and the state of each phase."""

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        """Raises Failed if the folder holds another measurement, or one is running in it."""
        self.folder = folder
        try:
            make_directory("--out", folder)
        except UsageError as e:
            raise Failed(str(e)) from e
        self.state: dict[str, Any] = {"asked": asked, "phases": {}, "versions": {}}
        if (folder / STATE).exists():
            found = _state_of(folder / STATE)
            if other := [name for name, value in asked.items() if found["asked"].get(name) != value]:
                was = ", ".join(f"{name} {found['asked'].get(name)!r}, now {asked[name]!r}" for name in other)
                raise Failed(f"{folder} has another measurement ({was}): ask for the same, or name another --out")
            self.state = found

    def done(self, phase: str) -> bool:
        """Whether this phase completed."""
        return bool(self.state["phases"].get(phase, {}).get("ended"))

    def phase(self, name: str, work: Callable[[], object]) -> None:
        """Do a phase, unless it is done."""
        if self.done(name):
            say(f"== {name}: done before")
            return
        say(f"== {name}")
        began = time.monotonic()
        self._note(name, began=_now())
        work()
        self._note(name, ended=_now(), seconds=round(time.monotonic() - began, 1))

    def _note(self, phase: str, **facts: Any) -> None:
        self.state["phases"].setdefault(phase, {}).update(facts)
        self.write()

    def write(self) -> None:
        """Write the state atomically."""
        whole = self.folder / f"{STATE}.new"
        whole.write_text(json.dumps(self.state, indent=2) + "\n", encoding="utf-8")
        whole.replace(self.folder / STATE)


def _state_of(path: Path) -> dict[str, Any]:
    """The content of measure.json. Raises Failed if it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        why = (e.strerror if isinstance(e, OSError) else None) or "it is not JSON"
        raise Failed(f"{path} cannot be read ({why}): {_BEGIN_ANEW}") from e
    if not isinstance(found, dict) or not all(
        isinstance(found.get(key), dict) for key in ("asked", "phases", "versions")
    ):
        raise Failed(f"{path} is damaged (it needs the objects asked, phases and versions): {_BEGIN_ANEW}")
    if not all(isinstance(facts, dict) for facts in found["phases"].values()):
        raise Failed(f"{path} is damaged (each of its phases must be an object): {_BEGIN_ANEW}")
    return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Served:
    """The running engine. `with` ends it."""

    def __init__(self, options: argparse.Namespace, extra: Sequence[str]) -> None:
        """Raises Failed if it does not become healthy; the reason is on stderr."""
        words = [options.python, str(Path(__file__).with_name("serve_vllm.py")), options.model]
        words += ["--engine", options.engine, "--port", str(options.port), "--gpus", options.gpus]
        words += ["--log", str(options.out / "engine.log"), "--timeout", str(options.timeout)]
        words += [*(["--allow-cpu"] if options.allow_cpu else []), *(["--", *extra] if extra else [])]
        # In its own session: Ctrl-C ends the phase first, and then the engine.
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        line = self.process.stdout.readline().strip()
        if not line:
            raise Failed(f"the engine was not started (status {self.process.wait()}): the reason is above")
        told = shlex.split(line)
        self.model = told[told.index("--model") + 1]

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def bench(*words: str, may_end: Sequence[int] = (0,)) -> int:
    """Run a Trueload command. Raises Failed if its exit status is not in `may_end`; KeyboardInterrupt on Ctrl-C."""
    line = [sys.executable, "-m", "bench", *words]
    say("   " + shlex.join(["python", *line[1:]]))
    process = subprocess.Popen(line, cwd=Path(__file__).parents[1], start_new_session=True)
    interrupted = False
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:
            # The first Ctrl-C lets requests in flight finish, the second cuts them: the command keeps what it has.
            interrupted = True
            process.send_signal(signal.SIGINT)
    if interrupted:
        raise KeyboardInterrupt
    if status not in may_end:
        raise Failed(f"python -m bench {words[0]} ended with status {status}: the reason is above")
    return status


def tune_spec(options: argparse.Namespace, extra: Sequence[str]) -> dict[str, object]:
    """The race of the engine's flags, as `bench tune` reads it. The first arm has no flag: the engine without tuning."""
    words = [options.python, str(Path(__file__).with_name("serve_vllm.py")), options.model, "--engine", options.engine]
    words += [
        "--gpus",
        options.gpus,
        "--timeout",
        f"{options.timeout:g}",
        *(["--allow-cpu"] if options.allow_cpu else []),
    ]
    load = {"input_tokens": options.input_tokens, "output_tokens": options.output_tokens, "ignore_eos": True}
    goal: dict[str, object] = {"loads": f"concurrency={max(loads_of(options.loads))}"}
    if options.slo:
        goal = {"goal": "held_load", "objectives": options.slo, "search": {"load": "concurrency"}}
    return {
        "server": {
            "command": f"{shlex.join(words)} --port {{port}} -- {shlex.join(extra)} {{flags}}",
            "ports": [options.port],
            "start_within": options.timeout,
            "stop_within": STOP_S,
        },
        "flags": {name: [None, *values] for name, values in map(tuned, options.tune)},
        **goal,
        "load": {**load, "tokenizer": _tokenizer(options)},
        "budget": options.tune_budget,
    }


def tuned(text: str) -> tuple[str, list[str]]:
    """Parse an engine flag and its values: `max-num-seqs=64,256`. Raises Failed."""
    name, _, listed = text.partition("=")
    values = [value.strip() for value in listed.split(",") if value.strip()]
    if not name.strip("-") or not values:
        raise Failed(f"--tune {text}: write a flag of the engine with its values, for example max-num-seqs=64,256")
    return name.strip("-"), values


def best_flags(folder: Path) -> list[str]:
    """The options of the winner of a race."""
    content = json.loads((folder / "tune.json").read_text(encoding="utf-8"))
    flags: dict[str, Any] = content["arms"][content["best"]]["flags"]
    return [word for name, value in flags.items() if value is not None for word in (f"--{name}", str(value))]


def tune_it(one: Measurement, options: argparse.Namespace, extra: Sequence[str]) -> list[str]:
    """Race the flags of --tune. Returns the engine's options, including the winner's. Raises Failed."""
    if not options.tune:
        return list(extra)
    spec, folder = one.folder / "tune.json", one.folder / "tune"
    spec.write_text(json.dumps(tune_spec(options, extra), indent=2) + "\n", encoding="utf-8")  # JSON is YAML.
    one.phase("tune", lambda: bench("tune", str(spec), *resumed(folder)))
    found = best_flags(folder)
    say(f"   the winner: {shlex.join(found) or 'no flag, as without --tune'}")
    return [*extra, *found]


def _tokenizer(options: argparse.Namespace) -> str:
    return str(options.tokenizer or (options.model if Path(options.model).is_dir() else "server"))


def resumed(folder: Path) -> list[str]:
    """Arguments that start a series in a new directory, or resume the one that exists."""
    return ["--resume" if folder.is_dir() else "--out", str(folder)]


def loads_of(text: str) -> list[int]:
    """Parse user counts: 1,2,4. Raises Failed."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise Failed(f"--loads {text}: write numbers of users, for example 1,2,4,16")
    return sorted({int(word) for word in words})


def versions(python: str, engine: str) -> dict[str, str]:
    """Versions of everything that a number may depend on, as far as they are known."""
    found = {"python": platform.python_version(), "system": platform.platform(), "processor": _processor()}
    ask = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    listed = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        packages = {str(name).lower(): version for name, version in json.loads(listed.stdout).items()}
        wanted = (engine, f"{engine}-cpu", "torch", "transformers", "triton", "flashinfer-python")
        found |= {name: packages[name] for name in wanted if name in packages}
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,vbios_version", "--format=csv,noheader"]
        said = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")
        found |= {f"gpu {number}": line.strip() for number, line in enumerate(said) if line.strip()}
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def problems(options: argparse.Namespace) -> list[str]:
    """Problems that can be found before a server takes minutes to start."""
    found = []
    try:
        loads_of(options.loads)
    except Failed as e:
        found.append(str(e))
    if shutil.which(options.python) is None:
        found.append(f"--python {options.python}: there is no such program: name the Python that has the engine")
    for flag, seconds in (("--seconds", options.seconds), ("--warm-seconds", options.warm_seconds)):
        if not 0 < seconds < math.inf:
            found.append(f"{flag} {seconds:g}: give more than 0 s")
    for text in options.tune:
        try:
            tuned(text)
        except Failed as e:
            found.append(str(e))
    if options.held_out is not None and options.held_out < 1:
        found.append(f"--held-out {options.held_out}: give a number of users of at least 1")
    if not 0 < options.port < 65536:
        found.append(f"--port {options.port}: give a port from 1 to 65535")
    return found


def measure(options: argparse.Namespace, extra: Sequence[str]) -> None:
    """Run all phases. Raises Failed."""
    if wrong := problems(options):
        raise Failed("\n  - ".join(["", *wrong]) if len(wrong) > 1 else wrong[0])
    loads = loads_of(options.loads)
    held_out = [] if options.held_out is None else [options.held_out]
    asked = {
        "model": options.model, "engine": options.engine, "engine_options": list(extra), "loads": loads,
        "held_out": options.held_out, "seconds": options.seconds, "input_tokens": options.input_tokens,
        "output_tokens": options.output_tokens, "slo": options.slo, **({"tune": options.tune} if options.tune else {}),
    }  # fmt: skip
    one = Measurement(options.out, asked)
    if not all(one.done(phase) for phase in ("warm", "sweep", *(["search"] if options.slo else []))):
        one.state["versions"] = versions(options.python, options.engine)
        extra = tune_it(one, options, extra)
        with Served(options, extra) as server:
            load_it(one, options, server, sorted({*loads, *held_out}))
    run_of = {users: str(options.out / "sweep" / f"concurrency-{users}-1") for users in (*loads, *held_out)}
    words = [run_of[users] for users in loads if users not in held_out]
    words += [word for users in held_out for word in ("--held-out", run_of[users])]
    words += ["--server", f"{options.engine}, {options.model}", "--out", str(options.out / "profile.json")]
    one.phase("fit", lambda: bench("fit", *words))
    (options.out / "index.html").write_text(index(one), encoding="utf-8")
    say(f"measured: {options.out / 'index.html'}")


def load_it(one: Measurement, options: argparse.Namespace, server: Served, users: Sequence[int]) -> None:
    """Run the phases that send load. Raises Failed."""
    load = ["--url", server.url, "--model", server.model, "--ignore-eos"]
    load += ["--input-tokens", options.input_tokens, "--output-tokens", options.output_tokens]
    load += ["--tokenizer", _tokenizer(options)]
    most = ["--concurrency", str(users[-1]), "--duration", f"{options.warm_seconds:g}"]
    ladder = ["--loads", "concurrency=" + ",".join(map(str, users)), "--duration", f"{options.seconds:g}"]
    objectives = [word for slo in options.slo for word in ("--slo", slo)]
    goal = ["--load", "concurrency", "--budget", options.budget, *objectives]
    warm, sweep, search = (one.folder / name for name in ("warm", "sweep", "search"))
    # Only a first load meets this: an engine compiles and captures at the first requests of each size.
    one.phase("warm", lambda: bench("run", *load, *most, "--out", str(_fresh(warm)), may_end=MEASURED))
    one.phase("sweep", lambda: bench("sweep", *load, *ladder, *resumed(sweep), may_end=MEASURED))
    if options.slo:
        one.phase("search", lambda: bench("search", *load, *goal, *resumed(search), may_end=MEASURED))


def _fresh(folder: Path) -> Path:
    """Remove a directory that was started and not finished."""
    if folder.is_dir():
        shutil.rmtree(folder)
    return folder


def index(one: Measurement) -> str:
    """The index page of the folder: what was measured, and where each part is."""
    state, folder = one.state, one.folder
    links = "".join(
        f'<li><a href="{html.escape(path)}">{html.escape(text)}</a></li>'
        for path, text in PARTS
        if (folder / path).exists()
    )
    facts = {**state["asked"], **{f"version of {name}": version for name, version in state["versions"].items()}}
    rows = "".join(
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(_text(value))}</td></tr>"
        for name, value in facts.items()
        if value
    )
    title = html.escape(f"{state['asked']['model']}, {state['asked']['engine']}")
    style = "body{font:16px/1.5 system-ui;max-width:50rem;margin:3rem auto;padding:0 1rem}"
    style += "th{text-align:left;vertical-align:top;padding-right:1rem}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta name="color-scheme" content="light dark"><title>{title}</title><style>{style}</style>'
        f"<h1>{title}</h1><ul>{links}</ul><table>{rows}</table></html>\n"
    )


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """This script's options, and those after -- for the engine."""
    parser, ours, extra = parser_and_rest(argv, __doc__, _EPILOG)
    add = parser.add_argument
    add("model", metavar="MODEL", help="hub id, directory or file of the model")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder; one that is there is gone on with")
    add("--engine", choices=tuple(ENGINES), default="vllm", help="what serves it (default: vllm)")
    add("--python", default=sys.executable, metavar="PATH", help="the Python that has the engine (default: this one)")
    add(
        "--tokenizer",
        metavar="T",
        help="of the prompts (default: that in the model's directory, else the server's own)",
    )
    add(
        "--loads",
        default=",".join(map(str, LOADS)),
        metavar="USERS",
        help="loads to fit (default: %(default)s)",
    )
    add(
        "--held-out", type=int, metavar="USERS", help="a load that is measured and not fitted, which proves the profile"
    )
    add("--seconds", type=float, default=60.0, metavar="S", help="length of each load (default: 60)")
    add(
        "--warm-seconds",
        type=float,
        default=20.0,
        metavar="S",
        help="length of the load that warms it up (default: 20)",
    )
    add("--input-tokens", default="uniform:64..1024", metavar="DIST", help="default: uniform:64..1024")
    add("--output-tokens", default="uniform:32..256", metavar="DIST", help="default: uniform:32..256")
    add(
        "--slo",
        action="append",
        default=[],
        metavar="SLO",
        help="search the load that holds it: ttft:p99<1s; may be repeated",
    )
    add("--budget", default="15m", metavar="S", help="time for the search (default: 15m)")
    add(
        "--tune",
        action="append",
        default=[],
        metavar="FLAG=VALUES",
        help="first race this flag of the engine, and measure the winner: max-num-seqs=64,256; may be repeated",
    )
    add("--tune-budget", default="60m", metavar="S", help="time for the race (default: 60m)")
    add("--port", type=int, default=8000, help="port of the server (default: 8000)")
    add("--gpus", default="first", metavar="LIST", help="indices such as 0,1; all; first (default: first)")
    add("--allow-cpu", action="store_true", help="start although there is no GPU (a build for the CPU)")
    add("--timeout", type=float, default=1800.0, metavar="S", help="seconds to become healthy (default: 1800)")
    options = parser.parse_args(ours)
    options.out = options.out.absolute()
    return options, extra


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 measured; 1 a phase failed; 130 after Ctrl-C. Results so far are kept."""
    options, extra = parse_arguments(argv)
    again = f"what was measured is in {options.out}; the same command goes on"
    # Ctrl-C reaches the running phase, which keeps what it has; SIGTERM does the same.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        measure(options, extra)
    except Failed as e:
        say(f"measure: {e}. {again}" if (options.out / STATE).exists() else f"measure: {e}")
        return 1
    except KeyboardInterrupt:
        say(f"measure: interrupted; {again}")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
