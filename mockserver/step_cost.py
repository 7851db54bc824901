"""The cost of an engine step: fitted numbers of real GPUs and models, and their notation.

    T us = b0 + b1 x uncached prefill tokens + b2 x decode tokens + b3 x context tokens of the decodes + b4 x prompts that end
    before the queue, outside the step: a0 + a1 x prompt tokens
    before the first step of an idle server: w0

If the cost of decodes is not linear, a file can give a table of their joint cost: {"b0": 2900, "b1": 8, "b2": 840,
"decode": [[2, 1300], [4, 1750], [16, 12000]]}. It is interpolated linearly, starting at zero cost for zero tokens; b2
applies beyond the last point. A file can also describe how steps vary around their cost: `variation`
(steps/variation.py).

To add a GPU and model, add a line to `STEP_COSTS`.
"""

from __future__ import annotations

import difflib
import json
import math
from bisect import bisect_left
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mockserver.clock import NS_PER_US
from mockserver.steps.variation import StepVariation, variation_of
from promptset.whole_file import read_text

BLOCK_TOKENS = 16
"""Tokens per KV block: vLLM's default on GPUs."""
MOST_BLOCKS = 10_000_000
"""The most KV blocks. Each takes about 100 bytes of the mock's memory."""
_MOST_US = 1e9


@dataclass(frozen=True, slots=True)
class StepCost:
    """The coefficients, in us (b0, b4, a0, w0) or us per token (the others), and the limits of the server."""

    b0: float
    """Per step."""
    b1: float
    """Per prompt token computed in the step."""
    b2: float
    """Per decode token computed in the step."""
    b3: float = 0.0
    """Per context token of the decodes."""
    b4: float = 0.0
    """Per prompt, in the step that completes it."""
    a0: float = 0.0
    """Per request, before the queue and outside the steps."""
    a1: float = 0.0
    """Per prompt token of a request, before the queue."""
    w0: float = 0.0
    """Wake-up time of an idle server, from a request in the queue to the first step."""
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    kv_blocks: int = 65_536
    source: str = ""
    """The source of the numbers."""
    decode: tuple[tuple[int, float], ...] = ()
    """(decode tokens of a step, their joint cost in us), increasing. b2 applies to each token beyond the last point."""
    variation: StepVariation | None = None
    """How steps vary around this cost. None: every step takes exactly its cost."""

    def decode_us(self, tokens: float) -> float:
        place = bisect_left(self.decode, tokens, key=lambda point: point[0])
        before, us = self.decode[place - 1] if place else (0, 0.0)
        if place == len(self.decode):
            return us + self.b2 * (tokens - before)
        after, most_us = self.decode[place]
        return us + (most_us - us) * (tokens - before) / (after - before)

    def step_ns(self, prefill_tokens: int, decode_tokens: int, context_tokens: int, prompts: int) -> int:
        """The length of one step. `prompts` is the number of prompts it completes."""
        decode_us = self.decode_us(decode_tokens) if self.decode else self.b2 * decode_tokens
        us = self.b0 + self.b1 * prefill_tokens + decode_us + self.b3 * context_tokens + self.b4 * prompts
        return max(1, round(us * NS_PER_US))

    def expected_us(self, cost_us: float, decode_tokens: float) -> float:
        """The mean length of steps with this cost and this many decode tokens."""
        return cost_us if self.variation is None else self.variation.mean_us(cost_us, decode_tokens)

    def before_queue_ns(self, prompt_tokens: int) -> int:
        """The time from a request's arrival to the queue."""
        return round((self.a0 + self.a1 * prompt_tokens) * NS_PER_US)

    @property
    def wake_ns(self) -> int:
        """The time from a request in an idle server's queue to the start of its step."""
        return round(self.w0 * NS_PER_US)


_FITTED = "fitted, H100 TP1, vLLM 0.11: published defaults of the inference-sim project"
_LARGE: dict[str, Any] = {"max_num_seqs": 1024, "max_num_batched_tokens": 8192}
"""The defaults of vLLM's API server on GPUs with at least 70 GiB, except the A100. `StepCost` has the other defaults."""

STEP_COSTS: dict[str, StepCost] = {
    "qwen2.5-3b-h100": StepCost(
        4796, 9.45, 35.6, a0=3143, **_LARGE, source=f"{_FITTED}; KV blocks not published, ours"
    ),
    "qwen2.5-7b-h100": StepCost(
        7052, 19.54, 25.43, a0=4680, **_LARGE, kv_blocks=65_833, source=f"{_FITTED}; KV blocks from users of it"
    ),
    "qwen3-14b-h100": StepCost(13578, 39.4, 27.3, a0=8888, **_LARGE, kv_blocks=17_600, source=_FITTED),
    "llama-3.1-8b-h100": StepCost(
        6472, 19.8, 304, a0=10326, **_LARGE, kv_blocks=29_205, source=f"{_FITTED}; b2 looks high"
    ),
}

