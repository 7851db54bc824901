"""Locust with the usual script (locust_script/): TTFT, TPOT and E2EL as events, one process.

Locust rounds its percentiles: to 1 ms under 100 ms, 10 ms under 1 s, 100 ms under 10 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compared.tool import Load, Place, Printed, Tool, closed_only, make_environment, read_json

VERSION = "2.47.0"
_SCRIPT = Path(__file__).parent / "locust_script" / "locustfile.py"


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    return [
        "env", f"COMPARED_BODIES={place.bodies}", f"COMPARED_TOKENS={place.run / 'tokens.json'}",
        place.tool / "bin" / "locust", "--locustfile", _SCRIPT, "--headless", "--host", url, "--users", str(load.streams),
        "--spawn-rate", str(load.streams), "--only-summary",
    ]  # fmt: skip


def _read(run: Path) -> Printed:
    """Read its last tables: it writes its statistics files once a second, so they lack the last replies."""
    summary, _, percentiles = (run / "log").read_text().partition("Response time percentiles")
    averages = {row["Name"]: row["Avg"] for row in _rows(summary)}
    quantiles = {row["Name"]: row for row in _rows(percentiles)}
    numbers = {
        f"{name.lower()}_ms": {
            "mean": float(averages[name]),
            "p50": float(quantiles[name]["50%"]),
            "p99": float(quantiles[name]["99%"]),
        }
        for name in ("TTFT", "E2EL", "TPOT")
    }
    tokens = read_json(run / "tokens.json")
    return Printed(tokens["requests"], tokens["output"], numbers)


def _rows(table: str) -> Iterator[dict[str, str]]:
    """The rows of our events, by column."""
    columns: list[str] = []
    for line in table.splitlines():
        cells = line.replace("# ", "#").replace("|", " ").split()
        if cells[:1] == ["Type"]:
            columns = cells
        elif cells[:1] == ["METRIC"]:
            yield dict(zip(columns, cells, strict=False))


TOOL = Tool(
    title="Locust",
    version=VERSION,
    compat="sglang",  # The script's definitions: first text, end of the response, (E2EL - TTFT) / (n - 1).
    install=lambda folder: make_environment(folder, f"locust=={VERSION}"),
    command=_command,
    read=_read,
    cannot=closed_only,
    note="with a script of ours; it prints no ITL, and rounds",
)
