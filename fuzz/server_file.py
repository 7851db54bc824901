"""server.jsonl, what the server's metrics said: see run_files.py."""

from __future__ import annotations

from fuzz.run_files import target

TARGET = target("server.jsonl")
