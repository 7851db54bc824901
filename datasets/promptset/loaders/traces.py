"""Rows without a text. Traces of real traffic have the lengths of prompts and answers, and the times of requests.

    mooncake     {"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [one per 512 tokens]}
    bailian      the same with "chat_id": a timestamp in seconds, and a hash per 16 tokens
    azure        TIMESTAMP,ContextTokens,GeneratedTokens
    burstgpt     Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
    lengths      {"input_tokens": n, "output_tokens": n, "at_s": seconds}, ours

Hash ids become shared text: the same id is the same text, so a prefix cache has the same hits as when the trace was
recorded.
Sources: github.com/kvcache-ai/Mooncake (FAST25-release), alibaba-edu/qwen-bailian-usagetraces-anon,
Azure/AzurePublicDataset (AzureLLMInferenceDataset2023), HPMLL/BurstGPT.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from promptset.errors import SpecError
from promptset.loaders.own import own_of
from promptset.loaders.rows import Format, ParsedRow, Row, count_problems, row_problems, seconds_problems
from promptset.outline import Outline
from promptset.sharing import Path

_MOONCAKE_BLOCK = 512
_BAILIAN_BLOCK = 16
_MS_PER_S = 1e3


def _read_mooncake(row: Row) -> ParsedRow:
    return _read_blocks(row, "timestamp", _MS_PER_S, _MOONCAKE_BLOCK)


def _read_bailian(row: Row) -> ParsedRow:
    return _read_blocks(row, "timestamp", 1.0, _BAILIAN_BLOCK)


def _read_blocks(row: Row, time: str, per_second: float, block: int) -> ParsedRow:
    n, output, at, ids = row["input_length"], row.get("output_length"), row.get(time), row.get("hash_ids", [])
    problems = _required(row, "input_length", "output_length") + seconds_problems(time, at)
    if not isinstance(ids, list) or not all(isinstance(hash_id, int) for hash_id in ids):
        problems.append("hash_ids must be a list of whole numbers")
    elif ids and not problems and len(ids) != -(-n // block):
        problems.append(f"{len(ids)} hash_ids, and {n} tokens are {-(-n // block)} blocks of {block}")
    if problems:
        raise SpecError(problems)
    path: Path = tuple((hash_id, block) for hash_id in ids)
    return ParsedRow(outline=Outline(n, output, path), at_s=None if at is None else at / per_second)


def _read_azure(row: Row) -> ParsedRow:
    return _read_columns(row, "TIMESTAMP", _from_date, "ContextTokens", "GeneratedTokens")


def _read_burstgpt(row: Row) -> ParsedRow:
    return _read_columns(row, "Timestamp", _seconds, "Request tokens", "Response tokens")


def _read_columns(row: Row, time: str, read_time: Callable[[object], float | None], asked: str, got: str) -> ParsedRow:
    numbers: Row = {key: _number(row.get(key)) for key in (asked, got)}
    problems = _required(numbers, asked, got)
    at = read_time(row.get(time))
    if at is None:
        problems.append(f"{time} is not a time: {row.get(time)!r}")
    if problems:
        raise SpecError(problems)
    return ParsedRow(outline=Outline(numbers[asked], numbers[got]), at_s=at)


def _read_lengths(row: Row) -> ParsedRow:
    if problems := row_problems(row) or _required(row, "input_tokens"):
        raise SpecError(problems)
    outline = Outline(row["input_tokens"], row.get("output_tokens"))
    return ParsedRow(outline=outline, at_s=row.get("at_s"), own=own_of(row))


def _required(row: Row, *keys: str) -> list[str]:
    missing = [f"{key} is missing" for key in keys if row.get(key) is None]
    return missing + [problem for key in keys for problem in count_problems(key, row.get(key))]


def _number(text: object) -> object:
    """A number from a text column. Anything else is returned unchanged and fails the check that follows."""
    try:
        return int(text)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return text


def _seconds(text: object) -> float | None:
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _from_date(text: object) -> float | None:
    try:
        at = datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return _seconds(text)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


FORMATS: dict[str, Format] = {
    "bailian": Format(lambda row: "input_length" in row and "chat_id" in row, _read_bailian),
    "mooncake": Format(lambda row: "input_length" in row, _read_mooncake),
    "azure": Format(lambda row: "ContextTokens" in row, _read_azure),
    "burstgpt": Format(lambda row: "Request tokens" in row, _read_burstgpt),
    "lengths": Format(lambda row: "input_tokens" in row, _read_lengths),
}
"""The first that recognizes a row reads it. Formats with a text are tried before these."""
