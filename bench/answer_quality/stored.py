"""quality.json and its page, written after each run of the series and read again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson

from bench.documents.quality_document import quality_document
from bench.errors import UsageError
from bench.report import html
from bench.results.base import to_plain
from bench.results.quality import SCHEMA, QualityContent
from bench.run_files.run_directory import RunDirectory
from bench.run_files.shape import misfits
from bench.series import files

QUALITY, PAGE = "quality.json", "quality.html"
_SHOWN = 10


def read(path: Path) -> QualityContent:
    """The content of a quality.json. Raises UsageError with what is wrong in a file that is damaged."""
    try:
        content = orjson.loads(path.read_bytes())
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}") from e
    except orjson.JSONDecodeError as e:
        raise UsageError(f"{path} is damaged: {e}") from e
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UsageError(f"{path} is no result of quality of this version (schema {SCHEMA})")
    if problems := list(misfits(content, QualityContent, f"{path}:")):
        raise UsageError(problems[:_SHOWN])
    return msgspec.convert(content, QualityContent)


def write(folder: Path, content: QualityContent) -> None:
    """Put quality.json and its page in place."""
    files.write(folder, QUALITY, to_plain(content))
    RunDirectory(folder).write(PAGE, html.render(quality_document(content)).encode())
