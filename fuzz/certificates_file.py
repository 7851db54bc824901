"""certificates.json, certificates of this machine: see run_files.py."""

from __future__ import annotations

from fuzz.run_files import target

TARGET = target("certificates.json")
