"""Results of scripts/compare-tools as Markdown tables: medians over the runs of a tool under a load."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from compared import TOOLS
from compared.loads import LOADS

METRICS = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "itl_ms": "ITL", "e2el_ms": "E2EL"}
NOTHING = "–"


def show(found: dict[str, Any]) -> int:
    """Print the tables; 1 if a run failed. A load that a tool cannot send is not a failure."""
    turns = max((run.get("turn", 0) for run in found["runs"]), default=0) + 1
    print(f"{found['date']}, {found['machine']}" + (f", medians of {turns} runs" if turns > 1 else ""))
    for load in dict.fromkeys(run["load"] for run in found["runs"]):
        _show_load(load, [run for run in found["runs"] if run["load"] == load])
    if sizes := found.get("installed_mb"):
        print("\nInstalled\n\n| tool | MB | here |\n|---|---|---|")
        for name, size in sizes.items():
            print(f"| {TOOLS[name].title} {TOOLS[name].version} | {size:.0f} | {TOOLS[name].note or 'as it comes'} |")
    return int(any("problem" in run for run in found["runs"]))


def _show_load(load: str, runs: list[dict[str, Any]]) -> None:
    groups = [[run for run in runs if run["tool"] == tool] for tool in dict.fromkeys(run["tool"] for run in runs)]
    good = [of for of in ([run for run in group if "printed" in run] for group in groups) if of]
    print(f"\n{LOADS[load].title}, {LOADS[load].requests} requests: error in ms, each by its own definition\n")
    print("| tool | true TTFT p50 / p99 | TTFT p50 / p99 | TPOT | ITL | E2EL |\n|---|---|---|---|---|---|")
    for group in groups:
        print(_error_row(group))
    print(f"\n{LOADS[load].title}: cost of the whole command\n")
    print(
        "| tool | CPU us a token | peak memory MiB | start s | end s | beside the load s |\n|---|---|---|---|---|---|"
    )
    for group in good:
        print(_cost_row(group))
    if LOADS[load].rate is not None and good:
        print("\n| tool | arrived per s | dispersion | variation of gaps | distance of gaps |\n|---|---|---|---|---|")
        for group in good:
            cells = [_median(run.get(key) for run in group) for key in
                     ("arrived_rps", "dispersion", "gaps_cv", "gaps_distance")]  # fmt: skip
            print(f"| {_name(group)} | {' | '.join(_plain(cell, 2) for cell in cells)} |")
    print(f"\n{LOADS[load].title}: means where a tool's definition is another than ours\n")
    print("| tool | number | printed | ledger, its definition | ledger, ours |\n|---|---|---|---|---|")
    for group in good:
        print("".join(_definition_rows(group)), end="")


def _name(runs: list[dict[str, Any]]) -> str:
    said = dict.fromkeys(run["says"] for run in runs if run.get("says"))
    return ", ".join([f"{TOOLS[runs[0]['tool']].title} {runs[0].get('version', '')}".strip(), *said])


def _median(values: Iterable[float | None]) -> float | None:
    """The median over the runs; None if any lacks the number: the others alone would be a selection."""
    all_of_them = list(values)
    found = [value for value in all_of_them if value is not None]
    return statistics.median(found) if found and len(found) == len(all_of_them) else None


def _signed(error_ms: float | None) -> str:
    if error_ms is None:
        return NOTHING
    decimals = 3 if abs(error_ms) < 1 else 1 if abs(error_ms) < 100 else 0
    return f"{error_ms:+.{decimals}f}"


def _plain(number: float | None, decimals: int) -> str:
    return NOTHING if number is None else f"{number:.{decimals}f}"


def _error_row(group: list[dict[str, Any]]) -> str:
    for key in ("cannot", "problem"):  # One failure of several is reported: otherwise the rest would look complete.
        if why := next((run[key] for run in group if key in run), None):
            return f"| {_name(group)} | {why} | | | | |"
    cells = [" / ".join(_plain(_median(run["true"]["ttft_ms"][stat] for run in group), 1) for stat in ("p50", "p99"))]
    for key in METRICS:
        errors = [_median(_error(run, key, stat) for run in group) for stat in ("p50", "p99")]
        cells.append(" / ".join(map(_signed, errors)))
    return f"| {_name(group)} | {' | '.join(cells)} |"


def _error(run: dict[str, Any], key: str, stat: str) -> float | None:
    printed, true = (run[side].get(key, {}).get(stat) for side in ("printed", "true"))
    return None if printed is None or true is None else printed - true


def _cost_row(group: list[dict[str, Any]]) -> str:
    cells = [
        _plain(_median(run["cpu_s"] / run["true_tokens"] * 1e6 for run in group), 0),
        _plain(_median(run.get("peak_mib") for run in group), 0),
        _plain(_median(run.get("start_s") for run in group), 2),
        _plain(_median(run.get("end_s") for run in group), 2),
        _plain(_median(run["wall_s"] - run["load_s"] for run in group), 1),
    ]
    return f"| {_name(group)} | {' | '.join(cells)} |"


def _definition_rows(group: list[dict[str, Any]]) -> Iterator[str]:
    for key, title in METRICS.items():
        sides = ("printed", "true", "true_ours")
        means = [_median(run[side].get(key, {}).get("mean") for run in group) for side in sides]
        printed, own, ours = means
        if printed is not None and own is not None and ours is not None and abs(own - ours) > 0.001 * ours:
            yield f"| {_name(group)} | {title} | {printed:.3f} | {own:.3f} | {ours:.3f} |\n"
    for name, printed_key, true_key in (
        ("requests", "succeeded", "true_requests"),
        ("output tokens", "output_tokens", "true_tokens"),
    ):
        for count, true in dict.fromkeys((run[printed_key], run[true_key]) for run in group):
            if count != true:
                yield f"| {_name(group)} | {name} | {count} | {true} | {true} |\n"
