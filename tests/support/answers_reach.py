"""The error rates of `quality` in virtual time: the answers of the mock with its faults, compared by bench.

`VirtualServer` has the mock's own answers, fault rules and random draws; only its tokens, connections and clock are
missing. Its users form a closed loop: when a request ends, the next one begins. `scripts/quality-reach` runs long
simulations and prints their results; a test runs short ones, with the same seeds.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.answers.compared import ThreePhases, compare
from bench.answers.cross_talk import cross_talk
from bench.answers.probe_set import KeptAnswer, KeptAnswers
from bench.results.quality import QualityMeasure
from bench.statistics.paired_shares import Decision
from mockserver import rng
from mockserver.answers import Answers
from mockserver.faults import ArrivalFacts, Rule, parse_rule
from mockserver.plans.plan import draw_faults
from promptset.answers import Answer, ToolCall
from promptset.probes import Probe, Solution, codes, make_probes, parse_probes, solve

USERS = 16
ALONE_TIMES = 2
"""The default number of times that `quality` asks each probe before the load."""
_LONG, _SHORT = 10.0, 1.0
"""Mean service times of other requests and of probes."""


@functools.cache
def probe_set(spec: str) -> tuple[list[Probe], list[Solution]]:
    """The probes and their correct answers."""
    probes = make_probes(parse_probes(spec), seed=31)
    solutions = [solve(probe.messages, probe.tools) for probe in probes]
    return probes, [solution for solution in solutions if solution is not None]


def _words(count: int, chance: rng.Random) -> list[str]:
    known = codes.words()
    return [f" {known[int(chance.random() * len(known))]}" for _ in range(count)]


@dataclass(slots=True)
class VirtualServer:
    """The answers of a mock with these faults."""

    faults: Sequence[str]
    seed: int
    planted: int = 0
    """Answers to probes that a fault has changed."""
    _rules: tuple[Rule, ...] = field(init=False)
    _answers: Answers = field(init=False)
    _runs: int = 0

    def __post_init__(self) -> None:
        self._rules = tuple(parse_rule(spec) for spec in self.faults)
        self._answers = Answers(_words)

    def serve(self, requests: Iterable[int | None], solutions: Sequence[Solution], users: int) -> KeptAnswers:
        """The answers to the requests of a run in this order. A request is the index of a probe, or None for a
        different request. Like `bench`'s runs, each run starts at the same indexes and has its own ids."""
        kept: list[KeptAnswer] = []
        ends: list[tuple[float, int]] = []
        now = 0.0
        self._runs += 1
        chance = rng.stream(self.seed, "service", self._runs)
        for index, place in enumerate(requests):
            request_id = f"run{self._runs}-{index}"
            if len(ends) == users:
                now, ended = heapq.heappop(ends)
                self._answers.end(ended)
            if place is None:
                self._answers.begin_other(index, _words(3, chance))
            else:
                facts = ArrivalFacts(index, in_flight=len(ends))
                faults = draw_faults(self._rules, self.seed, index, 1, facts, request_id)
                answer = self._answers.answer(solutions[place], faults, self.seed, request_id)
                self._answers.begin(index, solutions[place])
                self.planted += bool(answer.altered)
                kept.append(KeptAnswer(request_id, place, _sent(answer.text, solutions[place].tool)))
            mean = _LONG if place is None else _SHORT
            heapq.heappush(ends, (now + mean * (0.5 + chance.random()), index))
        for _, left in ends:
            self._answers.end(left)
        return KeptAnswers(kept)


def _sent(text: str, tool: str | None) -> Answer:
    return Answer(content=text) if tool is None else Answer(tool_calls=(ToolCall("", tool, text),))


@dataclass(frozen=True, slots=True)
class Found:
    """The findings of `quality` for one series of runs."""

    worse: frozenset[str]
    """Fault measures that get worse under load."""
    changed: frozenset[str]
    """All measures that change under load."""
    mixed_up: bool
    """An answer contains another probe's code word."""
    planted: int
    """Answers to probes under load that a fault has changed."""

    @property
    def alarm(self) -> bool:
        """Whether there is any finding against the server."""
        return self.mixed_up or bool(self.changed)


def tried(faults: Sequence[str], spec: str, seed: int, *, share: float = 0.5, users: int = USERS) -> Found:
    """Each probe without load, then among other requests, then without load again."""
    probes, solutions = probe_set(spec)
    server = VirtualServer(faults, seed)
    places = range(len(probes))
    alone = server.serve([place for _ in range(ALONE_TIMES) for place in places], solutions, 1)
    server.planted = 0
    loaded = server.serve(_among_others(places, share, seed), solutions, users)
    planted = server.planted
    back = server.serve(places, solutions, 1)
    measures = compare(ThreePhases(probes, alone, loaded, back)).measures
    talk = cross_talk(probes, {"alone": alone, "loaded": loaded, "back": back})
    changed = [measure for measure in measures if measure.decision == Decision.CHANGED]
    return Found(
        frozenset(measure.name for measure in changed if _is_worse(measure)),
        frozenset(measure.name for measure in changed),
        talk is not None and bool(talk.found or talk.found_alone),
        planted,
    )


def _is_worse(measure: QualityMeasure) -> bool:
    return measure.is_fault and measure.fall > 0


def _among_others(places: Iterable[int], share: float, seed: int) -> list[int | None]:
    """The probes in order, each with other requests before it."""
    chance = rng.stream(seed, "others", 0)
    requests: list[int | None] = []
    for place in places:
        while chance.random() >= share:
            requests.append(None)
        requests.append(place)
    return requests


def alarms(faults: Sequence[str], spec: str, seeds: Iterable[int]) -> tuple[int, int]:
    """For series with faults that do not depend on load: how many raise an alarm, and how many report worse answers."""
    results = [tried(faults, spec, seed) for seed in seeds]
    return sum(found.alarm for found in results), sum(bool(found.worse) or found.mixed_up for found in results)


def mixed_up(rate: float, spec: str, seeds: Iterable[int], *, share: float = 0.5) -> tuple[int, int]:
    """How many loads with cross-talk at this rate have an answer with another probe's code word, and how many answers
    of all loads were mixed up."""
    probes, solutions = probe_set(spec)
    found = planted = 0
    for seed in seeds:
        server = VirtualServer([f"cross_talk:rate={rate}"], seed)
        loaded = server.serve(_among_others(range(len(probes)), share, seed), solutions, USERS)
        talk = cross_talk(probes, {"loaded": loaded})
        found += talk is not None and talk.found > 0
        planted += server.planted
    return found, planted


def found_worse(fault: str, under_load: float, spec: str, seeds: Iterable[int]) -> int:
    """How many series find a fault that hits this share of the answers under load, and no answers without load."""
    crowd = under_load / (USERS - 1)
    return sum(bool(tried([f"{fault}:crowd={crowd}"], spec, seed).worse) for seed in seeds)
