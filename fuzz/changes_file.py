"""changes.jsonl, changes of the load: see run_files.py."""

from __future__ import annotations

from fuzz.run_files import target

TARGET = target("changes.jsonl")
