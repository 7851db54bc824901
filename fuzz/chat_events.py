"""Events of chat: see events.py."""

from __future__ import annotations

from fuzz.events import target

TARGET = target("chat")
