"""run.yaml, configuration and manifest: see run_files.py."""

from __future__ import annotations

from fuzz.run_files import target

TARGET = target("run.yaml")
