"""The file of --mix: classes of traffic, or sentences."""

from __future__ import annotations

from bench.config import RunConfig, resolve
from bench.errors import UsageError
from fuzz import scratch
from fuzz.target import Target


def read(data: bytes) -> None:
    """One input."""
    path = scratch.file("mix.yaml", data)
    for load in ({"rate": "5"}, {"concurrency": "4"}, {}):
        try:
            config = resolve({"url": "http://h", "mix": str(path), **load})
        except UsageError as e:
            assert e.problems
            continue
        RunConfig.stored(config.public())


WORDS = (
    b"classes:\n",
    b"- name: a\n",
    b"  share: 50%\n",
    b"  rate: 2\n",
    b"  input_tokens: 20\n",
    b"  output_tokens: 5\n",
    b"  slo: ['ttft:p90<1s']\n",
    b"  endpoint: embeddings\n",
    b"  headers: {a: b}\n",
    b"  dataset: x.jsonl\n",
)
TARGET = Target(read, form="yaml", words=WORDS)
