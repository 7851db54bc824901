"""Compares the settings of sides: those that must be equal, and everything else that differs.

Runs can be compared if they sent the same load to the same kind of endpoint. So every setting must be equal, except
those in MAY_DIFFER, which say where and how it was measured, and those in LABELS, which do not change any number. Every
difference is listed before any number, whether it is in MAY_DIFFER or was allowed with `--allow`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from bench.comparison.sides import MeasuredRun, Side
from bench.errors import UsageError
from bench.manifest import DATA_FILES

LABELS = frozenset({"out", "name", "format", "quiet", "details", "model", "api_key", "header"})
"""Settings that do not affect any number. The model is compared as the run detected it (in the manifest); secrets are
not stored."""

MAY_DIFFER = {
    "url": "target",
    "targets": "target",
    "resolve_all": "target",
    "replica_header": "target",
    "ca_file": "target",
    "insecure": "target",
    "client_cert": "target",
    "client_key": "target",
    "proxy": "target",
    "requests": "length",
    "duration": "length",
    "until": "length",
    "warmup": "length",
    "seed": "configuration",
    "slo": "configuration",
    "max_errors": "configuration",
    "limits": "configuration",
    "check_usage": "configuration",
    "timeout": "configuration",
    "connect_timeout": "configuration",
    "first_byte_timeout": "configuration",
    "idle_timeout": "configuration",
    "probe_timeout": "configuration",
    "wait_for_server": "configuration",
    "watch_scale": "configuration",
    "transport": "client",
    "workers": "client",
    "cluster": "client",
    "workers_per_node": "client",
    "runtime_env": "client",
    "cpu_priority": "client",
}
"""Settings that may differ, and the group in which they are listed. All other settings must be equal."""

_NOT_OF_CLASSES = ("name", "headers", "slo")
"""Keys of a traffic class that do not change any number."""

WORKLOAD = "workload"
OTHER_LENGTH = "the runs are of different length: their starts and their tails weigh differently"


@dataclass(frozen=True, slots=True)
class Variation:
    """Something that differs between sides: its value on each, as text. `refused`: it must be equal."""

    group: str
    name: str
    values: tuple[str, ...]
    refused: bool


def must_be_equal(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that define the load."""
    workload = {name: value for name, value in settings.items() if name not in LABELS and name not in MAY_DIFFER}
    if (mix := workload.get("mix")) is not None:
        workload["mix"] = {
            row["name"]: {key: value for key, value in row.items() if key not in _NOT_OF_CLASSES}
            for row in mix["classes"]
        }
    return workload


def workload_of(run: MeasuredRun) -> dict[str, object]:
    """Everything that must be equal: the settings of the load, the model, and the loads set by `set-load`."""
    return {"model": run.manifest.model, **must_be_equal(run.settings), "set_load": _changes(run)}


