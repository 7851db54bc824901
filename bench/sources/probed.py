"""Probes among the requests of a source: some numbers are probes, and replace the source's own items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.sources.changed import Changed, Item
from bench.sources.in_order import SamplesInOrder
from bench.sources.interface import Source
from promptset.probes import Probe
from promptset.samples import Sample
from promptset.sessions import Session, Turn


def probe_sample(probe: Probe, endpoint: str, *, takes_messages: bool) -> Sample:
    """The request of a probe: at temperature 0, with its schema in the endpoint's format, if it has one."""
    settings: dict[str, object] = {"temperature": 0}
    if probe.schema is not None:
        named = {"name": "answer", "schema": probe.schema, "strict": True}
        if endpoint == "chat":
            settings["response_format"] = {"type": "json_schema", "json_schema": named}
        elif endpoint == "responses":
            settings["text"] = {"format": {"type": "json_schema", **named}}
    prompt = None if takes_messages else "\n\n".join(str(message["content"]) for message in probe.messages)
    return Sample(
        prompt=prompt,
        messages=probe.messages if takes_messages else None,
        tools=probe.tools,
        output_tokens=probe.max_tokens,
        settings=settings,
    )


def _alone(sample: Sample, probe: int) -> Session:
    """A session of one turn that asks a probe, given its number in the run."""
    *before, last = sample.messages or ()
    turn = Turn(content=str(last["content"]), opening=tuple(before), output_tokens=sample.output_tokens)
    return Session(id=f"probe-{probe}", turns=(turn,), tools=sample.tools, settings=sample.settings, probe=probe)


class Probed(Changed):
    """A source in which probes are asked, in order and repeatedly. `probe_of` decides which numbers are probes. In mode
    sessions, a probe is a session of one turn."""

    def __init__(
        self,
        source: Source[Item],
        samples: Sequence[Sample],
        probe_of: Callable[[int], int | None],
        *,
        first: int,
        step: int,
        of_sessions: bool = False,
    ) -> None:
        super().__init__(source, (), first=first, step=step)
        self._of_sessions = of_sessions
        self._samples = samples
        self._probe_of = probe_of

    def at(self, number: int) -> Item:
        probe = self._probe_of(number)
        if probe is None:
            return super().at(number)
        sample = self._samples[probe % len(self._samples)]
        return _alone(sample, probe) if self._of_sessions else sample


class ProbesAlone(SamplesInOrder):
    """Only probes."""

    size = None
    in_memory = True
    at_once = 1
    own_body = None
    ways: tuple[Sample, ...] = ()
    names_models = False
    tokenizer = None
    notes: tuple[str, ...] = ()

    def __init__(self, samples: Sequence[Sample], *, first: int, step: int) -> None:
        super().__init__(first, step)
        self._samples = samples

    def at(self, number: int) -> Sample:
        return self._samples[number % len(self._samples)]

    def planned_sharing(self, requests: int) -> None:
        """Returns None: sharing between probes is not planned."""

    def untimed(self) -> str:
        """Why the times of requests are unknown."""
        return "probes have none"

    def times_s(self) -> Iterator[float]:
        return iter(())
