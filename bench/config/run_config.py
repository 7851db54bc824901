"""The resolved configuration of a run: complete and typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, ValidationError

from bench.clock import NS_PER_S
from bench.config import addresses
from bench.config.addresses import Balance, TargetAddress
from bench.config.classes import settings_of
from bench.config.renamed import renewed_config
from bench.config.settings import Settings
from bench.config.values import DEFAULT_PROBES
from bench.endpoints import DEFAULT, urls
from bench.endpoints.choice import content_of, endpoint_of
from bench.endpoints.definition import is_file
from bench.errors import UsageError
from bench.metrics import objectives
from bench.metrics.objectives import Objective
from bench.metrics.precision import DEFAULT_CAP_S
from bench.modes import DEFAULT_MODE, MODES
from bench.modes.interface import DEFAULT_BATCH_INPUTS, DEFAULT_OUTPUT_TOKENS, MOST_AUTO_WARMUP_S, Mode, inputs_of
from bench.modes.rate import Rate
from bench.modes.share import RunLength
from bench.schedule.merged import MergedPlaces
from bench.schedule.segments import lasts_ns, most
from bench.sources.interface import SourceSpec
from bench.traffic import cancel, models
from bench.traffic.cancel import CancelPlan
from bench.traffic.classes import TrafficClass
from bench.traffic.shares import Shares
from bench.verdict.limits import Limits
from bench.workload.tracing import Tracing
from promptset.probes import Probe, make_probes, parse_probes
from promptset.samples import Sample
from promptset.tokens import SERVER

if TYPE_CHECKING:
    from bench.accuracy.load_shape import LoadKind

SECRETS = {"api_key", "header"}
"""Settings that a run directory stores masked."""


class RunConfig(Settings):
    """The settings and everything derived from them. `load` has every value that its mode needs."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    endpoint: str
    mode: str
    load: Mode = Field(exclude=True)
    classes: tuple[RunClass, ...] = Field((), exclude=True)
    """The classes of --mix; empty if all requests are of one kind."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of the run and of its classes."""
        of_classes = (objective for traffic in self.classes for objective in traffic.objectives)
        return (*objectives.parse(self.slo), *of_classes)

    @property
    def plans_sharing(self) -> bool:
        """Whether all sharing between prompts is planned, so that prompts without a plan share nothing. For probes, the
        records define the sharing."""
        return (
            all(traffic.config.data.plans_sharing for traffic in self.classes)
            if self.classes
            else self.data.plans_sharing
        )

    @property
    def addresses(self) -> tuple[TargetAddress, ...]:
        """The addresses to load, one or several."""
        return self.targets or (TargetAddress.model_construct(url=self.url),)

    def at_address(self, address: TargetAddress) -> RunConfig:
        """The same settings for a single address."""
        return self.model_copy(update={"url": address.url, "targets": (address,)})

    @property
    def balancing(self) -> Balance:
        """How the next of several addresses is chosen."""
        if self.balance is not None:
            return self.balance
        return "weighted" if any(target.weight != 1 for target in self.targets) else "round_robin"

    def kind_for(self, workers: int) -> LoadKind:
        """The kind of the load with this many workers, for finding certificates that cover it."""
        from bench.accuracy.load_shape import LoadKind  # Imported late: few runs have a certificate.

        return LoadKind(
            loop="open loop" if self.load.open_loop else "closed loop",
            transport=self.transport,
            stream="streamed" if self.stream else "whole",
            tls=self.url.startswith("https:"),
            workers=workers,
            endpoint=self.endpoint_names,
        )

    @property
    def endpoint_names(self) -> str:
        """The name of the endpoint; with classes, the names of their endpoints."""
        return ", ".join(dict.fromkeys(traffic.config.endpoint for traffic in self.classes)) or self.endpoint

    @property
    def data(self) -> SourceSpec:
        return self.load.data(self)

    @property
    def class_places(self) -> Callable[[int], tuple[int, int]] | None:
        """Maps a request's number to its class, as an index into `classes`, and to the number of earlier requests of
        that class; None without classes. Only the seed and the number determine the result."""
        load, seed, mix = self.load, self.seed, self.traffic
        if mix is None:
            return None
        if isinstance(load, Rate) and load.classes:
            return MergedPlaces(load.arrivals_of_classes, len(load.classes)).place
        shares = mix.shares
        return lambda number: shares.place(seed, number)

    @property
    def class_of(self) -> Callable[[int], str] | None:
        """Maps a request's number to the name of its class; None without classes."""
        places, names = self.class_places, [traffic.name for traffic in self.classes]
        return None if places is None else lambda number: names[places(number)[0]]

    def make_probes(self) -> list[Probe]:
        """The probes of --check-answers, the same in every run with the seed. Raises SpecError if a set cannot be read."""
        parts = parse_probes(self.probes or DEFAULT_PROBES)
        if self.probes is None and not endpoint_of(self).takes_tools:
            parts = tuple(part for part in parts if part.source != "tool")
        return make_probes(parts, seed=self.seed)

    @property
    def probe_of(self) -> Callable[[int], int | None] | None:
        """Maps a request's number to its index among all probes asked, or to None for an ordinary request.

        None without --check-answers. The probes are asked in order, repeatedly.
        """
        share, seed = self.check_answers, self.seed
        if share is None:
            return None
        shares = Shares(("load", "probes"), (1 - share, share))

        def place(number: int) -> int | None:
            which, before = shares.place(seed, number)
            return before if which else None

        return place

    @property
    def tracing(self) -> Tracing | None:
        """Selects the requests to trace; None if none are traced."""
        return None if self.trace_share is None else Tracing(self.trace_share, self.seed)

    @property
    def cancel_of(self) -> Callable[[int], int | None] | None:
        """Maps a request's number to the time from its send until the user leaves, or to None for a user who stays;
        None if all stay."""
        places, seed = self.class_places, self.seed
        plans = [traffic.config.cancel_plan for traffic in self.classes] or [self.cancel_plan]
        if plans == [None] * len(plans):
            return None

        def after_ns(number: int) -> int | None:
            plan = plans[0 if places is None else places(number)[0]]
            return None if plan is None else plan.after_ns(seed, number)

        return after_ns

    @property
    def models(self) -> Shares | None:
        """The named models; None if the server's own model is used."""
        return None if self.model is None else models.parse(self.model)

    @property
    def cancel_plan(self) -> CancelPlan | None:
        """Which users give up; None if all stay."""
        return None if self.cancel is None else cancel.parse(self.cancel)

    @property
    def server_counts(self) -> bool:
        """Whether prompts are made with token counts from a server: the run's server, or the one at a URL."""
        spec = self.tokenizer
        return spec is not None and (spec == SERVER or spec.startswith(("http://", "https://")))

    @property
    def length(self) -> RunLength:
        """When the load ends."""
        warmup_s = max(MOST_AUTO_WARMUP_S, self.ramp_up) if self.finds_warmup else self.warmup_s
        warmup_ns = round(warmup_s * NS_PER_S)
        return RunLength(
            requests=self.requests,
            duration_ns=None if self.duration is None else round(self.duration * NS_PER_S),
            warmup_requests=self.warmup_requests,
            warmup_ns=warmup_ns,
            finds_warmup=self.finds_warmup,
            ends_ns=warmup_ns + lasts_ns(self.segments) if self.segments else None,
        )

    @property
    def fixed_load(self) -> str | None:
        """Why the load cannot be changed during the run, as a sentence; None if it can."""
        if self.load.load_unit is None:
            modes = ", ".join(mode.name for mode in MODES.values() if mode.load_units)
            return f"mode {self.mode} has no load that can be set while it runs: the modes {modes} have"
        if self.segments:
            return f"{self.segments_flag} already plans how this load changes"
        if self.ramp_up:
            return f"--ramp-up {self.ramp_up:g}s already plans when users start"
        if self.sessions_begin == "middle":
            return "--sessions-begin middle plans how this load begins, so it cannot be changed"
        return "--until needs a constant load, so it cannot be changed" if self.until else None

    def at(self, path: Path) -> RunConfig:
        """The same run, with this directory for its output."""
        return self.model_copy(update={"out": str(path)})

    @property
    def most_per_s(self) -> float | None:
        """The greatest rate, in requests per second; None if the load is set by users, a recording or sessions."""
        if self.mode == "sessions":
            return None
        return most(self.segments) if self.segments and self.mode == "rate" else self.rate

    @property
    def most_users(self) -> int | None:
        """The greatest number of users; None if there are none."""
        return round(most(self.segments)) if self.segments and self.mode != "rate" else self.concurrency

    def asked_for(self) -> dict[str, object]:
        """The settings that differ from their defaults: they reproduce this configuration, and may be overridden."""
        defaults = Settings(url="http://unknown")
        asked = {
            name: value for name in Settings.model_fields if (value := getattr(self, name)) != getattr(defaults, name)
        }
        if asked.pop("targets", ()):
            asked["url"] = addresses.written([target.model_dump() for target in self.targets])
        return asked

    def with_values(self, **changes: object) -> RunConfig:
        """The same settings with these changes, and everything derived from them."""
        current = {name: getattr(self, name) for name in Settings.model_fields}
        return complete(Settings.model_construct(**(current | changes)))

    @classmethod
    def stored(cls, content: Mapping[str, Any]) -> RunConfig:
        """A configuration from a run directory, of this version or an older one.

        Nothing is checked again, because its files may be gone. The masked secrets and unknown keys are left out;
        missing keys have their defaults. Raises UsageError if the mode is unknown or lacks a value.
        """
        try:
            return cls._stored(content)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as e:  # Also a ValidationError.
            message = _first_error(e) if isinstance(e, ValidationError) else str(e)
            raise UsageError(f"the configuration in run.yaml is damaged: {' '.join(message.split())[:300]}") from e

    @classmethod
    def _stored(cls, content: Mapping[str, Any]) -> RunConfig:
        renamed = renewed_config(content)
        known = {key: value for key, value in renamed.items() if key in Settings.model_fields.keys() - SECRETS}
        for place, number in _numbers_in(known):
            if not isfinite(number):
                raise ValueError(f"{place} must be a number, not {number}")
        limits = {key: value for key, value in known.get("limits", {}).items() if key in Limits.model_fields}
        try:
            known |= {"limits": Limits.model_validate(limits), "slo": tuple(known.get("slo", ()))}
        except ValidationError as e:
            raise ValueError(_first_error(e, "limits.")) from e
        known["until"] = tuple(known.get("until", ()))
        known["targets"] = tuple(TargetAddress.model_construct(**row) for row in known.get("targets", ()))
        known["expect"] = tuple(known.get("expect", ()))
        if "server_metrics" in known:
            known["server_metrics"] = tuple(known["server_metrics"])
        config = complete(Settings.model_construct(**known))
        # Both raise if a value does not have its type.
        config.model_dump(mode="json", warnings="error")
        objectives.parse(config.slo)
        # These settings are stored as text and parsed on access; each raises if that is impossible.
        _ = (config.length, config.models, config.cancel_plan, config.classes)
        return config


