"""Compatible columns: what other tools would have printed for the same run, so that old numbers can be reconciled.

tool.py       the parts of a tool's definitions; tools.py: the tools
marks.py      which chunk of a response is which mark
readings.py   folds records, in bounded memory
tool_numbers.py   the numbers of each tool, and a sentence for each whose definition differs from ours
"""

from __future__ import annotations

from bench.metrics.compat.readings import Readings
from bench.metrics.compat.tool import Tool
from bench.metrics.compat.tool_numbers import OurNumbers, ToolNumbers
from bench.metrics.compat.tools import TOOLS
from bench.metrics.histogram import LogHistogram
from bench.results.numbers import Metric, Printed, ToolColumn

__all__ = ["TOOLS", "OurNumbers", "Readings", "Tool", "numbers_of_inputs", "numbers_of_tools"]


def numbers_of_tools(
    readings: Readings,
    between_tokens: LogHistogram,
    duration_s: float | None,
    ours: OurNumbers,
    endpoint: str = "chat",
) -> dict[str, ToolColumn]:
    """`compat` of a summary. `between_tokens` contains the gaps between token chunks of the same requests, `ours` our
    own numbers."""
    tool_numbers = ToolNumbers(readings, between_tokens)
    numbers = {}
    for key, tool in TOOLS.items():
        there = tool.of_endpoint(endpoint)
        numbers[key] = _nothing(tool, endpoint) if there is None else tool_numbers.of(there, duration_s, ours)
    return numbers


def _nothing(tool: Tool, endpoint: str) -> ToolColumn:
    """The row of a tool that, as far as is known, cannot send such requests."""
    names = ("ttft_ms", "e2el_ms", "tpot_ms", "itl_ms")
    return ToolColumn(
        title=tool.title,
        version=tool.version,
        **dict.fromkeys(names),
        output_tokens=0,
        requests_per_s=None,
        output_tokens_per_s=None,
        missing=dict.fromkeys(names, f"it has no known definition for the endpoint {endpoint}"),
        differences=[],
    )


def numbers_of_inputs(inputs_are: str, requests_per_s: float | None, e2el_ms: Metric) -> dict[str, ToolColumn]:
    """`compat` of a summary whose replies are not generated text: E2EL only, for tools that can send such requests."""
    return {key: _of_inputs(tool, inputs_are, requests_per_s, e2el_ms) for key, tool in TOOLS.items()}


def _of_inputs(tool: Tool, inputs_are: str, requests_per_s: float | None, e2el_ms: Metric) -> ToolColumn:
    sends = inputs_are in tool.inputs
    missing = {} if sends else {"e2el_ms": f"it sends no requests of {inputs_are}"}
    if sends and not e2el_ms.n:
        missing = {"e2el_ms": "no request gave a value"}
    return ToolColumn(
        title=tool.title,
        version=tool.version,
        ttft_ms=None,
        e2el_ms=None if missing else Printed(n=e2el_ms.n, mean=e2el_ms.mean, p50=e2el_ms.p50, p99=e2el_ms.p99),
        tpot_ms=None,
        itl_ms=None,
        output_tokens=0,
        requests_per_s=requests_per_s if sends else None,
        output_tokens_per_s=None,
        missing=missing,
        differences=[],
    )
