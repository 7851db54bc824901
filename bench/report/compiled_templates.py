"""Templates as an earlier report compiled them, from the user's cache: compiling takes longer than rendering a small run.

A kept template counts only for the same source, the same Python, the same Jinja2 and the same `OPTIONS` of the environment
that compiled it. Where nothing can be kept, each report compiles its template.
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
"""Counts the changes of the environment's options in page.py, which the kept code depends on and does not name."""

_DAMAGED = (AttributeError, EOFError, ImportError, IndexError, TypeError, ValueError, pickle.UnpicklingError)


class KeptTemplates(jinja2.BytecodeCache):
    """A file for each template. Jinja2 itself checks that it was made of this source, and by this Python."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = machine_cache.default_path(FOLDER) if folder is None else folder

    def _path(self, bucket: Bucket) -> Path:
        return self._folder / f"{bucket.key}-{jinja2.__version__}-{OPTIONS}"

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket from its file; it stays empty where there is none, or one that is damaged."""
        try:
            content = self._path(bucket).read_bytes()
        except OSError:
            return
        with suppress(*_DAMAGED):
            bucket.bytecode_from_string(content)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write the file whole: another process may read it meanwhile."""
        path = self._path(bucket)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(bucket.bytecode_to_string())
            draft.replace(path)
