"""Data sets and traces from files: JSON Lines, JSON, CSV, text, Parquet. Each row is recognized by its keys and
checked.

A kind of file is a class in `containers`, a kind of row a `Format` in `rows` (with text) or `traces` (without). They
are imported on first use, since most runs read no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptset.loaders.dataset import FORMATS, BadRows, DataSet, parse_columns
    from promptset.samples import Sample
    from promptset.tokenizer import Tokenizer

__all__ = ["FORMATS", "BadRows", "DataSet", "load", "parse_columns"]


def load(
    path: Path,
    *,
    tokenizer: Tokenizer | None = None,
    chat: bool = False,
    columns: Mapping[str, str] | None = None,
    bad_rows: BadRows = "fail",
    seed: int = 0,
    salt: str | None = None,
) -> list[Sample]:
    """All samples of a file, in order. For arguments and errors see `DataSet`."""
    from promptset.loaders.dataset import DataSet

    return list(DataSet(path, tokenizer=tokenizer, chat=chat, columns=columns, bad_rows=bad_rows, seed=seed, salt=salt))


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'promptset.loaders' has no attribute {name!r}")
    from promptset.loaders import dataset

    return getattr(dataset, name)
