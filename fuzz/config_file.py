"""The file of --config: a configuration, which can be stored and read again, or sentences."""

from __future__ import annotations

from bench.config import RunConfig, resolve
from bench.config.resolution import read_yaml
from bench.errors import UsageError
from fuzz import scratch
from fuzz.target import Target


def read(data: bytes) -> None:
    """One input."""
    path = scratch.file("config.yaml", data)
    try:
        config = resolve({}, read_yaml(path), str(path))
    except UsageError as e:
        assert e.problems
        assert all(isinstance(problem, str) and problem for problem in e.problems)
        return
    RunConfig.stored(config.public())


WORDS = (
    b"url: http://h\n",
    b"rate: 10\n",
    b"concurrency: 4\n",
    b"mode: sessions\n",
    b"steps: 5,10,20:60s\n",
    b"slo: ['ttft:p90<1s']\n",
    b"output_tokens: normal:mean=5,sd=2\n",
    b"mix:\n",
    b"extra_body: {a: 1}\n",
    b"headers: ['a: b']\n",
    b"cancel: 10%:1s\n",
    b"&a [*a]\n",
    b"!!python/object:os.system\n",
    b"!!binary aGk=\n",
    b"2026-01-01\n",
    b".nan\n",
    b"? [a]\n: b\n",
)
TARGET = Target(read, form="yaml", words=WORDS)
