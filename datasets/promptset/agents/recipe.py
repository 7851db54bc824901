"""Recipes of agents' sessions in YAML: the fields, the allowed values, and a report of all problems at once.

turns: gamma:mean=61,cv=0.86              # requests of the main agent
first_context: lognormal:median=20000,sigma=0.35     # tokens of the first; or a list of {share, tokens}
system: {tokens: "15000", shared: false}  # what each conversation of a session begins with
growth: lognormal:median=325,sigma=1.55   # tokens that a turn adds to the answer before it
output_tokens: lognormal:median=220,sigma=1.16
context_limit: 200000                     # where it is reached, the context is compacted
compaction: {share: 0.45%, keeps: 15%..60%}
cache_break: {share: 1.5%}                # turns whose context is new behind the system prompt
pauses: {human: {share: 13%, time: "exp:mean=60s"}, tool: {time: "exp:mean=5s"}}
sub_agents: {share: 1%, agents: "uniform:1..3", turns: "exp:mean=5", first_context: "20000"}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from promptset.distributions import Dimension, Distribution, parse
from promptset.errors import SpecError

Mixture = tuple[tuple[float, Distribution], ...]
"""Shares that sum to 1, and the distribution of each."""

_MISSING = object()
LEAST_LIMIT = 1_000
"""The minimum context limit in tokens. In a smaller one, the template's own tokens take too much room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgents:
    """Agents next to the main agent. After a `share` of its turns, `agents` of them start, and its next turn waits for
    them."""

    share: float
    agents: Distribution
    turns: Distribution
    first_context: Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecipe:
    """The distributions that sessions are drawn from. Tokens are those of whole prompts and answers; `scale` multiplies
    all draws."""

    about: str
    source: str
    turns: Distribution
    first_context: Mixture
    system: Distribution
    shared_system: bool
    """Whether all sessions have the same system prompt."""
    growth: Distribution
    output_tokens: Distribution
    context_limit: int
    """The maximum tokens of a prompt and its answer together."""
    compaction_share: float
    compaction_keeps: tuple[float, float]
    """The range of the kept share of the context."""
    break_share: float
    human_share: float
    human_time: Distribution
    tool_time: Distribution
    sub_agents: SubAgents | None = None
    scale: float = 1.0

    def within(self, limit: int) -> AgentRecipe:
        """The same sessions for another window: every length is scaled with it; turns, pauses and shares stay the same."""
        scale = self.scale * limit / self.context_limit
        return dataclasses.replace(self, context_limit=limit, scale=scale)


_KEYS = (
    "about", "source", "turns", "first_context", "system", "growth", "output_tokens", "context_limit", "compaction",
    "cache_break", "pauses", "sub_agents",
)  # fmt: skip
KEYS = frozenset(_KEYS)
_OPTIONAL = ("sub_agents",)


def is_of_sessions(content: Mapping[str, Any]) -> bool:
    """Whether a recipe describes sessions, judging by its keys."""
    return bool(content.keys() & (KEYS - {"about", "source", "output_tokens"}))


def read_recipe(content: Mapping[str, Any]) -> AgentRecipe:
    """A recipe from parsed YAML. Raises SpecError with every problem."""
    reader = _Reader()
    reader.known("", content, _KEYS, _OPTIONAL)
    compaction = reader.table(content, "compaction", ("share", "keeps"))
    cache_break = reader.table(content, "cache_break", ("share",))
    system = reader.table(content, "system", ("tokens", "shared"), ("shared",))
    pauses = reader.table(content, "pauses", ("human", "tool"))
    human = reader.table(pauses, "human", ("share", "time"), where="pauses.")
    tool = reader.table(pauses, "tool", ("time",), where="pauses.")
    agents = content.get("sub_agents")
    fields: dict[str, Any] = {
        "about": str(content.get("about", "")),
        "source": str(content.get("source", "")),
        "turns": reader.law("turns", content.get("turns", _MISSING)),
        "first_context": reader.mixture("first_context", content.get("first_context", _MISSING)),
        "system": reader.law("system.tokens", system.get("tokens", _MISSING)),
        "shared_system": reader.truth("system.shared", system.get("shared", False)),
        "growth": reader.law("growth", content.get("growth", _MISSING)),
        "output_tokens": reader.law("output_tokens", content.get("output_tokens", _MISSING)),
        "context_limit": reader.limit(content.get("context_limit", _MISSING)),
        "compaction_share": reader.share("compaction.share", compaction.get("share", _MISSING)),
        "compaction_keeps": reader.range("compaction.keeps", compaction.get("keeps", _MISSING)),
        "break_share": reader.share("cache_break.share", cache_break.get("share", _MISSING)),
        "human_share": reader.share("pauses.human.share", human.get("share", _MISSING)),
        "human_time": reader.law("pauses.human.time", human.get("time", _MISSING), "time"),
        "tool_time": reader.law("pauses.tool.time", tool.get("time", _MISSING), "time"),
        "sub_agents": None if agents is None else reader.sub_agents(content),
    }
    if not reader.problems:
        _fit(fields, reader.problems)
    if reader.problems:
        raise SpecError(reader.problems)
    return AgentRecipe(**fields)


