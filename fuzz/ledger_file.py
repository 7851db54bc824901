"""ledger.jsonl, the mock's ledger: see run_files.py."""

from __future__ import annotations

from fuzz.run_files import target

TARGET = target("ledger.jsonl")
