"""Traffic in classes: the content of the file of `--mix`.

    classes:
      - name: chat
        share: 60                  # of the requests; or `rate`, in requests per second
        input_tokens: lognormal:median=400,sigma=0.6
        slo: [ttft:p99<300ms]
      - name: batch
        share: 40
        dataset: documents.jsonl
        priority: 10

A class has a name, a share or a rate, and its own settings in place of the run's: CLASS_SETTINGS, by their names in a
YAML settings file. `headers` and `priority` are also allowed in a row of a data set.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.rng import stream
from bench.secrets import MASK, public_text
from bench.traffic.shares import Shares
from promptset.loaders.own import own_of, own_problems
from promptset.whole_file import load_yaml, yaml_problem

CLASS_SETTINGS = (
    "dataset", "columns", "bad_rows", "input_tokens", "output_tokens", "batch_inputs", "prefix", "text", "repeated_text",
    "tools",
    "images", "audio", "video", "prompt_ids", "method", "body", "body_template", "rows",
    "endpoint", "model", "cancel", "slo", "arrivals", "burstiness",
)  # fmt: skip
"""Settings of a run that a class may override."""
FORMER_SETTINGS = {"repeat": "repeated_text"}
"""Settings that had another name in an older version, which is still read."""
OWN_KEYS = ("name", "share", "rate", "headers", "priority")
MOST_CLASSES = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHARE = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*%?")
OF_A_ROW = ("headers", "priority")


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """One class. `weight`: its share, or its requests per second. `settings`: the run's settings that it overrides."""

    name: str
    weight: float
    priority: int | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def seed(self, run: int) -> int:
        """The seed of all draws for this class: derived from its name, so that other classes do not change it."""
        return stream(run, "class", self.name).getrandbits(63)


@dataclass(frozen=True, slots=True)
class TrafficMix:
    """All classes. `rates`: their weights are requests per second, each a separate arrival process; otherwise shares."""

    classes: tuple[TrafficClass, ...]
    rates: bool

    @property
    def shares(self) -> Shares:
        """The shares from which the run draws, if there are no rates."""
        return Shares(
            tuple(run_class.name for run_class in self.classes), tuple(run_class.weight for run_class in self.classes)
        )

    @property
    def rate(self) -> float:
        """Requests per second of all classes together, if there are rates."""
        return sum(run_class.weight for run_class in self.classes)


def mix_of(written: Mapping[str, Any] | None) -> TrafficMix | None:
    """The classes in the content of a file that `read` has checked."""
    if written is None:
        return None
    rows = written["classes"]
    return TrafficMix(tuple(map(_class_of, rows)), rates="rate" in rows[0])


def _class_of(row: Mapping[str, Any]) -> TrafficClass:
    return TrafficClass(
        name=row["name"],
        weight=float(row["rate"] if "rate" in row else row["share"]),
        settings={key: row[key] for key in CLASS_SETTINGS if key in row},
        **own_of({key: row[key] for key in OF_A_ROW if key in row}),
    )


def masked(written: Mapping[str, Any]) -> dict[str, Any]:
    """The content without the values of headers and the secrets of bodies, for storing and showing."""
    rows = [
        row
        | ({"headers": dict.fromkeys(row["headers"], MASK)} if row.get("headers") else {})
        | {name: public_text(row[name]) for name in ("body", "body_template") if isinstance(row.get(name), str)}
        for row in written["classes"]
    ]
    return {**written, "classes": rows}


def renewed_classes(content: Mapping[str, object]) -> dict[str, object]:
    """The content of a file of classes, with the current names of the settings."""
    rows = content.get("classes")
    if not isinstance(rows, list):
        return dict(content)
    renewed = [
        {FORMER_SETTINGS.get(str(key), key): value for key, value in row.items()} if isinstance(row, Mapping) else row
        for row in rows
    ]
    return {**content, "classes": renewed}


def read(value: object) -> object:
    """The content of a file of classes, given by its path, or the content itself. bench/config/ checks the settings of
    a class. Raises ValueError with a line for each problem."""
    if value is None:
        return None
    content = value if isinstance(value, Mapping) else _loaded(str(value))
    return _checked(renewed_classes(content) if isinstance(content, Mapping) else content)


