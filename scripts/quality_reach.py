"""Prints the error rates of `quality`, in virtual time: false alarms, cross-talk found, wrong answers found."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.answers_reach import USERS, alarms, found_worse, mixed_up

QUIET = (
    (),
    ("wrong_answer:rate=0.01",),
    ("wrong_answer:rate=0.1",),
    ("batch_dependent:rate=0.3", "garble:rate=0.02"),
)
"""Faults that do not depend on load: each request draws anew, alone and under load."""


def main() -> None:
    each = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seeds = range(each)
    print(
        f"Nothing depends on load, 120 probes: how many of {each} series say that something changed, that answers are worse"
    )
    for faults in QUIET:
        any_alarm, worse = alarms(faults, "120", seeds)
        name = " ".join(faults) or "no fault"
        print(f"{name:<44}{any_alarm / each:>7.1%}{worse / each:>7.1%}", flush=True)
    few = range(max(1, each // 5))
    print(
        f"\nCross-talk, {USERS} users: in how many of {each} loads it is found, and answers that were mixed up per 1,000"
    )
    for rate, probes in ((0.01, "100"), (0.01, "500"), (0.001, "500"), (0.001, "5000")):
        found, planted = mixed_up(rate, probes, seeds)
        rows = f"1 in {round(1 / rate):<6}{probes:>6} probes"
        print(f"{rows}{found / each:>9.1%}{planted / each / int(probes) * 1_000:>9.2f}", flush=True)
    print(f"\nWrong answers that only the load causes: in how many of {len(few)} series answers are said to be worse")
    for under_load in (0.005, 0.01, 0.02, 0.05, 0.1):
        shares = [found_worse("wrong_answer", under_load, probes, few) / len(few) for probes in ("120", "480")]
        print(f"{under_load:>6.1%}" + "".join(f"{share:>9.1%}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
