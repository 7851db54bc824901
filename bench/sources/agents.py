"""Sessions of agents, drawn from a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.sources.sessions import SessionData, SessionSource
from promptset import recipes
from promptset.agents.made import agent_sessions

if TYPE_CHECKING:
    from promptset.agents.recipe import AgentRecipe
    from promptset.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """Sessions of the recipe with this name or file. `context_limit`: the window to which its lengths are scaled; None:
    its own. `speed`: a factor by which people and tools are faster."""

    recipe: str
    context_limit: int | None = None
    speed: float = 1.0

    plans_sharing: ClassVar[bool] = False
    """Sharing is planned turn by turn, not as a share of the run."""

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> SessionSource:
        """Raises SpecError if the recipe is wrong, or its lengths are impossible."""
        del chat  # Sessions are always chats.
        assert tokenizer is not None, "simulated sessions need a tokenizer"
        recipe = recipes.load_sessions(self.recipe)
        recipe = recipe if self.context_limit is None else recipe.within(self.context_limit)
        made = agent_sessions(tokenizer, recipe, seed=seed, salt=salt, speed=self.speed)
        data = SessionData(session_at=made.session_at, size=None, tokenizer=tokenizer, at_once=_at_once(recipe))
        return SessionSource(data, first, step)


def _at_once(recipe: AgentRecipe) -> int:
    """How many requests of a session may be in flight at once: its sub-agents send while the main agent waits."""
    if recipe.sub_agents is None or recipe.sub_agents.share == 0:
        return 1
    return max(1, int(recipe.sub_agents.agents.quantile(0.999)))