def readable(value: object) -> list[tuple[str, dict[str, object]]]:
    """Name and settings of every readable class in an invalid file."""
    try:
        content = value if isinstance(value, Mapping) else _loaded(str(value))
    except ValueError:
        return []
    rows = content.get("classes") if isinstance(content, Mapping) else None
    mappings = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, Sequence) else []
    return [(str(row.get("name")), {key: row[key] for key in CLASS_SETTINGS if key in row}) for row in mappings]


def _loaded(path: str) -> object:
    try:
        return load_yaml(Path(path))
    except OSError as e:
        raise ValueError(f"{path} cannot be read ({e.strerror}): name a YAML file of classes") from e
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply: it needs `classes:` with a list of classes") from None
    except (yaml.YAMLError, ValueError) as e:
        raise ValueError(f"{path}{yaml_problem(e)}") from e


def _checked(content: object) -> dict[str, object]:
    rows = content.get("classes") if isinstance(content, Mapping) else None
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise ValueError("the file must hold `classes:` with a list of classes, each with a name and a share")
    assert isinstance(content, Mapping)
    problems = [f"{key} is not known: the file holds `classes:` alone" for key in content if key != "classes"]
    if len(rows) > MOST_CLASSES:
        raise ValueError(f"{len(rows)} classes are too many: give at most {MOST_CLASSES}")
    checked: list[dict[str, object]] = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            problems.append(f"class {number}: {row!r} has no keys: write name, share and what it sends")
            continue
        settings, wrong = _row(row, number)
        checked.append(settings)
        problems += wrong
    problems += _together(checked)
    if problems:
        raise ValueError("\n".join(problems))
    return {"classes": checked}


def _row(row: Mapping[Any, Any], number: int) -> tuple[dict[str, Any], list[str]]:
    """A class with its normalised keys, and its problems."""
    name = row.get("name")
    place = f"class {name if isinstance(name, str) else number}"
    problems = []
    settings: dict[str, Any] = {}
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        problems.append(f"{place}: name: give letters, digits, dot, dash and underscore (given: {name!r})")
    for key, value in row.items():
        try:
            settings[key] = _CHECKS[key](value) if key in _CHECKS else value
        except ValueError as e:
            problems.append(f"{place}: {key}: {e}")
        if key not in OWN_KEYS and key not in CLASS_SETTINGS:
            near = difflib.get_close_matches(str(key), [*OWN_KEYS, *CLASS_SETTINGS], n=1)
            hint = f": did you mean {near[0]}?" if near else f": a class has {', '.join((*OWN_KEYS, *CLASS_SETTINGS))}"
            problems.append(f"{place}: {key} is not known{hint}")
            del settings[key]
    own = {key: row[key] for key in OF_A_ROW if key in row}
    problems += [f"{place}: {problem}" for problem in own_problems(own)]
    if isinstance(row.get("headers"), Mapping) and MASK in row["headers"].values():
        problems.append(f"{place}: headers: they were stored without their values ({MASK}): give them again")
    if ("share" in row) == ("rate" in row):
        problems.append(f"{place}: give either share (of the requests) or rate (requests per second)")
    return settings, problems


def _together(rows: Sequence[Mapping[str, object]]) -> list[str]:
    problems = []
    names = [row["name"] for row in rows if isinstance(row.get("name"), str)]
    problems += [f"class {name}: name: two classes have it" for name in dict.fromkeys(names) if names.count(name) > 1]
    shares = [row.get("name") for row in rows if "share" in row]
    rates = [row.get("name") for row in rows if "rate" in row]
    if shares and rates:
        problems.append(
            f"class {shares[0]} has a share and class {rates[0]} a rate: give all of them shares, or all of them rates"
        )
    return problems


def _weight(value: object) -> float:
    match = None if isinstance(value, bool) else _SHARE.fullmatch(str(value).strip())
    number = float(match[1]) if match else 0.0
    if not 0 < number <= 1e9:
        raise ValueError(f"must be a number above 0, such as 20 or 20% (given: {value!r})")
    return number


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-5 <= value <= 1e6:
        raise ValueError(f"must be a number of requests per second above 0 (given: {value!r})")
    return float(value)


_CHECKS = {"share": _weight, "rate": _rate}
