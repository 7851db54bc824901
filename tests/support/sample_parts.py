"""The parts of a sample, for tests that know they exist."""

from __future__ import annotations

from typing import Any

from promptset.samples import Sample
from promptset.tokenizer import Tokenizer


def prompt_of(sample: Sample) -> str:
    assert sample.prompt is not None
    return sample.prompt


def messages_of(sample: Sample) -> tuple[dict[str, Any], ...]:
    assert sample.messages is not None
    return sample.messages


def tokens_of(sample: Sample) -> int:
    """The planned tokens of a sample's input."""
    assert sample.input_tokens is not None
    return sample.input_tokens


def counted(tokenizer: Tokenizer, sample: Sample) -> int:
    """The tokens of a sample's input, counted as text or as a chat."""
    return tokenizer.count(prompt_of(sample)) if sample.messages is None else tokenizer.count_chat(sample.messages)
