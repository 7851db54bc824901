"""Probes from files: the user's own JSON Lines, and the published files of GSM8K, MMLU, MMLU-Pro and IFEval.

A row is recognised by its keys. A new form of row is a function and one line in `_form_of`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import orjson

from promptset.errors import SpecError
from promptset.loaders.containers import Entry, open_container
from promptset.probes.ifeval import Unsupported
from promptset.probes.own_rows import own_row
from promptset.probes.published import gsm8k_row, ifeval_row, mmlu_row
from promptset.probes.values import Probe, Row

_MOST_PROBLEMS = 10
_MMLU_COLUMNS = 6
"""The columns of MMLU's CSV files, which have no header: question, four choices, letter."""


def looks_like_a_set(name: str) -> bool:
    """Whether a name is a file, or could be one or a data set of the hub: it contains a slash or a dot."""
    if "/" in name or "." in name:
        return True
    with suppress(OSError):  # A name may be too long for a file.
        return Path(name).is_file()
    return False


def read_set(source: str, count: int | None) -> list[Probe]:
    """The first `count` probes of a file or of a data set of the hub; None: all.

    IFEval's rows with an instruction that no regular expression can check are left out, and so are repeated questions,
    whose answers would count twice. Raises SpecError with up to ten problems.
    """
    path = Path(source)
    if not path.exists() and source.count("/") == 1 and not path.suffix:
        from promptset.probes.hub_set import download

        path = download(source)
    unit, rows = _rows(path)
    name = Path(source).stem
    probes: dict[bytes, Probe] = {}
    problems: list[str] = []
    for entry in rows:
        if len(probes) == count or len(problems) >= _MOST_PROBLEMS:
            break
        try:
            probe = _probe(f"{name}-{entry.number}", name, entry.value)
            probes.setdefault(orjson.dumps((probe.messages, probe.schema, probe.tools)), probe)
        except Unsupported:
            continue
        except SpecError as e:
            problems += [f"{source}, {unit} {entry.number}: {problem}" for problem in e.problems]
    if not problems and not probes:
        problems = [f"{source} has no row with a question and an answer"]
    elif not problems and count is not None and len(probes) < count:
        different = f"{len(probes)} different question{'' if len(probes) == 1 else 's'}"
        problems = [f"{source} has {different}: {count} are too many"]
    if problems:
        raise SpecError(problems)
    return list(probes.values())


def _rows(path: Path) -> tuple[str, Iterator[Entry]]:
    container = open_container(path)
    if path.suffix.lower() == ".csv" and _has_no_header(path):
        return "line", _headless(path)
    return container.unit, container.entries()


def _has_no_header(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        first = next(csv.reader(islice(file, 100)), [])
    return len(first) == _MMLU_COLUMNS and first[-1] in tuple("ABCD")


def _headless(path: Path) -> Iterator[Entry]:
    """The rows of a CSV file of MMLU."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for number, record in enumerate(csv.reader(file), 1):
            if len(record) == _MMLU_COLUMNS:
                row: object = {"question": record[0], "choices": record[1:5], "answer": record[5]}
            else:
                row = SpecError(f"{len(record)} values: MMLU has {_MMLU_COLUMNS}")
            yield Entry(number, number, number, row)


def _probe(probe_id: str, name: str, row: object) -> Probe:
    if isinstance(row, SpecError):
        raise row
    if not isinstance(row, dict):
        raise SpecError("a row must be an object")
    return _form_of(row)(probe_id, name, row)


def _form_of(row: Row) -> Callable[[str, str, Row], Probe]:
    """The parser for a row: (probe id, name of the set, row) -> probe."""
    if row.keys() >= {"prompt", "instruction_id_list"}:
        return ifeval_row
    if row.keys() >= {"question", "answer"} and ("choices" in row or "options" in row):
        return mmlu_row
    if row.keys() == {"question", "answer"} and "####" in str(row["answer"]):
        return gsm8k_row
    return own_row
