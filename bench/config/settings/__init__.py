"""The settings of a run, declared once: each field has its default, unit and a line of documentation.

Each group of `--help` is a file here: `target.py`, `load.py`, `data.py`, `http.py`, `limits.py`, `engine.py`,
`telemetry.py`, `output.py`. A new setting is a field in one of them.

The same model serves the flags (`bench/config/flags.py` makes them from its fields), the YAML file of `--config`, and
the `config` part of a run directory's run.yaml. `bench/config/resolution.py` turns given settings into a complete
configuration.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from bench.config import values
from bench.config.segments import line_of, steps_of
from bench.config.settings.data import Data
from bench.config.settings.engine import Engine
from bench.config.settings.http import Http
from bench.config.settings.limits import LimitsOfRun
from bench.config.settings.load import Load
from bench.config.settings.output import Output
from bench.config.settings.target import Target
from bench.config.settings.telemetry import TelemetryOfRun
from bench.modes.interface import AUTO_WARMUP
from bench.schedule.segments import Segment, lasts_ns
from bench.secrets import public_address, public_body, public_text, public_url
from bench.traffic.classes import TrafficMix, masked, mix_of
from promptset import recipes


class Settings(
    Output, TelemetryOfRun, Engine, LimitsOfRun, Http, Data, Load, Target
):  # pydantic puts the fields of the last base first
    """All settings of a run. Times are in seconds here, and in ns everywhere else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def recipe(self) -> str | None:
        """The recipe that the data set names; None if it is a file of rows, or there is no data set."""
        if self.dataset is None:
            return None

        return self.dataset if recipes.is_recipe(self.dataset) else None

    @property
    def traffic(self) -> TrafficMix | None:
        return mix_of(self.mix)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The loads of --steps or --ramp; empty if the load is constant."""
        if self.steps is not None:
            return steps_of(self.steps)
        return () if self.ramp is None else line_of(self.ramp)

    @property
    def segments_flag(self) -> str:
        """The flag that defines the segments."""
        return "--ramp" if self.steps is None else "--steps"

    @property
    def lasts_s(self) -> float | None:
        """How many seconds requests are sent after the warm-up; None if time does not end the load."""
        return lasts_ns(self.segments) / 1e9 if self.segments else self.duration

    @property
    def warmup_requests(self) -> int:
        """Warm-up requests; 0 if the warm-up is a time or automatic."""
        return int(self.warmup) if self.warmup.isdecimal() else 0

    @property
    def warmup_s(self) -> float:
        """Warm-up in seconds; 0 if the warm-up is a number of requests or automatic."""
        return 0.0 if self.warmup.isdecimal() or self.finds_warmup else values.seconds(self.warmup)

    @property
    def finds_warmup(self) -> bool:
        """Whether the run detects the end of its warm-up."""
        return self.warmup == AUTO_WARMUP

    def public(self) -> dict[str, Any]:
        """The settings for storing and showing, including defaults; secrets are `***`."""
        shown = self.model_dump(mode="json")
        shown["url"] = public_url(self.url)
        shown["proxy"] = None if self.proxy is None else public_url(self.proxy)
        for address in shown["targets"]:
            address["url"] = public_url(address["url"])
        shown["gpu_metrics"] = public_url(self.gpu_metrics)
        shown["otlp"] = None if self.otlp is None else public_url(self.otlp)
        shown["server_metrics"] = [public_url(page) for page in self.server_metrics]
        shown["tokenizer"] = None if self.tokenizer is None else public_address(self.tokenizer)
        shown["extra_body"] = public_body(shown["extra_body"])
        for name in ("body", "body_template"):
            shown[name] = None if shown[name] is None else public_text(shown[name])
        if self.mix is not None:
            shown["mix"] = masked(self.mix)
        if self.api_key is not None:
            shown["api_key"] = "***"
        shown["header"] = [f"{h.partition(':')[0]}: ***" for h in self.header]
        return shown

    def changed(self) -> dict[str, object]:
        """The public settings that differ from their defaults. Settings of the output are left out."""
        defaults = Settings.model_construct(url="").public()
        shown = self.public()
        apart = ("out", "format", "quiet", "details")
        return {key: shown[key] for key in Settings.model_fields if key not in apart and shown[key] != defaults[key]}
