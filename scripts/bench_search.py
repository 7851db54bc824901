"""Searches over sockets for the number of users that a mock holds, which is known in closed form; and what a posterior
costs.

Each seed draws the step costs of a batching mock, the lengths and the number of users to find. Needs three quiet
minutes per seed. `--write` puts the rows into docs/dev/simulations.md.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.statistics.capacity import Share, grid, of_shares
from mockserver.engine.closed_form import ClosedForm
from mockserver.step_cost import StepCost
from tests.support.mock_process import mock_process

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "dev" / "simulations.md"
BEGIN, END = "| step costs, lengths |", "\nThe posterior"
WIDEST = 0.2
POSTERIOR_MS = 50.0


@dataclass(frozen=True)
class Sought:
    """A mock and the search target: the number of users up to which E2EL stays under a limit.

    Not TPOT: requests of one length partly synchronise, which changes TPOT but not E2EL.
    """

    cost: StepCost
    input_tokens: int
    output_tokens: int
    users: float
    """The number of users at which the closed form reaches the limit."""
    limit_ms: float


def drawn(seed: int) -> Sought:
    """Random costs that no test uses."""
    rng = np.random.default_rng(seed)
    b0, b1, b2 = int(rng.integers(2_000, 5_000)), int(rng.integers(6, 18)), int(rng.integers(30, 90))
    cost = StepCost(b0=b0, b1=b1, b2=b2, a0=1_000, max_num_seqs=256, max_num_batched_tokens=8_192)
    lengths = int(rng.integers(256, 512)), int(rng.integers(24, 48))
    users = int(rng.integers(12, 32)) + 0.5
    form = ClosedForm(cost, *lengths)
    # S steps, the way to the queue, and half a step until the running step ends. Linear in the users.
    limit_us = sum((form.steps + 0.5) * form.step_us(int(users) + more) + cost.a0 for more in (0, 1)) / 2
    return Sought(cost, *lengths, users, limit_us / 1e3)


def search(sought: Sought, budget: str) -> dict[str, object]:
    """Run one search. Returns the content of search.json."""
    cost = sought.cost
    flags = ("--engine", "batching", "--step-cost", f"b0={cost.b0},b1={cost.b1},b2={cost.b2},a0={cost.a0}",
             "--max-num-seqs", str(cost.max_num_seqs))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, mock_process(*flags) as mock:
        command = [
            sys.executable, "-m", "bench", "search", "--url", mock.url, "--load", "concurrency",
            "--slo", f"e2el:p50<{sought.limit_ms:.3f}ms", "--input-tokens", str(sought.input_tokens),
            "--output-tokens", str(sought.output_tokens), "--ignore-eos", "--budget", budget, "--out", f"{folder}/search",
        ]  # fmt: skip
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        print(ran.stdout, flush=True)
        found: dict[str, object] = json.loads((Path(folder) / "search" / "search.json").read_bytes())
    return found


def row(sought: Sought, found: dict[str, object]) -> tuple[str, bool]:
    """A search's row, and whether it met its targets."""
    capacity, visits = found["capacity"], found["visits"]
    if not isinstance(capacity, dict):
        return f"| {sought.limit_ms:.0f} ms | {sought.users:g} | no interval: {found['conclusion']} |", False
    assert isinstance(visits, list)
    width = capacity["high"] / capacity["low"] - 1
    holds = capacity["low"] <= sought.users <= capacity["high"]
    cost = sought.cost
    cells = [
        f"b0={cost.b0}, b1={cost.b1}, b2={cost.b2}; {sought.input_tokens}/{sought.output_tokens} tokens",
        f"{sought.limit_ms:.0f} ms", f"{sought.users:g}", f"{capacity['estimate']:.1f}",
        f"{capacity['low']:.1f} to {capacity['high']:.1f}", "yes" if holds else "no", f"{width:.0%}",
        f"{len(visits)}", f"{sum(visit['verdict'] == 'INVALID' for visit in visits)}",
        f"{float(str(found['seconds'])) / 60:.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |", holds and width <= WIDEST


def write(lines: list[str], cost_ms: float) -> None:
    """Replace the rows of the same mocks, or add them below the others."""
    text = PAGE.read_text(encoding="utf-8")
    begin = text.index(BEGIN)
    end = text.index(END, begin)
    rows = {line.split("|")[1]: line for line in text[begin:end].splitlines()[2:] if line}
    rows |= {line.split("|")[1]: line for line in lines[2:]}
    table = "\n".join([*lines[:2], *rows.values()])
    rest = re.sub(r"costs [\d.]+ ms", f"costs {cost_ms:.1f} ms", text[end:], count=1)
    PAGE.write_text(f"{text[:begin]}{table}\n{rest}", encoding="utf-8")


def posterior_ms() -> float:
    """The cost of a posterior of 60 visits: the best of five."""
    rng = np.random.default_rng(0)
    pairs = zip(rng.uniform(30, 50, 60), rng.integers(0, 400, 60), strict=True)
    visits = [Share(float(load), 2_400, int(k)) for load, k in pairs]
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        of_shares(visits, 0.01, 75, grid(20, 80))
        best = min(best, time.perf_counter() - began)
    return best * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="what to draw; may be repeated (default: 1)")
    parser.add_argument("--budget", default="3m", help="of each search (default: 3m)")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/dev/simulations.md")
    given = parser.parse_args()
    lines = [
        f"{BEGIN} E2EL p50 under | closed form | found | interval | holds it | width | visits | INVALID | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    reached = True
    for seed in given.seed or [1]:
        sought = drawn(seed)
        line, good = row(sought, search(sought, given.budget))
        lines.append(line)
        reached &= good
    cost_ms = posterior_ms()
    reached &= cost_ms <= POSTERIOR_MS
    print("\n".join(lines))
    print(f"posterior of 60 visits x 200 x 10: {cost_ms:.1f} ms (at most {POSTERIOR_MS:g})")
    if given.write:
        write(lines, cost_ms)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
