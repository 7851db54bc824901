"""The plan of an agent's session: every length, every pause and the graph, but no text. A plan takes about a
millisecond.

The main agent's context grows with each turn by the previous answer and by what a tool or a person adds. Sometimes it
is compacted, always if it would exceed the window. Sometimes its cache breaks: the prompt continues unchanged, but
everything after the system prompt is new to the server. Both start a new conversation, and so do sub-agents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from promptset.clock import NS_PER_S
from promptset.rng import Random, stream

if TYPE_CHECKING:
    from promptset.agents.recipe import AgentRecipe, SubAgents
    from promptset.distributions import Distribution

Kind = Literal["first", "step", "compaction", "cache_break"]
Pause = Literal["human", "tool"]

_ATTEMPTS = 1000
_MOST_SYSTEM = 0.75
"""The maximum share of the system prompt in the first context."""
_MOST_TURNS = 2_000
"""Per agent, so that a user's typo does not run for hours."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The minimum tokens of each part of a prompt, including the template's own: of the system prompt and everything
    before the user's text; of a user's text and what follows it; and of what a turn adds after the previous answer."""

    system: int = 16
    user: int = 16
    added: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTurn:
    """A request of a session. Tokens are those of whole prompts, as in `promptset.sessions.Turn`."""

    kind: Kind
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    """Input tokens in an unlimited prefix cache that holds this session's earlier prompts (not its answers) and the
    system prompt shared by sessions."""
    pause_s: float
    pause: Pause | None
    job: int
    after: tuple[int, ...]
    continues: int | None
    agent: str | None = None

    @property
    def new_tokens(self) -> int:
        """Input tokens that are not cached."""
        return self.input_tokens - self.cached_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """`system_tokens` is the length of each prompt up to the user's first text. It is the same in all conversations of
    the session."""

    system_tokens: int
    turns: tuple[PlannedTurn, ...]

    @property
    def main(self) -> tuple[PlannedTurn, ...]:
        return tuple(turn for turn in self.turns if turn.agent is None)


def plan_session(recipe: AgentRecipe, seed: int, index: int, floor: Floor | None = None) -> SessionPlan:
    """Session number `index`. It depends on the recipe, the seed and the index, and on `floor` if a draw is below it."""
    return _Planner(recipe, seed, index, Floor() if floor is None else floor).plan()


def system_tokens(recipe: AgentRecipe, seed: int, index: int, floor: Floor) -> int:
    """Tokens of a session's prompts up to the user's first text, before they are limited to what the first context
    holds."""
    key = "shared" if recipe.shared_system else index
    drawn = _tokens(recipe, recipe.system, stream(seed, "system", key))
    return min(max(floor.system, drawn), recipe.context_limit // 4)


def _tokens(recipe: AgentRecipe, law: Distribution, chance: Random) -> int:
    return round(recipe.scale * law.sample(chance))


class _Planner:
    """Draws one session. Each quantity has its own stream, so an additional draw of one changes no other."""

    def __init__(self, recipe: AgentRecipe, seed: int, index: int, floor: Floor) -> None:
        self._recipe = recipe
        self._floor = floor
        self._index = index
        self._of = {name: stream(seed, "agents", name, index) for name in _STREAMS}
        self._system = system_tokens(recipe, seed, index, floor)
        self._turns: list[PlannedTurn] = []
        self._job = 0
        self._agents = 0

    def plan(self) -> SessionPlan:
        recipe, chance = self._recipe, self._of
        turns = _count(recipe.turns, chance["turns"])
        output = self._output()
        first = self._first(recipe.first_context, output, chance["first_context"])
        if not recipe.shared_system:
            self._system = max(self._floor.system, min(self._system, int(_MOST_SYSTEM * first)))
        first = max(first, self._system + self._floor.user)
        cached = self._system if recipe.shared_system and self._index else 0
        self._add("first", first, output, cached, after=(), continues=None)
        at = 0
        for _ in range(turns - 1):
            joins = [at, *self._beside(at)]
            before, output = self._turns[at], self._output()
            kind, tokens, cached = self._next(before, output)
            human = chance["who"].random() < recipe.human_share and len(joins) == 1
            self._job += human
            pause: Pause = "human" if human else "tool"
            law = recipe.human_time if human else recipe.tool_time
            pause_s = round(law.sample(chance[pause]) / NS_PER_S, 3)
            continues = at if kind == "step" else None
            at = self._add(kind, tokens, output, cached, after=joins, continues=continues, pause=(pause, pause_s))
        return SessionPlan(system_tokens=self._system, turns=tuple(self._turns))

    def _next(self, before: PlannedTurn, output: int) -> tuple[Kind, int, int]:
        """The kind of the next turn, the tokens of its prompt, and how many of them are cached."""
        recipe, chance = self._recipe, self._of
        growth = max(self._floor.added, _tokens(recipe, recipe.growth, chance["growth"]))
        tokens = before.input_tokens + before.output_tokens + growth
        event, fraction = chance["events"].random(), chance["kept"].random()
        if event < recipe.compaction_share or tokens + output > recipe.context_limit:
            low, high = recipe.compaction_keeps
            left = round((low + (high - low) * fraction) * before.input_tokens)
            return "compaction", max(left, self._system + self._floor.user), self._system
        if event < recipe.compaction_share + recipe.break_share:
            return "cache_break", tokens, self._system
        return "step", tokens, before.input_tokens

    def _output(self) -> int:
        drawn = _tokens(self._recipe, self._recipe.output_tokens, self._of["output"])
        return min(max(2, drawn), self._recipe.context_limit // 4)

    def _first(self, laws: Iterable[tuple[float, Distribution]], output: int, chance: Random) -> int:
        """The tokens of a first prompt. It is drawn again if the prompt and the answer exceed the window."""
        room = self._recipe.context_limit - output
        laws = tuple(laws)
        for _ in range(_ATTEMPTS):
            tokens = _tokens(self._recipe, _one_of(laws, chance.random()), chance)
            if tokens <= room:
                return max(tokens, self._floor.system + self._floor.user)
        return room // 2

    def _beside(self, at: int) -> list[int]:
        """Add the sub-agents that start after a turn of the main agent. Returns the index of each one's last turn."""
        spec = self._recipe.sub_agents
        if spec is None or self._of["spawns"].random() >= spec.share:
            return []
        return [self._sub_agent(spec, at) for _ in range(_count(spec.agents, self._of["agents"]))]

    def _sub_agent(self, spec: SubAgents, at: int) -> int:
        recipe, chance = self._recipe, self._of
        self._agents += 1
        name = f"agent-{self._agents}"
        output = self._output()
        first = self._first(((1.0, spec.first_context),), output, chance["agents"])
        last = self._add(
            "first",
            max(first, self._system + self._floor.user),
            output,
            self._system,
            after=(at,),
            continues=None,
            agent=name,
        )
        for _ in range(_count(spec.turns, chance["agents"]) - 1):
            before, output = self._turns[last], self._output()
            kind, tokens, cached = self._next(before, output)
            pause_s = round(recipe.tool_time.sample(chance["tool"]) / NS_PER_S, 3)
            continues = last if kind == "step" else None
            last = self._add(
                kind, tokens, output, cached, after=(last,), continues=continues, pause=("tool", pause_s), agent=name
            )
        return last

    def _add(
        self,
        kind: Kind,
        tokens: int,
        output: int,
        cached: int,
        *,
        after: Iterable[int],
        continues: int | None,
        pause: tuple[Pause, float] | None = None,
        agent: str | None = None,
    ) -> int:
        self._turns.append(
            PlannedTurn(
                kind=kind,
                input_tokens=tokens,
                output_tokens=output,
                cached_tokens=cached,
                pause_s=0.0 if pause is None else pause[1],
                pause=None if pause is None else pause[0],
                job=self._job,
                after=tuple(after),
                continues=continues,
                agent=agent,
            )
        )
        return len(self._turns) - 1


_STREAMS = (
    "turns", "first_context", "growth", "output", "events", "kept", "who", "human", "tool", "spawns", "agents",
)  # fmt: skip


def _count(law: Distribution, chance: Random) -> int:
    return min(_MOST_TURNS, max(1, int(law.sample(chance))))


def _one_of(laws: tuple[tuple[float, Distribution], ...], where: float) -> Distribution:
    """The law that a number in [0, 1) selects by the shares."""
    for share, law in laws:
        if where < share:
            return law
        where -= share
    return laws[-1][1]
