"""The load testers that scripts/compare-tools runs: one file each, one line below.

A tool says how it is installed, which command puts a load on a server, and where it wrote its numbers. Settings are those
that its own pages recommend for a measurement: without an interactive display, everything else as it comes.
"""

from __future__ import annotations

from compared import aiperf, guidellm, trueload, vllm_rust
from compared.tool import Load, Place, Printed, Tool

__all__ = ["TOOLS", "Load", "Place", "Printed", "Tool"]

TOOLS: dict[str, Tool] = {
    "trueload": trueload.TOOL,
    "vllm_rust": vllm_rust.TOOL,
    "aiperf": aiperf.TOOL,
    "guidellm": guidellm.TOOL,
}
"""Every tool, by the name that --tools takes."""
