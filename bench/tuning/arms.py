"""The arms of a race: combinations of flag values, each with its command line and its number of GPUs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from bench.tuning.conditions import Condition, Flags, Value, written

MOST_ARMS = 100
Vary = Literal["grid", "one at a time"]


@dataclass(frozen=True, slots=True)
class Arm:
    """A combination. `varied`: the flags that distinguish it from the other arms."""

    flags: Flags
    varied: tuple[str, ...]
    gpus: int = 1

    @property
    def name(self) -> str:
        """Its varied flags in short, without omitted flags: `max-num-seqs=16 block-size=32`."""
        names = [flag for flag in self.varied if self.flags.get(flag) is not None]
        return " ".join(f"{flag}={written(self.flags[flag])}" for flag in names) or "the default"

    def words(self, template: str, port: int) -> list[str]:
        """Its command line."""
        return command_words(template, self.flags, port)


@dataclass(frozen=True, slots=True)
class Choices:
    """What arms are made from. `values`: the values of each flag, the default first. `needs`: a flag is omitted if its
    condition does not hold."""

    values: Mapping[str, Sequence[Value]]
    listed: Sequence[Flags]
    default: Flags
    exclude: Sequence[Condition]
    needs: Mapping[str, Condition]
    vary: Vary
    gpus: int | str


def arms_of(choices: Choices) -> list[Arm]:
    """All arms, without duplicates, the default first. Raises ValueError if there are fewer than two, or too many."""
    first = {flag: values[0] for flag, values in choices.values.items()} | dict(choices.default)
    combinations = [first, *_combinations(choices, first), *({**first, **listed} for listed in choices.listed)]
    selected: list[dict[str, Value]] = []
    keys: set[tuple[tuple[str, str, bool], ...]] = set()
    for flags in combinations:
        whole = {flag: value for flag, value in flags.items() if _needed(choices, flag, flags)}
        # In their written form: 0 differs from false, and 1 from true, which are equal in Python.
        key = tuple(sorted((flag, written(value), isinstance(value, str | int | float) and not isinstance(value, bool))
                           for flag, value in whole.items()))  # fmt: skip
        if key not in keys and not any(condition.holds(whole) for condition in choices.exclude):
            keys.add(key)
            selected.append(whole)
        elif flags is first and any(condition.holds(whole) for condition in choices.exclude):
            raise ValueError("the default is an excluded combination: change `default` or `exclude`")
    if len(selected) < 2:
        raise ValueError("there is only one combination of flags: give a flag two values or more")
    if len(selected) > MOST_ARMS:
        raise ValueError(
            f"these are {len(selected):,} combinations: give fewer values, exclude some, or write vary: one"
        )
    names = dict.fromkeys(flag for flags in selected for flag in flags)
    varied = tuple(name for name in names if len({written(flags.get(name)) for flags in selected}) > 1)
    if choices.vary == "grid":
        return [Arm(flags, varied, gpus_of(choices.gpus, flags)) for flags in selected]
    return [Arm(flags, _differing(flags, selected[0]), gpus_of(choices.gpus, flags)) for flags in selected]


def _differing(flags: Flags, default: Flags) -> tuple[str, ...]:
    """With one flag varied at a time, the other flags are not informative."""
    return tuple(flag for flag, value in flags.items() if flag not in default or value != default[flag])


def _combinations(choices: Choices, first: Flags) -> list[dict[str, Value]]:
    if choices.vary == "grid":
        return [{**first, **dict(zip(choices.values, row, strict=True))} for row in product(*choices.values.values())]
    return [{**first, flag: value} for flag, values in choices.values.items() for value in values]


def _needed(choices: Choices, flag: str, flags: Flags) -> bool:
    condition = choices.needs.get(flag)
    return condition is None or condition.holds(flags)


def gpus_of(gpus: int | str, flags: Flags) -> int:
    """How many GPUs a combination takes: a number, or the value of a flag such as tensor-parallel-size."""
    value = written(gpus if isinstance(gpus, int) else flags.get(gpus))
    return int(value) if value.isdecimal() else 1


def command_words(template: str, flags: Flags, port: int) -> list[str]:
    """The words of a command: `{port}`, `{FLAG}` for a flag with its own place, and all others in place of `{flags}`.

    A flag is written as it is if its name begins with a dash, else as `--NAME`. true writes the name alone; false and
    null omit the flag.
    """
    words = []
    for word in shlex.split(template):
        if word == "{flags}":
            placed = {flag for flag in flags if f"{{{flag}}}" in template}
            for flag, value in flags.items():
                if flag not in placed and value is not None and value is not False:
                    name = flag if flag.startswith("-") else f"--{flag}"
                    words += [name] if value is True else [name, written(value)]
            continue
        word = word.replace("{port}", str(port))
        for flag, value in flags.items():
            word = word.replace(f"{{{flag}}}", written(value))
        words.append(word)
    return words
