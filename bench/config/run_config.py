"""The resolved configuration of a run: complete, and typed by what the run needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from bench import cancel, models
from bench.cancel import CancelPlan
from bench.clock import NS_PER_S
from bench.config.settings import Settings
from bench.endpoints import DEFAULT, urls
from bench.errors import UsageError
from bench.metrics.precision import DEFAULT_CAP_S
from bench.models import ModelMix
from bench.modes import DEFAULT_MODE, MODES
from bench.modes.interface import DEFAULT_BATCH_INPUTS, DEFAULT_OUTPUT_TOKENS, Mode, inputs_of
from bench.modes.share import RunLength
from bench.schedule.segments import lasts_ns, most
from bench.sources.interface import SourceSpec
from bench.verdict.limits import Limits

SECRETS = {"api_key", "header"}
"""What a run directory keeps masked."""


class RunConfig(Settings):
    """The settings with what follows from them. `load` has every value that its mode needs."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    endpoint: str
    mode: str
    load: Mode = Field(exclude=True)

    @property
    def data(self) -> SourceSpec:
        """What is sent."""
        return self.load.data(self)

    @property
    def models(self) -> ModelMix | None:
        """The models that are named; None where the server's own is used."""
        return None if self.model is None else models.parse(self.model)

    @property
    def cancel_plan(self) -> CancelPlan | None:
        """Which users give up; None where all stay."""
        return None if self.cancel is None else cancel.parse(self.cancel)

    @property
    def length(self) -> RunLength:
        """When the load ends."""
        warmup_ns = round(self.warmup_s * NS_PER_S)
        return RunLength(
            requests=self.requests,
            duration_ns=None if self.duration is None else round(self.duration * NS_PER_S),
            warmup_requests=self.warmup_requests,
            warmup_ns=warmup_ns,
            ends_ns=warmup_ns + lasts_ns(self.segments) if self.segments else None,
        )

    @property
    def fixed_load(self) -> str | None:
        """Why the load cannot be changed while it runs, as a sentence; None where it can."""
        if self.load.load_unit is None:
            modes = " and ".join(mode.name for mode in MODES.values() if mode.load_unit is not None)
            return f"mode {self.mode} has no load that can be set while it runs: the modes {modes} have"
        if self.segments:
            return f"{self.segments_flag} plans how this load changes, so nobody else may change it"
        if self.ramp_in_s:
            return f"--ramp {self.ramp} plans when users come, so nobody else may change their number"
        return "--until needs a load that stays, so it cannot be changed" if self.until else None

    def at(self, path: Path) -> RunConfig:
        """The same run, into this directory."""
        return self.model_copy(update={"out": str(path)})

    @property
    def most_per_s(self) -> float | None:
        """The greatest rate, in requests per second; None where users or a recording set it."""
        return most(self.segments) if self.segments and self.mode == "rate" else self.rate

    @property
    def most_users(self) -> int | None:
        """The greatest number of users; None where there are none."""
        return round(most(self.segments)) if self.segments and self.mode != "rate" else self.concurrency

    def with_values(self, **changes: Any) -> RunConfig:
        """The same settings but for these, with what follows from them."""
        kept = {name: getattr(self, name) for name in Settings.model_fields}
        return complete(Settings.model_construct(**(kept | changes)))

    @classmethod
    def stored(cls, content: Mapping[str, Any]) -> RunConfig:
        """A configuration as a run directory keeps it, of this version or an older one.

        Nothing is checked again: its files may be gone. Its secrets, which are masked, are left out, as are keys that are not
        known; those that are missing have their defaults. Raises UsageError where the mode is not known or lacks a value.
        """
        known = {key: value for key, value in content.items() if key in Settings.model_fields.keys() - SECRETS}
        limits = {key: value for key, value in known.get("limits", {}).items() if key in Limits.model_fields}
        known |= {"limits": Limits.model_validate(limits), "slo": tuple(known.get("slo", ()))}
        known["until"] = tuple(known.get("until", ()))
        if "server_metrics" in known:
            known["server_metrics"] = tuple(known["server_metrics"])
        if "ramp" in known:  # A number of seconds, before loads could rise.
            known["ramp"] = str(known["ramp"])
        return complete(Settings.model_construct(**known))


def implied_mode(settings: Settings) -> str:
    """The mode that was given, or the one that the other settings imply."""
    if settings.mode is not None:
        return settings.mode
    return next((mode.name for mode in MODES.values() if mode.implied_by(settings)), DEFAULT_MODE)


def complete(settings: Settings) -> RunConfig:
    """The configuration of settings that go together: what was not given has its default. Raises UsageError else."""
    name = implied_mode(settings)
    if name not in MODES:
        raise UsageError(f"the mode {name!r} is not one of {', '.join(MODES)}")
    mode = MODES[name]
    if settings.until and settings.requests is None and settings.duration is None:
        settings = settings.model_copy(update={"duration": DEFAULT_CAP_S})
    named = urls.endpoint_of(settings.url)
    filled: dict[str, Any] = {"mode": name, **mode.defaults(settings)}
    if settings.endpoint is None:
        filled["endpoint"] = DEFAULT if named is None else named
    inputs_are = inputs_of(settings)
    if inputs_are is not None:
        filled["stream"] = False
        if settings.batch_inputs is None and (settings.dataset is None or settings.recipe is not None):
            filled["batch_inputs"] = DEFAULT_BATCH_INPUTS[inputs_are]
    elif settings.dataset is None and settings.output_tokens is None:
        filled["output_tokens"] = DEFAULT_OUTPUT_TOKENS
    whole = settings.model_copy(update=filled)
    return RunConfig.model_construct(**dict(whole), load=mode.of(whole))
