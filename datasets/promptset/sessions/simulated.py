"""Simulated sessions: an endless sequence of linear conversations with exact lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from promptset.chat import Message, Tool
from promptset.chat_sum import chat_sum
from promptset.clock import NS_PER_S
from promptset.distributions import Distribution
from promptset.errors import SpecError
from promptset.exact import chat_bank, exact_turn
from promptset.outline import PromptMaker
from promptset.rng import Random, stream, text_stream
from promptset.sessions.values import Session, Turn
from promptset.sharing import Prefix
from promptset.simulated import too_long
from promptset.text import TokenText, without_leading_space
from promptset.tokenizer import Tokenizer

_RARE = 1e-6
_END = 200
"""In characters."""


@dataclass(frozen=True, slots=True)
class SimulatedSessions(Iterator[Session]):
    """An endless sequence of sessions. `session_at` returns any of them. Created by `simulated_sessions`."""

    maker: PromptMaker
    turns: Distribution
    input_tokens: Distribution
    output_tokens: Distribution
    think_time: Distribution
    seed: int
    salt: str | None
    prefix: Prefix
    least: int
    """Tokens of the shortest first request."""
    least_added: int
    """The minimum tokens that a later turn adds."""
    indices: Iterator[int]

    def __next__(self) -> Session:
        return self.session_at(next(self.indices))

    def session_at(self, index: int) -> Session:
        """The session with this index. It depends only on the index, the seed and the salt."""
        maker, tokenizer = self.maker, self.maker.tokenizer
        n_turns = max(1, int(self.turns.sample(stream(self.seed, "turns", index))))
        lengths, thinks = stream(self.seed, "input_tokens", index), stream(self.seed, "think_time", index)
        outputs = stream(self.seed, "output_tokens", index)
        total = _draw_at_least(self.input_tokens, lengths, self.least)
        path = self.prefix.path(index, self.seed, maker.room(total))
        made = maker.make(total, path, index)
        assert not isinstance(made, str)
        messages: list[Message] = list(made)
        system = messages[0]["content"] if messages[0]["role"] == "system" else None
        adds_up = _adds_up(tokenizer, system is not None, maker.tools)
        turns: list[Turn] = []
        for number in range(n_turns):
            if number:
                before = total
                total += turns[-1].output_tokens or 0
                total += _draw_at_least(self.input_tokens, lengths, self.least_added)
                messages.append({"role": "assistant", "content": turns[-1].answer})
                text = text_stream(self.seed, self.salt, "turn", index, number, total)
                if adds_up:  # Of a prompt of 150,000 tokens, only the new part is counted.
                    end = {"role": "user", "content": _end_of(messages[-2]["content"])}
                    history, wanted = [end, messages[-1]], tokenizer.count_chat([end]) + total - before
                    content = exact_turn(tokenizer, wanted, text, history)
                else:
                    content = exact_turn(tokenizer, total, text, messages, maker.tools)
                messages.append({"role": "user", "content": content})
            answer_tokens = int(self.output_tokens.sample(outputs))
            answer = TokenText(tokenizer).pieces(
                answer_tokens, text_stream(self.seed, self.salt, "answer", index, number)
            )
            turns.append(
                Turn(
                    content=messages[-1]["content"],
                    output_tokens=answer_tokens,
                    think_time_s=round(self.think_time.sample(thinks) / NS_PER_S, 6) if number else 0.0,
                    answer="".join(answer),
                    input_tokens=total,
                )
            )
        return Session(id=f"session-{index}", turns=tuple(turns), system=system, tools=maker.tools)


def simulated_sessions(
    tokenizer: Tokenizer,
    *,
    turns: Distribution,
    input_tokens: Distribution,
    output_tokens: Distribution,
    think_time: Distribution,
    seed: int,
    salt: str | None = None,
    prefix: Prefix | None = None,
    tools: Sequence[Tool] | None = None,
) -> SimulatedSessions:
    """Sessions of exact lengths. The tokens of the first request are a draw of `input_tokens`. Each later request has
    the tokens of the previous request, of its answer, and of another draw, which includes the template's own tokens.

    The seed determines lengths and times; a different `salt` gives other texts of the same lengths. Every request
    offers the `tools`, whose tokens are part of its length.

    Raises SpecError if the distribution draws impossible lengths.
    """
    prefix = Prefix() if prefix is None else prefix
    maker = PromptMaker(tokenizer, chat=True, seed=seed, salt=salt, system_tokens=prefix.system_tokens, tools=tools)
    least_added = _least_added(tokenizer, maker.tools)
    least = max(maker.least + prefix.least, least_added)
    problems = too_long(input_tokens)
    if (short := input_tokens.share_below(least)) > _RARE:
        problems.append(
            f"input tokens {str(input_tokens)!r}: {100 * short:.2g}% of the lengths are below {least}, and a turn adds "
            f"at least {least} with {tokenizer.name}: ask for at least {least} (where it is drawn: min={least})"
        )
    if problems:
        raise SpecError(problems)
    return SimulatedSessions(
        maker,
        turns,
        input_tokens,
        output_tokens,
        think_time,
        seed,
        salt,
        prefix,
        maker.least + prefix.least,
        least_added,
        count(),
    )


def _draw_at_least(lengths: Distribution, chance: Random, least: int) -> int:
    while (n := int(lengths.sample(chance))) < least:
        pass
    return n


def _least_added(tokenizer: Tokenizer, tools: Sequence[Tool] | None) -> int:
    """The minimum tokens that a turn adds besides the previous answer, plus a few in case answers merge with the
    template."""
    bank, text = chat_bank(tokenizer, tools=tools), TokenText(tokenizer)
    most = 0
    for seed in range(8):
        answer = text.pieces(20, stream(seed, "least added"))
        word = "".join(without_leading_space(bank.fresh(1, stream(seed, "least added"))))
        first: list[Message] = [{"role": "user", "content": word}]
        second = [*first, {"role": "assistant", "content": "".join(answer)}, {"role": "user", "content": word}]
        most = max(most, tokenizer.count_chat(second, tools) - tokenizer.count_chat(first, tools) - len(answer))
    return most + 2


def _adds_up(tokenizer: Tokenizer, with_system: bool, tools: Sequence[Tool] | None) -> bool:
    """Whether the tokens that a turn adds are independent of the history, so that it need not be counted again."""
    try:
        return tools is None and (chat_sum(tokenizer).system is not None or not with_system)
    except SpecError:
        return False


def _end_of(text: str) -> str:
    """The last words of a message, which represent the history: an answer may merge with the last of them."""
    return text if len(text) <= _END else text[-_END:].partition(" ")[2] or text
