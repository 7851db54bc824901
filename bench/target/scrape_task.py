"""What the sender and the process that reads the server's metrics say to each other. It imports nothing that takes long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class ScrapePage:
    """A page to read. The headers go to the target's own host alone: a key of its API is nobody else's business."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    looked_for: bool = False
    """Nobody named it: where it has no known metrics, it is left without a word."""
    gpu: bool = False
    """Whether it is about GPUs: these stand in a file of their own."""


@dataclass(frozen=True, slots=True)
class ScrapeTask:
    """What is to be read, and where it is written: the server's pages, and those of GPUs."""

    pages: tuple[ScrapePage, ...]
    path: str
    gpu_path: str
    ca_file: str | None = None
    insecure: bool = False
    every_s: float = EVERY_S


@dataclass(frozen=True, slots=True)
class FirstScrape:
    """What the pages had before the load. `problems`: what is wrong with those that were named and had nothing."""

    problems: tuple[str, ...]
    goes_on: bool


@dataclass(frozen=True, slots=True)
class ServerNow:
    """The server a moment ago, by the names of summary.json's `server.levels`."""

    levels: Mapping[str, float]
