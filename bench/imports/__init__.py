"""Results of other load testers, imported as run directories: the command import. docs/comparison.md

foreign     the common form of all their files, and the files as documents
run         a run directory from it, marked as imported
vllm, ...   one file for each tool

A new tool is one file with a TOOL and one line in TOOLS.
"""

from __future__ import annotations

from bench.imports import aiperf, genai_bench, guidellm, sglang, vllm
from bench.imports.foreign import Tool

TOOLS: dict[str, Tool] = {
    "vllm": vllm.TOOL,
    "sglang": sglang.TOOL,
    "aiperf": aiperf.TOOL,
    "guidellm": guidellm.TOOL,
    "genai-bench": genai_bench.TOOL,
}
"""The tools whose results can be read."""
