"""Continuous batching in virtual time, fast enough for thousands of runs: the server for tests of the statistics.

It computes what the mock's `batching` engine computes (a test compares the two) as long as no KV block is short,
nothing is cached, and b3 and b4 are 0. Between two steps every decode gains one token, so a step costs the same however
many requests run, and a request needs computing only when it is admitted and when it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mockserver.step_cost import STEP_COSTS, StepCost

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test: its step cost, and the lengths of its requests.

    `input_cv` and `output_cv` are the coefficients of variation of lognormal lengths; 0 fixes them.
    """

    cost: StepCost
    input_tokens: int = 1024
    output_tokens: int = 128
    input_cv: float = 0.0
    output_cv: float = 0.0

    def lengths(self, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
        """Input and output tokens of successive requests."""
        while True:
            inputs = _lengths(self.input_tokens, self.input_cv, rng)
            yield from zip(inputs, _lengths(self.output_tokens, self.output_cv, rng), strict=True)


def _lengths(mean: int, cv: float, rng: np.random.Generator, n: int = 4096) -> list[int]:
    if cv == 0:
        return [mean] * n
    spread = np.sqrt(np.log1p(cv**2))
    drawn = rng.lognormal(np.log(mean) - spread**2 / 2, spread, n)
    return [int(length) for length in np.clip(np.rint(drawn), 1, 16 * mean)]


S1 = Server(STEP_COSTS["qwen2.5-7b-h100"])
"""The 7B preset with fixed lengths."""
S2 = Server(STEP_COSTS["qwen2.5-7b-h100"], input_cv=1.0, output_cv=0.8)
"""The same with lognormal lengths."""
S3 = Server(
    StepCost(b0=12_000, b1=55, b2=140, a0=2_000, max_num_seqs=48, max_num_batched_tokens=2048), 600, 80, 0.5, 0.5
)
"""A slower server limited by its number of sequences: beyond it requests queue, and step times stay the same."""


@dataclass(frozen=True, slots=True)
class Served:
    """The outcome of a load's requests, in the order of sending. Times in seconds."""

    sent_s: Array
    first_s: Array
    last_s: Array
    output_tokens: Array
    first_step: npt.NDArray[np.int64]
    """The step, counted from 1, that produced the first token; each later step produced one more."""
    step_ends_s: Array

    @property
    def ttft_ms(self) -> Array:
        return (self.first_s - self.sent_s) * 1e3

    @property
    def e2el_ms(self) -> Array:
        return (self.last_s - self.sent_s) * 1e3

    @property
    def tpot_ms(self) -> Array:
        return (self.last_s - self.first_s) / np.maximum(self.output_tokens - 1, 1) * 1e3

    def between(self, start_s: float, end_s: float) -> Served:
        """The requests sent from start to end."""
        chosen = (self.sent_s >= start_s) & (self.sent_s < end_s)
        sent_s, first_s, last_s = self.sent_s[chosen], self.first_s[chosen], self.last_s[chosen]
        return Served(sent_s, first_s, last_s, self.output_tokens[chosen], self.first_step[chosen], self.step_ends_s)

    def mean_in_flight(self, start_s: float, end_s: float) -> float:
        """The mean number of requests in flight from start to end."""
        overlap = np.minimum(self.last_s, end_s) - np.maximum(self.sent_s, start_s)
        return float(np.maximum(overlap, 0).sum() / (end_s - start_s))

    def tokens_per_s(self, start_s: float, end_s: float, step_s: float = 1.0) -> Array:
        """Output tokens in each second from start to end."""
        edges = np.arange(start_s, end_s + step_s / 2, step_s)
        steps = np.bincount(self.first_step, minlength=len(self.step_ends_s) + 2)
        ends = self.first_step + self.output_tokens.astype(int)
        running = np.cumsum(steps - np.bincount(ends, minlength=len(steps))[: len(steps)])
        counts, _ = np.histogram(self.step_ends_s, bins=edges, weights=running[1 : len(self.step_ends_s) + 1])
        return np.asarray(counts / step_s)

    def gaps_ms(self, index: int) -> Array:
        """The gaps between the tokens of one request."""
        begin = int(self.first_step[index]) - 1
        return np.diff(self.step_ends_s[begin : begin + int(self.output_tokens[index])]) * 1e3


def poisson(rate: float, seconds: float, rng: np.random.Generator) -> list[float]:
    """Arrivals of a Poisson process from time 0."""
    n = int(rate * seconds + 6 * np.sqrt(rate * seconds) + 20)
    times = np.cumsum(rng.exponential(1 / rate, n))
    kept: list[float] = times[times < seconds].tolist()
    return kept


def open_loop(server: Server, arrivals: Sequence[float], rng: np.random.Generator) -> Served:
    """Requests sent at their times, whatever the server does."""
    return _serve(server, arrivals, 0.0, rng)


def closed_loop(server: Server, users: int, seconds: float, rng: np.random.Generator, ramp_s: float = 0.0) -> Served:
    """`users` users, each of whom sends its next request when the last one has ended, until `seconds` have passed."""
    return _serve(server, [ramp_s * user / users for user in range(users)], seconds, rng)


def _serve(server: Server, arrivals: Sequence[float], repeat_until_s: float, rng: np.random.Generator) -> Served:
    cost = server.cost
    assert (cost.b3, cost.b4, cost.a1) == (0, 0, 0)
    b0, b1, b2, a0 = (us * 1e-6 for us in (cost.b0, cost.b1, cost.b2, cost.a0))
    most_running, most_tokens = cost.max_num_seqs, cost.max_num_batched_tokens
    lengths = server.lengths(rng)
    sent: list[float] = list(arrivals)
    prompts: list[int] = []
    outputs: list[int] = []
    for _ in sent:
        prompt, output = next(lengths)
        prompts.append(prompt)
        outputs.append(output)
    first, last, first_step = [0.0] * len(sent), [0.0] * len(sent), [0] * len(sent)
    ending: dict[int, list[int]] = {}
    step_ends: list[float] = []
    waiting: deque[int] = deque()
    coming = 0
    now, step, decodes, running = 0.0, 0, 0, 0
    partial, partial_left = -1, 0
    while True:
        while coming < len(sent) and sent[coming] + a0 <= now:
            waiting.append(coming)
            coming += 1
        if not running and not waiting:
            if coming == len(sent):
                break
            now = sent[coming] + a0
            continue
        budget, prefill = most_tokens - decodes, 0
        begun: list[int] = []
        if partial >= 0:
            prefill = min(partial_left, budget)
            partial_left -= prefill
            budget -= prefill
            if not partial_left:
                begun.append(partial)
                partial = -1
        while waiting and budget > 0 and running < most_running:
            request = waiting.popleft()
            running += 1
            tokens = min(prompts[request], budget)
            prefill += tokens
            budget -= tokens
            if tokens < prompts[request]:
                partial, partial_left = request, prompts[request] - tokens
            else:
                begun.append(request)
        now += b0 + b1 * prefill + b2 * decodes
        step += 1
        step_ends.append(now)
        ended = ending.pop(step, None) or []
        decodes -= len(ended)
        for request in begun:
            first[request], first_step[request] = now, step
            if outputs[request] == 1:
                ended.append(request)
            else:
                decodes += 1
                ending.setdefault(step + outputs[request] - 1, []).append(request)
        running -= len(ended)
        for request in ended:
            last[request] = now
            if now < repeat_until_s:
                sent.append(now)
                prompt, output = next(lengths)
                prompts.append(prompt)
                outputs.append(output)
                first.append(0.0)
                last.append(0.0)
                first_step.append(0)
    return Served(
        np.array(sent), np.array(first), np.array(last), np.array(outputs, float), np.array(first_step, np.int64),
        np.array(step_ends),
    )  # fmt: skip
