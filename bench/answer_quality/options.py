"""The options that `quality` has in addition to the settings of its loaded run, and the configurations of its three runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.config.flags import Option
from bench.config.run_config import complete
from bench.config.settings import Settings
from bench.config.settings.engine import Engine
from bench.config.settings.limits import LimitsOfRun
from bench.config.settings.target import Target
from bench.errors import UsageError
from bench.statistics.paired_shares import MARGIN
from promptset.errors import SpecError

DEFAULT_SHARE = "5%"
DEFAULT_ALONE = 2
MOST_ALONE = 100
OPTIONS = (
    Option("share", "SHARE", f"share of the loaded run's requests that are probes (default: {DEFAULT_SHARE[:-1]}%%)"),
    Option("alone", "N", f"how often to ask each probe alone before the load (default: {DEFAULT_ALONE}; 2 or more)"),
    Option("margin", "P", f"a smaller change of a share of answers counts as none (default: {MARGIN * 100:g}%%)"),
)
ANSWERED = {
    "check_answers": "--share says how many requests are probes",
    "store_texts": "the texts of probes are stored anyway",
    "until": "the comparison needs a load of a planned length: give --duration or --requests",
}
"""Settings of a run that quality sets itself."""
_KEPT_ALONE = (
    *(name for name in (*Target.model_fields, *Engine.model_fields, *LimitsOfRun.model_fields) if name != "slo"),
    "probes", "seed", "name", "format", "quiet", "details",
)  # fmt: skip
"""Settings that the runs without load share with the loaded run."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Three runs, by their names. `probes`: the number of probes."""

    loaded: RunConfig
    probes: int
    times: int
    margin: float
    strict: bool = False

    def runs(self, folder: Path) -> dict[str, RunConfig]:
        """The configurations in the order of the series."""
        return {
            "alone": self._alone(folder / "alone", self.probes * self.times),
            "loaded": self.loaded.at(folder / "loaded"),
            "back": self._alone(folder / "back", self.probes),
        }

    def _alone(self, path: Path, requests: int) -> RunConfig:
        """One user who asks the probes one after another."""
        base = {name: getattr(self.loaded, name) for name in _KEPT_ALONE}
        alone = {"mode": "concurrency", "concurrency": 1, "requests": requests, "warmup": "0", "workers": "1"}
        settings = Settings.model_construct(**{**base, **alone, "check_answers": 1.0, "cluster": None})
        return complete(settings).at(path)


def plan(
    settings: Mapping[str, Any],
    own: Mapping[str, str],
    resolved: Callable[[dict[str, Any]], RunConfig],
    problems: Sequence[str] = (),
    *,
    strict: bool = False,
) -> Plan:
    """The three runs, from the given settings and quality's `own` options (OPTIONS).

    `resolved` makes the configuration of the loaded run. Raises UsageError with every problem.
    """
    wrong = list(problems)
    wrong += [
        f"--{name.replace('_', '-')} cannot be combined with quality: {instead}"
        for name, instead in ANSWERED.items()
        if settings.get(name)
    ]
    times, margin = _times(own.get("alone"), wrong), _margin(own.get("margin"), wrong)
    loaded, probes = None, 0
    try:
        loaded = resolved({"check_answers": own.get("share", DEFAULT_SHARE)})
        if loaded.check_answers == 1:
            wrong.append("--share 100%: the loaded run needs other requests than probes: give a smaller share")
        probes = len(loaded.make_probes())
    except UsageError as e:
        wrong += [problem.replace("--check-answers", "--share") for problem in e.problems]
    except SpecError as e:
        wrong += [f"--probes: {problem}" for problem in e.problems]
    if wrong or loaded is None:
        raise UsageError(wrong)
    return Plan(loaded, probes, times, margin, strict)


def _times(text: str | None, wrong: list[str]) -> int:
    if text is None:
        return DEFAULT_ALONE
    if text.strip().isdecimal() and 2 <= int(text) <= MOST_ALONE:
        return int(text)
    wrong.append(
        f"--alone {text}: give a whole number from 2 to {MOST_ALONE}; the first answer is what others are compared with"
    )
    return DEFAULT_ALONE


def _margin(text: str | None, wrong: list[str]) -> float:
    if text is None:
        return MARGIN
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        wrong.append(f"--margin {text}: not a share between 0 and 1; write 1% or 0.01")
    return value
