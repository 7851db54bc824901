"""Compiled templates from an earlier report, in the user's cache: compiling takes longer than rendering a small run.

A cached template is used only for the same source, Python, Jinja2 and `OPTIONS` of the environment that compiled it. If
nothing can be cached, each report compiles its template.
"""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from bench.machine import machine_cache

FOLDER = "templates"
OPTIONS = 1
"""A version for the environment's options in page.py, which the compiled code depends on but does not record."""

_DAMAGED = (AttributeError, EOFError, ImportError, IndexError, TypeError, ValueError, pickle.UnpicklingError)


class KeptTemplates(jinja2.BytecodeCache):
    """One file per template. Jinja2 itself checks that the source and the Python version match."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = machine_cache.default_path(FOLDER) if folder is None else folder

    def _path(self, bucket: Bucket) -> Path:
        return self._folder / f"{bucket.key}-{jinja2.__version__}-{OPTIONS}"

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket from its file; it stays empty if the file is missing or damaged."""
        try:
            content = self._path(bucket).read_bytes()
        except OSError:
            return
        with suppress(*_DAMAGED):
            bucket.bytecode_from_string(content)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write the file atomically: another process may be reading it."""
        path = self._path(bucket)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(bucket.bytecode_to_string())
            draft.replace(path)
