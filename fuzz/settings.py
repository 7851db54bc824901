"""Settings of a run as flags give them: a configuration, or sentences. An input has a line for each: `rate=10`."""

from __future__ import annotations

from bench.config import RunConfig, resolve
from bench.config.settings import Settings
from bench.errors import UsageError
from fuzz.target import Target

_REPEATED = {name for name, field in Settings.model_fields.items() if field.default == ()}


def read(data: bytes) -> None:
    """One input."""
    given: dict[str, object] = {"url": "http://127.0.0.1:1"}
    for line in data.decode(errors="replace").split("\n")[:20]:
        name, equals, value = line.partition("=")
        if name in _REPEATED:
            before = given.get(name)
            given[name] = [*before, value] if isinstance(before, list) else [value]
        elif equals:
            given[name] = value
        elif name:
            given[name] = True
    try:
        config = resolve(given)
    except UsageError as e:
        assert e.problems
        assert all(isinstance(problem, str) and problem for problem in e.problems)
        return
    RunConfig.stored(config.public())


VALUES = (
    "10",
    "5%",
    "1e6",
    "lognormal:mean=100,sd=20",
    "normal:mean=5,sd=1",
    "uniform:1..9",
    "1..5:10s",
    "5,10,20:60s",
    "1m",
    "ttft:p90<1s",
    "error_rate<1%",
    "10%:2s",
    "auto",
    "off",
    "X-A: b",
    "sampled",
    "shared:64",
    "groups:4,64",
    "a=b",
    "0",
    "-1",
    "inf",
    "chat",
)
WORDS = (*(f"\n{name}=".encode() for name in Settings.model_fields), *(value.encode() for value in VALUES))
TARGET = Target(read, words=WORDS)
