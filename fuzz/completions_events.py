"""Events of completions: see events.py."""

from __future__ import annotations

from fuzz.events import target

TARGET = target("completions")
