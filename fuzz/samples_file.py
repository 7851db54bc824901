"""samples.jsonl, samples of the client: see run_files.py."""

from __future__ import annotations

from fuzz.run_files import target

TARGET = target("samples.jsonl")
