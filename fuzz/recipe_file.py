"""A recipe of prompts or of sessions: what it says can be drawn from, or sentences."""

from __future__ import annotations

from itertools import islice

from fuzz import scratch
from fuzz.target import Target
from promptset import recipes
from promptset.errors import SpecError


def read(data: bytes) -> None:
    """One input."""
    text = str(scratch.file("recipe.yaml", data))
    assert recipes.is_recipe(text)
    recipes.makes_sessions(text)
    try:
        recipe = recipes.load(text)
        times = recipe.times_s(0)
        assert times is None or all(time >= 0 for time in islice(times, 3))
    except SpecError as e:
        assert e.problems
    try:
        recipes.load_sessions(text).within(1000)
    except SpecError as e:
        assert e.problems


WORDS = (
    b"about: a\n",
    b"text: english\n",
    b"input_tokens: 256\n",
    b"output_tokens: lognormal:mean=100,sd=20\n",
    b"prefix: shared:64\n",
    b"gaps: exponential:mean=1s\n",
    b"like: chat\n",
    b"sub_agents:\n",
    b"steps:\n",
    b"share: 10%\n",
)
TARGET = Target(read, form="yaml", words=WORDS)
