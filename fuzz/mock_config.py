"""The mock's configuration as a YAML file, and its values as flags: a configuration, or sentences."""

from __future__ import annotations

from fuzz import scratch
from fuzz.target import Target
from mockserver import config
from mockserver.errors import UsageError
from mockserver.faults import parse_demand
from mockserver.faults.rules import parse_rule


def read(data: bytes) -> None:
    """One input: the file. Its lines are also read as rules and demands of faults."""
    path = scratch.file("mock.yaml", data)
    try:
        config.load(path, {})
    except UsageError as e:
        assert e.problems
        assert all(isinstance(problem, str) and problem for problem in e.problems)
    for line in data.decode(errors="replace").split("\n")[:8]:
        for parse in (parse_demand, parse_rule):
            try:
                parse(line)
            except ValueError as e:
                assert str(e)


WORDS = (
    b"ttft: 50ms\n",
    b"tpot: lognormal:mean=20ms,cv=0.2\n",
    b"engine: batching\n",
    b"fault: [stall:share=10%]\n",
    b"preset: a\n",
    b"output_tokens: uniform:1..9\n",
    b"step_cost: base=5ms\n",
    b"seed: 3\n",
    b"model: a,b\n",
    b"reset:after=3",
    b"slow:times=2",
    b"share=5%",
    b"every=3",
    b"from=1s,to=2s",
    b"skip=2",
    b"stall:after=2,for=1s;500",
    b"profile: x.json\n",
    b"cors: ['*']\n",
    b"workers: 2\n",
)
TARGET = Target(read, form="yaml", words=WORDS)