def _first_error(error: ValidationError, within: str = "") -> str:
    first = error.errors()[0]
    return f"{within}{'.'.join(map(str, first['loc']))}: {first['msg']} (given: {first['input']})"


def _numbers_in(value: object, place: str = "") -> Iterator[tuple[str, float]]:
    """Every float in a setting, with its place."""
    if isinstance(value, float):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers_in(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _numbers_in(item, f"{place}[{number}]")


@dataclass(frozen=True, slots=True)
class RunClass:
    """A class of the run, and the configuration of its requests."""

    traffic: TrafficClass
    config: RunConfig

    @property
    def name(self) -> str:
        return self.traffic.name

    @property
    def way(self) -> Sample:
        """How its requests differ in destination from the run's own; empty if nothing is set. The models are drawn later."""
        endpoint = self.traffic.settings.get("endpoint")
        return Sample(prompt="", endpoint=endpoint, headers=self.traffic.headers, priority=self.traffic.priority)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of the class, for its requests only."""
        return tuple(objective.of("class", self.name) for objective in objectives.parse(self.config.slo))


def implied_mode(settings: Settings) -> str:
    """The given mode, or the mode that the other settings imply."""
    if settings.mode is not None:
        return settings.mode
    return next((mode.name for mode in MODES.values() if mode.implied_by(settings)), DEFAULT_MODE)


def complete(settings: Settings) -> RunConfig:
    """The configuration from settings that fit together, with defaults for the missing ones. Raises UsageError otherwise."""
    name = implied_mode(settings)
    if name not in MODES:
        raise UsageError(f"the mode {name!r} is not one of {', '.join(MODES)}")
    mode = MODES[name]
    if settings.until and settings.requests is None and settings.duration is None:
        settings = settings.model_copy(update={"duration": DEFAULT_CAP_S})
    named = urls.endpoint_of(settings.url)
    filled: dict[str, Any] = {"mode": name, **mode.defaults(settings)}
    if settings.api is None and settings.endpoint is not None and is_file(settings.endpoint):
        filled["api"] = content_of(settings)
    if settings.endpoint is None:
        filled["endpoint"] = DEFAULT if named is None else named
    inputs_are, mix = inputs_of(settings), settings.traffic
    if not endpoint_of(settings).streams:
        filled["stream"] = False
    if mix is None:
        filled |= _lengths(settings, inputs_are)
    whole = settings.model_copy(update=filled)
    load, classes = mode.of(whole), tuple[RunClass, ...]()
    if mix is not None:
        classes = tuple(
            RunClass(traffic, complete(settings_of(settings, name, mix, traffic))) for traffic in mix.classes
        )
        if mix.rates:
            assert isinstance(load, Rate), "resolution refuses rates of classes with another mode"
            load = load.with_classes([traffic.config.load for traffic in classes])
    return RunConfig.model_construct(**dict(whole), load=load, classes=classes)


def _lengths(settings: Settings, inputs_are: str | None) -> dict[str, object]:
    if not endpoint_of(settings).counts_tokens or endpoint_of(settings).takes_audio:
        return {}
    if inputs_are in DEFAULT_BATCH_INPUTS:
        made = settings.batch_inputs is None and (settings.dataset is None or settings.recipe is not None)
        return {"batch_inputs": DEFAULT_BATCH_INPUTS[inputs_are]} if made else {}
    input_tokens = endpoint_of(settings).input_tokens
    if input_tokens is not None and settings.dataset is None and "input_tokens" not in settings.model_fields_set:
        return {"input_tokens": input_tokens}
    made = inputs_are is None and settings.dataset is None and settings.output_tokens is None
    return {"output_tokens": DEFAULT_OUTPUT_TOKENS} if made else {}
