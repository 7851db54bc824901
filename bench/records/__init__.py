"""Records of requests: what is declared (request_record.py), their lines (lines.py), many as columns (record_table.py)."""

from bench.records.lines import ORDER_WITHIN_NS, checked, from_line, to_line
from bench.records.request_record import (
    IMAGE_KIND,
    MOST_TOKENS,
    NO_FAILURE,
    REQUESTS,
    TOKEN_KINDS,
    UTTERANCES,
    Clock,
    Outcome,
    Pause,
    Phase,
    RequestRecord,
    ServerWords,
    StoredAnswer,
    TokensFrom,
)

__all__ = [
    "IMAGE_KIND",
    "MOST_TOKENS",
    "NO_FAILURE",
    "ORDER_WITHIN_NS",
    "REQUESTS",
    "TOKEN_KINDS",
    "UTTERANCES",
    "Clock",
    "Outcome",
    "Pause",
    "Phase",
    "RequestRecord",
    "ServerWords",
    "StoredAnswer",
    "TokensFrom",
    "checked",
    "from_line",
    "to_line",
]