def _fit(fields: Mapping[str, Any], problems: list[str]) -> None:
    limit = fields["context_limit"]
    for share, law in fields["first_context"]:
        if law.quantile(0.5) >= limit:
            problems.append(
                f"first_context: half of {law} ({share:.0%} of the sessions) is above the context_limit of {limit:,}: "
                "shorten it, or raise the limit"
            )
    lengths = [(name, fields[name]) for name in ("turns", "growth", "output_tokens")]
    lengths += [("first_context", law) for _, law in fields["first_context"]]
    if fields["sub_agents"] is not None:
        lengths += [("sub_agents.turns", fields["sub_agents"].turns)]
    problems += [
        f"{name}: {str(law)!r} is less than one: give at least 1"
        for name, law in lengths
        if law.low < 1 and law.mean() < 0.5  # The mean is a sum over 2,048 values, and never below the minimum.
    ]
    if fields["compaction_share"] + fields["break_share"] > 1:
        problems.append("compaction.share and cache_break.share are more than 100% together")
    for name in ("output_tokens", "growth"):
        if fields[name].quantile(0.9) > limit / 4:
            problems.append(f"{name}: a tenth of {fields[name]} is above a quarter of the context_limit of {limit:,}")


class _Reader:
    """Reads values and records problems with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def known(
        self, where: str, content: Mapping[str, Any], keys: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> None:
        for key in content:
            if key not in keys:
                close = get_close_matches(str(key), keys, n=1)
                self.problems.append(
                    f"{where}{key} is unknown" + (f": did you mean {where}{close[0]}?" if close else "")
                )
        missing = [key for key in keys if content.get(key) is None and key not in optional]
        self.problems += [f"{where}{key} is missing" for key in missing]

    def table(
        self,
        content: Mapping[str, Any],
        key: str,
        keys: tuple[str, ...],
        optional: tuple[str, ...] = (),
        *,
        where: str = "",
    ) -> Mapping[str, Any]:
        """A nested mapping. Empty if it is missing or not a mapping."""
        value = content.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problems.append(f"{where}{key} must have keys ({', '.join(keys)}), not be {value!r}")
            return {}
        self.known(f"{where}{key}.", value, keys, optional)
        return value

    def law(self, key: str, value: object, dimension: Dimension = "tokens") -> Distribution | None:
        if value is _MISSING or value is None:
            return None
        try:
            return parse(str(value), dimension)
        except SpecError as e:
            self.problems += [f"{key} {problem}" for problem in e.problems]
            return None

    def mixture(self, key: str, value: object) -> Mixture | None:
        if not isinstance(value, list):
            law = self.law(key, value)
            return None if law is None else ((1.0, law),)
        parts: list[tuple[float, Distribution]] = []
        for number, part in enumerate(value, 1):
            where = f"{key}[{number}]"
            if not isinstance(part, dict):
                self.problems.append(f"{where} must have a share and tokens, such as {{share: 68%, tokens: 20000}}")
                continue
            self.known(f"{where}.", part, ("share", "tokens"))
            share = self.share(f"{where}.share", part.get("share", _MISSING))
            law = self.law(f"{where}.tokens", part.get("tokens", _MISSING))
            if share is not None and law is not None:
                parts.append((share, law))
        total = sum(share for share, _ in parts)
        if len(parts) == len(value) and abs(total - 1) > 1e-9:
            self.problems.append(f"{key}: the shares add up to {total:.4%}, and not to 100%")
        return tuple(parts)

    def share(self, key: str, value: object) -> float | None:
        if value is _MISSING or value is None:
            return None
        number = _share(value)
        if number is None or not 0 <= number <= 1:
            self.problems.append(f"{key} must be a share from 0% to 100%, such as 1.5%, not {value!r}")
            return None
        return number

    def range(self, key: str, value: object) -> tuple[float, float] | None:
        if value is _MISSING or value is None:
            return None
        low, dots, high = str(value).partition("..")
        shares = _share(low), _share(high if dots else low)
        if shares[0] is None or shares[1] is None or not 0 < shares[0] <= shares[1] < 1:
            self.problems.append(f"{key} must be shares of the context below 100%, such as 15%..60%, not {value!r}")
            return None
        return shares[0], shares[1]

    def truth(self, key: str, value: object) -> bool:
        if not isinstance(value, bool):
            self.problems.append(f"{key} must be true or false, not {value!r}")
        return bool(value)

    def limit(self, value: object) -> int | None:
        if value is _MISSING or value is None:
            return None
        if type(value) is not int or value < LEAST_LIMIT:
            self.problems.append(
                f"context_limit must be a whole number of tokens from {LEAST_LIMIT:,} on, not {value!r}"
            )
            return None
        return value

    def sub_agents(self, content: Mapping[str, Any]) -> SubAgents | None:
        table = self.table(content, "sub_agents", ("share", "agents", "turns", "first_context"))
        share = self.share("sub_agents.share", table.get("share", _MISSING))
        laws = {
            key: self.law(f"sub_agents.{key}", table.get(key, _MISSING)) for key in ("agents", "turns", "first_context")
        }
        if share is None or any(law is None for law in laws.values()):
            return None
        return SubAgents(share=share, **laws)  # type: ignore[arg-type]


def _share(value: object) -> float | None:
    """Parses a share as a number (0.13) or in percent (13%). Returns None if it is neither."""
    text = str(value).strip()
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