def refuse_unknown(allow: Iterable[str], equal: Collection[str]) -> None:
    """Raises UsageError if a name of `--allow` is none of those that must be equal."""
    if unknown := [name for name in allow if name not in equal]:
        near = [close for name in unknown for close in difflib.get_close_matches(name, equal, n=2)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"these must: {', '.join(equal)}"
        raise UsageError(f"--allow {','.join(unknown)}: not a setting that must be equal; {hint}")


def data_names(files: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The name of each data file, by the SHA-256 of its content: its path, followed by the digest if another content has the
    same path. `files` has the digests of each run by path."""
    names: dict[str, str] = {}
    for path, digest in chain.from_iterable(each.items() for each in files):
        names.setdefault(digest, path)
    paths = list(names.values())
    return {
        digest: path if paths.count(path) == 1 else f"{path} with sha256 {digest[:12]}"
        for digest, path in names.items()
    }


def by_content(workload: Mapping[str, object], files: Mapping[str, str], names: Mapping[str, str]) -> dict[str, object]:
    """The workload with the name of each data file's content (`names`) in place of its path, if the run knows its digest
    (`files`)."""

    def called(name: str, value: object) -> object:
        if isinstance(value, Mapping):  # A class of traffic, or all of them.
            return {key: called(key, item) for key, item in value.items()}
        return names[files[value]] if name in DATA_FILES and isinstance(value, str) and value in files else value

    return {name: called(name, value) if name in ("mix", *DATA_FILES) else value for name, value in workload.items()}


def _changes(run: MeasuredRun) -> list[str] | None:
    """The loads that `set-load` set during the run; None if there are none."""
    return [f"{change.to:g} from {change.at_s:.0f} s" for change in run.summary.changes] or None


def variations(sides: Sequence[Side], allow: Iterable[str] = ()) -> list[Variation]:
    """Everything that differs between the sides; what must be equal comes first."""
    allowed = set(allow)
    differences = []
    names = data_names(run.manifest.data_sha256 for side in sides for run in side.runs)

    def workload(run: MeasuredRun) -> Mapping[str, object]:
        return by_content(workload_of(run), run.manifest.data_sha256, names)

    for group, values_of in {WORKLOAD: workload, **_GROUPS}.items():
        of_runs = [[values_of(run) for run in side.runs] for side in sides]
        for name in dict.fromkeys(name for runs in of_runs for values in runs for name in values):
            texts = iter(texts_of(name, [values.get(name) for runs in of_runs for values in runs]))
            shown = tuple(" | ".join(dict.fromkeys(islice(texts, len(runs)))) for runs in of_runs)
            within = group == WORKLOAD and any(_several(runs, name) for runs in of_runs)
            if len({*shown}) > 1 or within:
                where = MAY_DIFFER.get(name, group) if group == "settings" else group
                refused = group == WORKLOAD and name not in allowed
                differences.append(Variation(where, name, shown, refused))
    return differences


def refuse_other_loads(differences: Sequence[Variation], sides: Sequence[Side]) -> None:
    """Raises UsageError if something differs that must be equal."""
    wrong = [variation for variation in differences if variation.refused]
    if wrong:
        names = ",".join(variation.name for variation in wrong)
        who = " and ".join(side.name for side in sides)
        raise UsageError(
            f"{who} cannot be compared: they differ in {_list_of(wrong)}. If you mean to measure this change, add "
            f"--allow {names}"
        )


def refuse_several_loads(runs: Sequence[MeasuredRun]) -> None:
    """Raises UsageError if runs to be judged together differ in something that must be equal."""
    side = Side("", runs[0].directory, tuple(runs))
    if wrong := [variation for variation in variations([side]) if variation.refused]:
        raise UsageError(f"the runs cannot be judged together: they differ in {_list_of(wrong)}; give runs of one load")


def _list_of(wrong: Sequence[Variation]) -> str:
    parts = []
    for variation in wrong:
        same = len({*variation.values}) == 1
        values = variation.values[0] if same else " against ".join(variation.values)
        parts.append(f"{variation.name} ({values})")
    return ", ".join(parts)


def _settings(run: MeasuredRun) -> Mapping[str, object]:
    return {name: value for name, value in run.settings.items() if name in MAY_DIFFER}


def _versions(run: MeasuredRun) -> Mapping[str, object]:
    return run.manifest.versions


def _machine(run: MeasuredRun) -> Mapping[str, object]:
    return run.manifest.host


_GROUPS = {"settings": _settings, "versions": _versions, "machine": _machine}


def _several(runs: Sequence[Mapping[str, object]], name: str) -> bool:
    return any(values.get(name) != runs[0].get(name) for values in runs)


def texts_of(name: str, values: Sequence[object]) -> list[str]:
    """The values of the setting `name`, as texts for people; with every digit and quote if they differ only in those."""
    texts = [text_of(name, value) for value in values]
    hidden = len({*texts}) == 1 and any(value != values[0] for value in values)
    return [str(value) for value in values] if hidden else texts


def text_of(name: str, value: object) -> str:
    """The value of the setting `name`, as text for people."""
    if name == "server_metrics" and not value:
        return "auto"  # The list holds the pages of `--server-metrics`, or `off`; for `auto` it is empty.
    if value is None:
        return "not set"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) if value else "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text_of(key, item)}" for key, item in value.items())
    return str(value)
