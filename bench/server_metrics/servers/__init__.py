"""The servers whose metrics have known roles. A new one is a file with a TABLE, and a line in SERVERS.

Names come from the servers' own documentation; tests check those of vLLM and llama.cpp against running servers. Other
samples of a page are still stored in server.jsonl.
"""

from __future__ import annotations

from bench.server_metrics.roles import ServerTable
from bench.server_metrics.servers import dynamo, llama_cpp, sglang, tensorrt_llm, tgi, triton, vllm

SERVERS: tuple[ServerTable, ...] = (
    vllm.TABLE,
    sglang.TABLE,
    llama_cpp.TABLE,
    tgi.TABLE,
    tensorrt_llm.TABLE,
    triton.TABLE,
    dynamo.TABLE,
)
"""If a page has the metrics of two (an engine behind Dynamo), each role is taken from the first that has it."""
