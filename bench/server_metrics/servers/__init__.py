"""The servers whose metrics have known roles. A new one is a file with a TABLE, and a line in SERVERS.

Names: the servers' own documentation; those of vLLM and llama.cpp are checked against running servers by tests. What a page
has beside them is kept in server.jsonl all the same.
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
"""Where a page has the metrics of two (an engine behind Dynamo), each role is of the first that has it."""
