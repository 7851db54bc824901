"""Sessions of agents with their texts: every prompt has exactly the tokens of its plan.

If the chat template only adds tokens to each message (`promptset.chat_sum`), each text is generated with the remaining
number of tokens, and nothing is counted: a session of 65 turns and 150,000 tokens takes some ten milliseconds. With any
other template each prompt is counted whole, and so is its cached part, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from promptset.agents.plan import Floor, PlannedTurn, SessionPlan, plan_session
from promptset.agents.recipe import AgentRecipe
from promptset.chat import Message
from promptset.chat_sum import ChatSum, NotASum, chat_sum, common
from promptset.errors import SpecError
from promptset.rng import Random, text_stream
from promptset.sentences import LEAST_TOKENS, SentenceBank, sentence_bank
from promptset.sessions import BEFORE, Session, Turn
from promptset.tokenizer import Tokenizer

_ATTEMPTS = 20
_WHOLE = Floor(system=64, user=64, added=64)
"""Used if it is unknown what the template adds."""


@dataclass(frozen=True, slots=True)
class AgentSessions(Iterator[Session]):
    """An endless sequence of sessions. `session_at` returns any of them. Made by `agent_sessions`."""

    recipe: AgentRecipe
    tokenizer: Tokenizer
    seed: int
    salt: str | None
    known: ChatSum | None
    """None: prompts are counted whole."""
    speed: float
    """The factor by which pauses are shorter than in the plan."""
    indices: Iterator[int]

    def __next__(self) -> Session:
        return self.session_at(next(self.indices))

    @property
    def floor(self) -> Floor:
        """The minimum number of tokens of each part of a prompt."""
        known = self.known
        if known is None:
            return _WHOLE
        behind = known.opening + (known.system or 0) - known.head
        return Floor(system=known.head + LEAST_TOKENS, user=behind + LEAST_TOKENS, added=known.turn + LEAST_TOKENS)

    def plan_at(self, index: int) -> SessionPlan:
        return plan_session(self.recipe, self.seed, index, self.floor)

    def session_at(self, index: int) -> Session:
        """The session with this index. It depends only on the recipe, the index, the seed and the salt."""
        plan = self.plan_at(index)
        key = "shared" if self.recipe.shared_system else index
        texts = _Texts(self, plan, text_stream(self.seed, self.salt, "agents' system", key))
        turns: list[Turn] = []
        for number, planned in enumerate(plan.turns):
            chance = text_stream(self.seed, self.salt, "agents", index, number)
            content, cached = texts.content(turns, planned, chance)
            turns.append(
                Turn(
                    content=content,
                    output_tokens=planned.output_tokens,
                    think_time_s=round(planned.pause_s / self.speed, 6),
                    answer=texts.bank.text(planned.output_tokens, chance),
                    input_tokens=planned.input_tokens,
                    after=None if planned.after == (number - 1,) else planned.after,
                    continues=BEFORE if planned.continues == number - 1 else planned.continues,
                    pause=planned.pause,
                    job=planned.job,
                    agent=planned.agent,
                    cached_tokens=cached,
                )
            )
        return Session(id=f"agent-{index}", turns=tuple(turns), system=texts.system)


def agent_sessions(
    tokenizer: Tokenizer, recipe: AgentRecipe, *, seed: int, salt: str | None = None, speed: float = 1.0
) -> AgentSessions:
    """Sessions of exact lengths. A different `salt` gives other texts of the same lengths. Pauses are `speed` times
    shorter.

    Raises SpecError if the tokenizer has no sentences whose tokens add up, or no chat template.
    """
    try:
        known: ChatSum | None = chat_sum(tokenizer)
    except NotASum:
        known = None
    return AgentSessions(recipe, tokenizer, seed, salt, known, speed, count())


class _Texts:
    def __init__(self, made: AgentSessions, plan: SessionPlan, chance: Random) -> None:
        self._tokenizer = made.tokenizer
        self._known = known = made.known
        self.bank: SentenceBank = sentence_bank(made.tokenizer) if known is None else known.bank
        # The common beginning of all conversations of the session: a system prompt, or, if the template has none, the
        # first words of the user.
        self._begin = plan.system_tokens - (_WHOLE.system // 2 if known is None else known.head)
        text = self.bank.text(self._begin, chance)
        as_system = self._takes_system() if known is None else known.system is not None
        self.system = text if as_system else None
        self._lead = "" if as_system else text
        self._plan = plan
        self._ids: list[list[int]] = []

    def _takes_system(self) -> bool:
        try:
            self._tokenizer.count_chat([{"role": "system", "content": "a"}, {"role": "user", "content": "a"}])
        except SpecError:
            return False
        return True

    def content(self, turns: Sequence[Turn], planned: PlannedTurn, chance: Random) -> tuple[str, int]:
        """The user's text of the turn after `turns`, and the number of tokens of its prompt that are cached."""
        known = self._known
        if known is None:
            return self._counted(turns, planned, chance)
        if planned.continues is not None:
            before = self._plan.turns[planned.continues]
            tokens = planned.input_tokens - before.input_tokens - before.output_tokens - known.turn
            return self.bank.text(tokens, chance), before.input_tokens - known.lost
        tokens = planned.input_tokens - known.opening - self._begin - (known.system or 0)
        text = self.bank.block(tokens, chance) if self._lead else self.bank.text(tokens, chance)
        return self._lead + text, planned.cached_tokens

    def _counted(self, turns: Sequence[Turn], planned: PlannedTurn, chance: Random) -> tuple[str, int]:
        history: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        if planned.continues is not None:
            before = turns[planned.continues]
            history = Session(id="", turns=tuple(turns), system=self.system).conversation(planned.continues)
            history.append({"role": "assistant", "content": before.answer})
        begin = self._lead if planned.continues is None else ""
        tokens = max(LEAST_TOKENS, planned.input_tokens // 8)
        for _ in range(_ATTEMPTS):
            text = begin + (self.bank.block(tokens, chance) if begin else self.bank.text(tokens, chance))
            ids = self._tokenizer.encode_chat([*history, {"role": "user", "content": text}])
            if len(ids) == planned.input_tokens:
                earlier = self._ids if planned.kind != "first" or planned.agent is not None else []
                cached = max((common(ids, other) for other in earlier), default=planned.cached_tokens)
                self._ids.append(ids)
                return text, cached
            tokens = max(LEAST_TOKENS, tokens + planned.input_tokens - len(ids))
        raise SpecError(
            f"{self._tokenizer.name}: no text makes a prompt of exactly {planned.input_tokens} tokens: its chat "
            "template changes earlier messages"
        )
