"""The types of configuration values: how each is parsed, checked and serialized."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from mockserver.faults import Rule, parse_rule
from mockserver.sampled_times import SampledTimes, parse_sampled_times
from mockserver.step_cost import StepCostSpec, parse_step_cost
from mockserver.steps.scaling import FORM, ScaleSpec, parse_scale
from promptset.distributions import Distribution, parse
from promptset.distributions.values import Dimension


def _distribution(dimension: Dimension) -> PlainValidator:
    def read(value: object) -> Distribution:
        if isinstance(value, Distribution):
            return value
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"{value!r}: write a distribution, for example {'50ms' if dimension == 'time' else '128'}")
        return parse(value, dimension)

    return PlainValidator(read)


TimeDistribution = Annotated[Distribution, _distribution("time"), PlainSerializer(str)]
TokenDistribution = Annotated[Distribution, _distribution("tokens"), PlainSerializer(str)]


def _read_rule(value: object) -> Rule:
    if isinstance(value, Rule):
        return value
    if isinstance(value, int):  # YAML reads `- 429` as a number.
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r}: write a fault, for example 429:rate=0.1")
    return parse_rule(value)


FaultRule = Annotated[Rule, PlainValidator(_read_rule), PlainSerializer(str)]


def _read_step_cost(value: object) -> StepCostSpec:
    if isinstance(value, StepCostSpec):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r}: write a step cost, for example qwen2.5-7b-h100")
    return parse_step_cost(value)


STEP_COST = PlainValidator(_read_step_cost)


def _read_scale(value: object) -> ScaleSpec | None:
    if value is None or isinstance(value, ScaleSpec):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r}: write for example {FORM}")
    return parse_scale(value)


SCALE = PlainValidator(_read_scale)


def _read_sampled_times(value: object) -> SampledTimes | None:
    if value is None or isinstance(value, SampledTimes):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r}: write the name of a JSON file")
    return parse_sampled_times(value)


SAMPLED_TIMES = PlainValidator(_read_sampled_times)


def spec(text: str) -> Any:  # noqa: ANN401 - stands for a value of the field's type, as pydantic's own fields do
    """A default as text. Validation turns it into a distribution."""
    return text


def name_of(value: object) -> str | None:
    """What the user wrote."""
    return None if value is None else str(value)


def masked(keys: tuple[str, ...]) -> list[str]:
    """The keys as displayed."""
    return ["***"] * len(keys)


def as_list(value: object) -> object:
    """Wraps a single value in a list."""
    return [value] if isinstance(value, str | int) else value


def joined(value: object) -> object:
    """Joins a list of names with commas."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def model_names(value: str) -> str:
    """Checks comma-separated names. Raises ValueError for an empty or a repeated name."""
    names = [name.strip() for name in value.split(",")]
    if "" in names or len({*names}) < len(names):
        raise ValueError(f"{value!r}: write a name, or several different ones with commas: one,two")
    return ",".join(names)


def host_name(value: str) -> str:
    """A host name, or *. Raises ValueError."""
    if value != "*" and not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
        raise ValueError(f"{value!r}: write a host name like mock.example, without a port, or *")
    return value.lower()


def origin(value: str) -> str:
    """An origin, or *. Raises ValueError."""
    if value != "*" and not re.fullmatch(r"https?://[^/\s]+", value):
        raise ValueError(f"{value!r}: write an origin like http://localhost:3000, without a path, or *")
    return value
