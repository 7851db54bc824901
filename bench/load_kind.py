"""Of what kind a run's load is, for the certificates that may speak for it. A run asks before its load, its report again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.accuracy.load_shape import LoadKind

if TYPE_CHECKING:
    from bench.config import RunConfig


def kind_of(config: RunConfig, workers: int) -> LoadKind:
    """The kind of a load, for which certificates may speak."""
    return LoadKind.of(
        open_loop=config.load.open_loop,
        transport=config.transport,
        stream=config.stream,
        tls=config.url.startswith("https:"),
        workers=workers,
        endpoint=config.endpoint,
    )
