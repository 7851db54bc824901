"""mock.json, what the mock says of itself: see run_files.py."""

from __future__ import annotations

from fuzz.run_files import target

TARGET = target("mock.json")
