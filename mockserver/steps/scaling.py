"""A server that scales (`--scale`): from zero at the first request, and further if more arrive than its replicas
handle.

- Replica 1 is up `start` after the first request. Until then every request gets a 503 with Retry-After.
- A further replica is requested if a request arrives and more than `above` are in flight per replica. It is up `delay`
  later, and only then can the next be requested. There are at most `replicas`.
- With `--engine batching` the engine runs `max_num_seqs` requests per replica at once.

All times are those of the model: a replica is up at its time, however late it is checked.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from mockserver.faults.options import instant_ns

FORM = "start=3s,replicas=2,above=8,delay=5s"
_OF_MORE = {"above", "delay"}


@dataclass(frozen=True, slots=True)
class ScaleSpec:
    """A parsed `--scale` spec, and its text."""

    start_ns: int
    replicas: int
    above: int
    delay_ns: int
    text: str

    def __str__(self) -> str:
        return self.text


def parse_scale(text: str) -> ScaleSpec:
    """Parse a spec such as FORM. Raises ValueError."""
    values: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name not in ("start", "replicas", *_OF_MORE) or name in values:
            raise ValueError(f"{part.strip()!r}: write start=TIME,replicas=N,above=N,delay=TIME, for example {FORM}")
        values[name] = value
    counts = {name: values.get(name, "1") for name in ("replicas", "above")}
    for name, value in counts.items():
        if not value.isdecimal() or not 1 <= int(value) <= 1000:
            raise ValueError(f"{name}={value}: give a whole number from 1 to 1000")
    if int(counts["replicas"]) > 1 and not values.keys() >= _OF_MORE:
        raise ValueError("replicas needs above and delay: when another replica is asked for, and how long it takes")
    start_ns, delay_ns = (instant_ns(values.get(name, "0s")) for name in ("start", "delay"))
    return ScaleSpec(start_ns, int(counts["replicas"]), int(counts["above"]), delay_ns, text)


class Scaling:
    """The replicas of one mock over time."""

    def __init__(self, spec: ScaleSpec) -> None:
        self._spec = spec
        self.came_ns: list[int] = []
        """When each replica started or will start, ascending."""

    def arrive(self, at_ns: int, in_flight: int) -> None:
        """Record the arrival of a request, with this many others in flight."""
        spec, came_ns = self._spec, self.came_ns
        if not came_ns:
            came_ns.append(at_ns + spec.start_ns)
        elif came_ns[-1] <= at_ns and len(came_ns) < spec.replicas and in_flight > spec.above * len(came_ns):
            came_ns.append(at_ns + spec.delay_ns)

    def replicas(self, at_ns: int) -> int:
        """The number of replicas at this time."""
        return bisect_right(self.came_ns, at_ns)
