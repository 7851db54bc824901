"""The results of a run with --watch-scale: a server that starts, or adds replicas, under load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from bench.results.base import Amount, Count, Number, Result


class LostTime(Result, frozen=True, kw_only=True):
    """A time in which requests were refused, failed, or missed a limit on a latency. It ends with the first good answer
    that is followed by a second without another bad one."""

    start_s: Number
    """When the first bad request was sent."""
    end_s: Number | None
    """When the first good answer began to arrive; null: there was none."""
    lost: Count
    """Requests that were not good."""
    refused: Count
    """Of these, requests that no server accepted: no connection, or one of the statuses 429, 502, 503, 504 and 529."""
    failed: Count
    """Of these, requests that failed in another way."""
    slow: Count
    """Of these, requests that were answered but missed a limit."""
    refusals: Mapping[str, Count]
    """How often each status was received, or the outcome of a request without one."""
    not_ready_s: Number | None = None
    """When the last refused request was sent: the server was not ready then. null: none was refused."""
    ready_s: Number | None = None
    """When the first answer to a later request began to arrive: the server was ready by then. null: there was none."""
    target: str | UnsetType = UNSET
    """With several addresses: the address of this lost time."""


class Scaling(Result, frozen=True, kw_only=True):
    """The times that a run lost while its server was scaling, in order of time. Missing without --watch-scale."""

    limits: Sequence[str]
    """The objectives that a good request meets."""
    times: Sequence[LostTime]
    lost_s: Amount
    """Total length of all times, with overlaps counted once; a time without an end counts up to the last answer."""
    lost: Count
    """Requests that were not good."""
    t_s: Sequence[Number]
    """The beginning of each second of the load."""
    good: Sequence[Count]
    """Good requests sent in each second."""
    slow: Sequence[Count]
    refused: Sequence[Count]
    failed: Sequence[Count]
