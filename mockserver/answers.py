"""The right answers to probes, and the faults that make answers wrong.

A request that asks a built-in probe of promptset gets the right answer. promptset derives it from the request text
alone, so the mock needs no answer in advance. Faults of the group `answer` then change it:

- cross_talk, stale_prefix, wrong_answer and batch_dependent change the words of an answer before it is cut into tokens, so
  its length can change. In a reply that answers no probe, only cross_talk and batch_dependent change tokens, and never
  their number.
- cut_json drops the last tokens of JSON. garble changes tokens in place, as does garble_preempted, while they are sent.

A fault that changes nothing does not count as a hit. The draws depend on the seed and the full id of the request, so
two runs get different draws. cross_talk and stale_prefix take the words of another request; which request depends on
the other arrivals.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from mockserver import rng
from mockserver.dialect.params import RequestParams
from mockserver.documents.script import Scripted
from mockserver.faults import Fault
from mockserver.plans.plan import StreamKey
from mockserver.replies.content import Choice, garble
from promptset.probes import Solution, solve

_RUN = re.compile(r"[A-Za-z]+|\d+")
_LEAKED_TOKENS = 3
"""How many tokens leak from another reply that has no code word."""

Words = Callable[[int, rng.Random], list[str]]
"""Generates words of one token each."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a probe, right or not."""

    right: Solution
    text: str
    altered: frozenset[str] = frozenset()
    """The faults that changed the text."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A request whose words may leak into another reply."""

    solution: Solution | None
    words: str
    """The code word, or the first words of the reply."""


def solution_of(params: RequestParams, prompt: str | list[int] | None) -> Solution | None:
    """Returns the right answer if the request asks a probe in text."""
    if prompt is not None:
        return solution_of_prompt(prompt) if isinstance(prompt, str) else None
    tools = None if params.tool_choice.mode == "none" else params.tools
    return solve(params.messages or (), tools)


def solution_of_prompt(prompt: str) -> Solution | None:
    """Returns the right answer if the prompt asks a probe."""
    return solve([{"role": "user", "content": prompt}])


