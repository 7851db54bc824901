"""Records of requests: their declaration (request_record.py), their lines (lines.py), and columns of many
(record_table.py)."""

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
