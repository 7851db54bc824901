"""Ranges of the sampling fields, and other fields of several dialects, with vLLM's error messages.

The mock ignores how tokens are sampled, but a client that sends `temperature: 99` must get the error that vLLM would
send. The order of the checks, the ranges and the wording are those of vLLM's `SamplingParams` and of its request
models.
"""

from __future__ import annotations

import math
from typing import Any

from mockserver.dialect.refusals import Refusal, refuse

_FLOATS = ("presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "top_p", "min_p")
_INTEGERS = ("top_k", "min_tokens", "seed", "prompt_logprobs")
MAX_LOGPROBS = 20
"""vLLM's default for --max-logprobs."""
_INT64 = 2**63


def check_sampling(row: dict[str, Any], asked_tokens: int | None, *, chat: bool) -> None:
    """Raises Refusal (400) for the first field of a request body that vLLM would refuse."""
    count_field = "top_logprobs" if chat else "logprobs"
    integers = {name: whole_number(name, row[name]) for name in (*_INTEGERS, count_field) if row.get(name) is not None}
    floats = {name: _number(name, row[name]) for name in _FLOATS if row.get(name) is not None}
    _check_logprobs(row, integers, count_field)
    for name, value in floats.items():
        _check_number(name, value)
    _check_integers(integers, asked_tokens)
    ids = row.get("stop_token_ids")
    if ids is not None and not (isinstance(ids, list) and all(type(i) is int for i in ids)):
        refuse(f"stop_token_ids must contain only integers, got {ids}.")


def _refuse_value(message: str, name: str, value: float | None = None) -> None:
    """vLLM appends the field, and its value if known."""
    shown = f"parameter={name}" if value is None else f"parameter={name}, value={value}"
    refuse(f"{message} ({shown})", name)


def _number(name: str, value: object) -> float:
    """As pydantic parses it: numbers, and strings of numbers."""
    try:
        if isinstance(value, int | float | str):
            return float(value)
    except (ValueError, OverflowError):
        pass
    refuse(f"{name}: Input should be a valid number", name)


def whole_number(name: str, value: object) -> int:
    """As pydantic parses it: whole numbers, and strings of them. Raises Refusal (400)."""
    number = _number(name, value)
    if not number.is_integer():  # Neither is an infinite number.
        refuse(f"{name}: Input should be a valid integer", name)
    try:
        return int(value) if isinstance(value, int | str) else int(number)
    except ValueError:  # A string such as 1e3 or 1.0.
        return int(number)


def _check_logprobs(row: dict[str, Any], integers: dict[str, int], count_field: str) -> None:
    prompt, count = integers.get("prompt_logprobs"), integers.get(count_field)
    if prompt is not None and row.get("stream") and (prompt > 0 or prompt == -1):
        _refuse_value("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs")
    if prompt is not None and prompt < -1:
        _refuse_value("`prompt_logprobs` must be a positive value or -1.", "prompt_logprobs", prompt)
    if count is None:
        return
    if count_field == "logprobs":
        if count < 0:
            _refuse_value("`logprobs` must be a positive value.", "logprobs", count)
    elif count < -1:
        _refuse_value("`top_logprobs` must be a positive value or -1.", "top_logprobs", count)
    elif count != 0 and not row.get("logprobs"):
        _refuse_value("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    if count > MAX_LOGPROBS:
        message = f"Requested sample logprobs of {count}, which is greater than max allowed: {MAX_LOGPROBS}"
        _refuse_value(message, "logprobs", count)


def _check_number(name: str, value: float) -> None:
    if name in ("presence_penalty", "frequency_penalty"):
        if not -2.0 <= value <= 2.0:
            refuse(f"{name} must be in [-2, 2], got {value}.")
    elif name == "repetition_penalty":
        if not math.isfinite(value):
            refuse(f"repetition_penalty must be a finite number, got {value}.")
        if value <= 0.0:
            refuse(f"repetition_penalty must be greater than zero, got {value}.")
    elif name == "temperature":
        if not math.isfinite(value):
            _refuse_value(f"temperature must be a finite number, got {value}.", name, value)
        if value < 0.0:
            _refuse_value(f"temperature must be non-negative, got {value}.", name, value)
        if value > 2.0:
            _refuse_value(f"temperature must be in [0, 2], got {value}.", name, value)
    elif name == "top_p":
        if not 0.0 < value <= 1.0:
            _refuse_value(f"top_p must be in (0, 1], got {value}.", name, value)
    elif not 0.0 <= value <= 1.0:
        refuse(f"min_p must be in [0, 1], got {value}.")


def _check_integers(integers: dict[str, int], asked_tokens: int | None) -> None:
    seed, top_k, least = integers.get("seed"), integers.get("top_k"), integers.get("min_tokens")
    if seed is not None and not -_INT64 <= seed < _INT64:
        side = f"less than or equal to {_INT64 - 1}" if seed > 0 else f"greater than or equal to {-_INT64}"
        refuse(f"seed: Input should be {side}", "seed")
    if top_k is not None and top_k < -1:
        refuse(f"top_k must be 0 (disable), or at least 1, got {top_k}.")
    if least is not None and least < 0:
        refuse(f"min_tokens must be greater than or equal to 0, got {least}.")
    if least is not None and asked_tokens is not None and least > asked_tokens:
        refuse(f"min_tokens must be less than or equal to max_tokens={asked_tokens}, got {least}.")


def own_length(row: dict[str, Any]) -> dict[str, Any]:
    """The length fields of a body as fields of RequestParams. An invalid value counts as absent: `check_sampling` has
    refused it if the dialect knows the field."""
    value = row.get("min_tokens")
    try:
        least = 0 if value is None else whole_number("min_tokens", value)
    except Refusal:
        least = 0
    return {"ignore_eos": row.get("ignore_eos") is True, "least_tokens": max(0, least)}


def priority_of(row: dict[str, Any]) -> int:
    """The `priority` field of vLLM. Raises Refusal (400)."""
    value = row.get("priority")
    if value is None:
        return 0
    if type(value) is not int or not -(2**63) <= value < 2**63:
        refuse("priority must be a whole number of 64 bits.", "priority")
    return value


def flag(row: dict[str, Any], name: str, where: str = "") -> bool:
    """A boolean field, false by default. Raises Refusal (400)."""
    value = row.get(name)
    if value is not None and not isinstance(value, bool):
        refuse(f"{where}{name} must be true or false.", name)
    return bool(value)


def token_limit(row: dict[str, Any], name: str) -> int | None:
    """A number of tokens, at least 1. Raises Refusal (400)."""
    value = row.get(name)
    if value is not None and type(value) is not int:
        refuse(f"{name} must be a whole number.", name)
    if value is not None and value < 1:
        refuse(f"{name} must be at least 1, got {value}. (parameter={name}, value={value})", name)
    return value


def stops(row: dict[str, Any]) -> tuple[str, ...]:
    """`stop`: a string, or several. Raises Refusal (400)."""
    value = row.get("stop")
    texts = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        refuse("stop must be a text or a list of texts.", "stop")
    if "" in texts:
        refuse("stop cannot contain an empty string.", "stop")
    return tuple(texts)