_COEFFICIENTS = ("b0", "b1", "b2", "b3", "b4", "a0", "a1", "w0")
_LIMITS = ("max_num_seqs", "max_num_batched_tokens", "kv_blocks")
_TABLE, _VARIATION = "decode", "variation"
_KEYS = (*_COEFFICIENTS, _TABLE, _VARIATION, *_LIMITS)
assert {*_KEYS, "source"} == {field.name for field in fields(StepCost)}


@dataclass(frozen=True, slots=True)
class StepCostSpec:
    """A step cost as text, and its value."""

    text: str
    cost: StepCost

    def __str__(self) -> str:
        return self.text


def parse_step_cost(text: str) -> StepCostSpec:
    """A name of `STEP_COSTS`, `b0=7052,b1=19.54,b2=25.43`, or a `.json` file with an object of the same keys.

    Raises ValueError with one sentence that names every problem.
    """
    text = text.strip()
    if text in STEP_COSTS:
        return StepCostSpec(text, STEP_COSTS[text])
    if text.endswith(".json"):
        return StepCostSpec(text, step_cost_of_values(_read_file(text), text, str(Path(text))))
    if "=" in text:
        pairs = [(key.strip(), value.strip()) for key, _, value in (part.partition("=") for part in text.split(","))]
        values: dict[str, object] = dict(pairs)
        if len(values) < len(pairs):
            twice = sorted({key for key, _ in pairs if [name for name, _ in pairs].count(key) > 1})
            raise ValueError(f"{text!r}: given more than once: {', '.join(twice)}")
        return StepCostSpec(text, step_cost_of_values(values, text))
    close = difflib.get_close_matches(text, STEP_COSTS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"the names are {', '.join(STEP_COSTS)}"
    raise ValueError(f"{text!r}: no step cost has this name; {hint}, or give numbers like b0=7052,b1=19.54,b2=25.43")


def _read_file(path: str) -> dict[str, object]:
    try:
        row = json.loads(read_text(Path(path)))
    except RecursionError:
        raise ValueError(f"{path!r}: cannot be read: it is nested too deeply") from None
    except (OSError, ValueError) as e:
        raise ValueError(f"{path!r}: cannot be read: {e.strerror if isinstance(e, OSError) else e}") from e
    if not isinstance(row, dict):
        raise ValueError(f'{path!r}: must contain one object, for example {{"b0": 7052, "b1": 19.54, "b2": 25.43}}')
    return row


def step_cost_of_values(values: dict[str, object], text: str, source: str | None = None) -> StepCost:
    """The step cost from named numbers, as in a `.json` file. Raises ValueError with one sentence that names every
    problem."""
    problems = [
        f"no coefficient is called {key!r}; the names are {', '.join(_KEYS)}" for key in values if key not in _KEYS
    ]
    problems += [f"{key} is missing" for key in ("b0", "b1", "b2") if key not in values]
    numbers: dict[str, float] = {}
    table, wrong = _table(values.get(_TABLE, []))
    problems += wrong
    variation = None
    if values.get(_VARIATION) is not None:
        variation, wrong = variation_of(values[_VARIATION])
        problems += wrong
    for key in (*_COEFFICIENTS, *_LIMITS):
        if key in values:
            try:
                number = math.nan if isinstance(values[key], bool) else float(str(values[key]))
            except ValueError:
                number = math.nan
            if key in _LIMITS and not (1 <= number <= MOST_BLOCKS and number.is_integer()):
                problems.append(f"{key}={values[key]}: write a whole number from 1 to {MOST_BLOCKS:,}")
            elif key in _COEFFICIENTS and not (0 <= number <= _MOST_US):
                problems.append(f"{key}={values[key]}: write a number of us from 0 to {_MOST_US:g}")
            numbers[key] = number
    if not problems and not table and numbers["b0"] + numbers["b1"] + numbers["b2"] == 0:
        problems.append("b0, b1 and b2 are all 0, but a step must take time")
    if problems:
        raise ValueError(f"{text!r}: {'; '.join(problems)}")
    origin = "given on the command line" if source is None else source
    arguments: dict[str, Any] = {key: int(value) if key in _LIMITS else value for key, value in numbers.items()}
    return StepCost(**arguments, source=origin, decode=table, variation=variation)


def _table(points: object) -> tuple[tuple[tuple[int, float], ...], list[str]]:
    """The points of a decode table, and a sentence if they are invalid."""
    how = 'decode: write rising points [decode tokens, us] in a .json file, for example "decode": [[1, 300], [8, 900]]'
    if not isinstance(points, list):
        return (), [how]
    table: list[tuple[int, float]] = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or any(isinstance(number, bool) for number in point):
            return (), [f"{how}; it has {point!r}"]
        tokens, us = point
        if not isinstance(tokens, int) or not isinstance(us, int | float) or not math.isfinite(us):
            return (), [f"{how}; it has {point!r}"]
        before, least_us = table[-1] if table else (0, 0.0)
        if tokens <= before or us < least_us:
            return (), [f"{how}; {point!r} comes after {[before, least_us]!r}"]
        table.append((tokens, float(us)))
    return tuple(table), []
