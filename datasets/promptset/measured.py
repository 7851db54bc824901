"""What is measured of a tokenizer before its first prompt is made, and is the same in every process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from promptset.tokenizer import Tokenizer

P = ParamSpec("P")
T = TypeVar("T")


def measured(measure: Callable[Concatenate[Tokenizer, P], T]) -> Callable[Concatenate[Tokenizer, P], T]:
    """Have the tokenizer remember what this asks it, for the next process."""

    @functools.wraps(measure)
    def remembering(tokenizer: Tokenizer, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with tokenizer.remembering():
            return measure(tokenizer, *args, **kwargs)

    return remembering