class Answers:
    """The answers of one process."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._in_flight: dict[int, _InFlight] = {}
        self._last: dict[str, Solution] = {}
        """The last probe of each kind that was answered."""
        self._last_codes: deque[str] = deque(maxlen=2)
        """The code words of the last two probes that were answered."""

    def begin(self, key: int, right: Solution) -> None:
        """Record the arrival of a request that asks a probe. `key` must be unique until `end` or `forget`."""
        self._in_flight[key] = _InFlight(right, right.code or right.text)

    def begin_other(self, key: int, texts: Sequence[str]) -> None:
        """The same for a request that asks no probe. `texts` are the tokens of its reply."""
        self._in_flight[key] = _InFlight(None, "".join(texts[:_LEAKED_TOKENS]))

    def forget(self, key: int) -> None:
        """Drop a request that gets no reply."""
        self._in_flight.pop(key, None)

    def end(self, key: int) -> None:
        """Record the end of a reply."""
        reply = self._in_flight.pop(key, None)
        if reply is not None and reply.solution is not None:
            self._last[reply.solution.kind] = reply.solution
            if (code := reply.solution.code) is not None and code not in self._last_codes:
                self._last_codes.append(code)

    def answer(self, right: Solution, faults: Sequence[Fault], seed: int, key: StreamKey) -> Answer:
        """The answer to a probe, with the faults that change its words."""
        text, altered = right.text, set[str]()
        for fault in faults:
            before, chance = text, rng.stream(seed, f"answer:{fault.name}", key)
            if fault.name == "cross_talk":
                text = self._mixed_up(text, right)
            elif fault.name == "stale_prefix" and right.kind in self._last:
                text = self._last[right.kind].text
            elif fault.name in ("wrong_answer", "batch_dependent"):
                text = self._changed_json(text, chance) if _is_json(right) else self._changed(text, chance)
            if text != before:
                altered.add(fault.name)
        return Answer(right, text, frozenset(altered))

    def disturb(self, choice: Choice, faults: Sequence[Fault], seed: int, key: StreamKey) -> Choice:
        """Apply the faults that change tokens to a choice. A choice that is not scripted answers no probe."""
        texts, altered = [*choice.texts], set(choice.altered)
        start = choice.plan.reasoning_tokens
        for fault in faults:
            before = [*texts]
            if start >= len(texts):
                break
            if fault.name == "garble":
                at = start + fault.strikes_at(len(texts) - start)
                garble(texts, at, fault.number("tokens"))
            elif choice.is_document:
                continue
            elif fault.name == "cross_talk" and (others := self._others_words(None)) is not None:
                texts[start] = f" {others}"
            elif fault.name == "batch_dependent":
                chance = rng.stream(seed, "answer:batch_dependent", key)
                at = start + int(chance.random() * (len(texts) - start))
                if texts[at]:
                    texts[at] = next((word for word in self._words(20, chance) if word != texts[at]), texts[at])
            if texts != before:
                altered.add(fault.name)
        return choice._replace(texts=texts, altered=frozenset(altered))

    def _others_words(self, code: str | None) -> str | None:
        """The code word of the latest other probe, in flight or answered, else the first words of the latest other
        request. Returns None if nothing else is in flight."""
        others = [*reversed(self._in_flight.values())]
        if not others:
            return None
        in_flight = [other.solution.code for other in others if other.solution is not None]
        codes = (other for other in (*in_flight, *reversed(self._last_codes)) if other not in (None, code))
        words = (stripped for other in others if (stripped := other.words.strip()))
        return next(codes, None) or next(words, None)

    def _mixed_up(self, text: str, right: Solution) -> str:
        words = self._others_words(right.code)
        if words is None:
            return text
        return words if right.code is None else text.replace(right.code, words)

    def _changed(self, text: str, chance: rng.Random) -> str:
        """Change one word or number of the text."""
        runs = [*_RUN.finditer(text)]
        if not runs:
            return text
        run = runs[int(chance.random() * len(runs))]
        return text[: run.start()] + self._other(run[0], chance) + text[run.end() :]

    def _other(self, run: str, chance: rng.Random) -> str:
        """Another number with the same number of digits, or another word."""
        if run.isdigit():
            at = int(chance.random() * len(run))
            digits = [digit for digit in "1234567890"[: 9 + (at > 0)] if digit != run[at]]
            return run[:at] + digits[int(chance.random() * len(digits))] + run[at + 1 :]
        words = (word.strip() for word in self._words(20, chance))
        other = next(word for word in words if word.isalpha() and word.lower() != run.lower())
        return other.upper() if run.isupper() else other

    def _changed_json(self, text: str, chance: rng.Random) -> str:
        """Change one value of a flat JSON object."""
        values: dict[str, Any] = orjson.loads(text)
        key = [*values][int(chance.random() * len(values))]
        value = values[key]
        if isinstance(value, bool):
            values[key] = not value
        elif isinstance(value, int):
            values[key] = value + 1 + int(chance.random() * 9)
        else:
            values[key] = self._changed(value, chance)
        return orjson.dumps(values).decode()


def _is_json(solution: Solution) -> bool:
    return solution.text.startswith("{")


def cut_json(scripted: Scripted, fault: Fault) -> Scripted:
    """Truncate JSON that claims to be complete. A single token is left as it is."""
    head = 1 if scripted.blocks[-1].kind == "tool" else 0
    block = scripted.blocks[-1]
    tokens = block.stop - block.start - head
    if tokens < 2:
        return scripted
    stop = block.start + head + max(1, fault.strikes_at(tokens))
    return replace(scripted, texts=scripted.texts[:stop], blocks=(*scripted.blocks[:-1], block._replace(stop=stop)))
