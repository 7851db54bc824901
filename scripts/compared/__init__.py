"""The load testers that scripts/compare-tools runs: one file each, one line below.

A tool defines how to install it, which command puts a load on a server, and where it writes its numbers. Settings are
those that its own documentation recommends for a measurement: without an interactive display, otherwise the defaults.
"""

from __future__ import annotations

from compared import (
    aiperf,
    evalscope,
    genai_bench,
    guidellm,
    locust,
    sglang,
    sglang_rust,
    trueload,
    vllm_python,
    vllm_rust,
)
from compared.tool import Load, Place, Printed, Tool

__all__ = ["TOOLS", "Load", "Place", "Printed", "Tool"]

TOOLS: dict[str, Tool] = {
    "trueload": trueload.TOOL,
    "vllm_rust": vllm_rust.TOOL,
    "vllm_python": vllm_python.TOOL,
    "sglang_rust": sglang_rust.TOOL,
    "sglang": sglang.TOOL,
    "aiperf": aiperf.TOOL,
    "guidellm": guidellm.TOOL,
    "genai_bench": genai_bench.TOOL,
    "evalscope": evalscope.TOOL,
    "locust": locust.TOOL,
}
"""Every tool, by its name in --tools."""
