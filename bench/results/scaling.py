"""What a run with --watch-scale saw of a server that starts, or adds replicas, under load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from bench.results.base import Amount, Count, Number, Result


class LostTime(Result, frozen=True, kw_only=True):
    """A time in which requests were refused, failed, or missed a limit on a latency. It ends with the first good answer that
    is followed by a second without another bad one."""

    start_s: Number
    """When the first bad request was sent."""
    end_s: Number | None
    """When the first good answer began to come; null: there was none."""
    lost: Count
    """Requests that were not good."""
    refused: Count
    """Of these, those that no server took: no connection, or one of the statuses 429, 502, 503, 504 and 529."""
    failed: Count
    """Of these, those that failed in another way."""
    slow: Count
    """Of these, those that were answered and missed a limit."""
    refusals: Mapping[str, Count]
    """How often each status came, or the outcome of a request without one."""
    not_ready_s: Number | None = None
    """When the last refused request was sent: the server was not ready then. null: none was refused."""
    ready_s: Number | None = None
    """When the first answer to a later request began to come: the server was ready by then. null: there was none."""
    target: str | UnsetType = UNSET
    """With several addresses: whose time it is."""


class Scaling(Result, frozen=True, kw_only=True):
    """The times that a run lost while its server was scaling, in the order of time. Left out without --watch-scale."""

    limits: Sequence[str]
    """The objectives that a good request keeps."""
    times: Sequence[LostTime]
    lost_s: Amount
    """How long one of the times lasted, or several at once; one without an end counts up to the last answer."""
    lost: Count
    """Requests that were not good."""
    t_s: Sequence[Number]
    """The begin of each second of the load."""
    good: Sequence[Count]
    """Good requests sent in each second."""
    slow: Sequence[Count]
    refused: Sequence[Count]
    failed: Sequence[Count]
