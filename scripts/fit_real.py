"""Fits the mock to real servers on this machine's processors, and prints how its profile does at an unseen load.

TRUELOAD_VLLM_PYTHON names the Python that has vLLM. Server and client share the processors, so a busy machine makes the
server's steps uneven: the residuals of the fit show it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.cli import main as bench
from bench.fit.profile import USAGE_ON_CHUNKS
from tests.support import real_servers

WITHIN = 0.15
LOADS, HELD_OUT = (1, 2, 4, 16), 8
RATE = 5.0
"""Requests per second of one more load: arrivals during steps separate a0 from w0."""
LENGTHS = ("--input-tokens", "uniform:32..256", "--output-tokens", "uniform:32..96", "--ignore-eos")
JUDGED = ("ttft_ms", "tpot_ms")


@contextlib.contextmanager
def vllm(folder: Path) -> Iterator[str]:
    """The URL of vLLM with a tiny model."""
    real_servers.write_vllm_model(folder)
    with real_servers.vllm(folder) as url:
        yield url


@contextlib.contextmanager
def llama_cpp(folder: Path) -> Iterator[str]:
    """The URL of llama.cpp with a tiny model."""
    del folder
    with real_servers.llama_cpp("--parallel", "16") as url:
        yield url


SERVERS = {"vllm": vllm, "llama.cpp": llama_cpp}


def run(url: str, how: tuple[str, float], seconds: float, out: Path) -> str:
    """A run of ("--concurrency", users) or ("--rate", requests a second): its directory."""
    load = [how[0], str(how[1]), "--duration", str(seconds), "--extra-body", USAGE_ON_CHUNKS]
    bench(["run", "--url", url, *load, *LENGTHS, "--quiet", "--out", str(out)])
    return str(out)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", choices=SERVERS, action="append")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--keep", type=Path, help="where to leave the runs and the profiles")
    given = parser.parse_args()
    missed = 0
    for name in given.server or SERVERS:
        if name == "vllm" and not real_servers.HAS_VLLM:
            print(f"{name}: {real_servers.VLLM_MISSING}")
            continue
        with tempfile.TemporaryDirectory(prefix="fit-real-") as folder:
            place = Path(folder) if given.keep is None else given.keep / name
            model = place / "model"
            model.mkdir(parents=True, exist_ok=True)
            with SERVERS[name](model) as url:
                run(url, ("--concurrency", 2), 5.0, place / "warm")
                loads = [run(url, ("--concurrency", n), given.seconds, place / f"{n}-users") for n in LOADS]
                loads.append(run(url, ("--rate", RATE), given.seconds, place / "rate"))
                held = run(url, ("--concurrency", HELD_OUT), given.seconds, place / f"{HELD_OUT}-users")
            print(f"\n== {name}")
            profile = place / "profile.json"
            bench(["fit", *loads, "--held-out", held, "--server", name, "--out", str(profile), "--quiet"])
            replayed = next(one for one in json.loads(profile.read_text())["replay"] if one["held_out"])
            for number in JUDGED:
                row = next(row for row in replayed["numbers"] if (row["number"], row["quantile"]) == (number, "p50"))
                within = abs(row["off"]) <= WITHIN
                missed += not within
                said = f"{number} p50 at {HELD_OUT} users {row['off']:+.1%}, {WITHIN:.0%} allowed"
                print(f"{name}: {said}{'' if within else ': MISSED'}")
    return min(1, missed)


if __name__ == "__main__":
    sys.exit(main())
