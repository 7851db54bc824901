"""Sessions: conversations of several turns, in which each request carries the history.

    {"session": "s-1", "system"?: "...", "turns": [{"content": "...", "output_tokens"?: n, "think_time_s"?: t,
                                                    "answer"?: "...", "input_tokens"?: n}, ...]}

A file has one session per row, which may also say where its requests go (loaders/own.py). The history of a request holds the
server's real answers if the caller has them, else those of the row (`answer`). `input_tokens` counts the whole request, with
the row's answers in its history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from promptset.chat import Message
from promptset.distributions import Distribution
from promptset.errors import SpecError
from promptset.exact import chat_bank
from promptset.loaders.containers import open_container
from promptset.loaders.own import own_of, own_problems
from promptset.loaders.rows import count_problems, seconds_problems
from promptset.outline import PromptMaker
from promptset.rng import Random, stream, text_stream
from promptset.samples import too_long
from promptset.sharing import Prefix
from promptset.text import TokenText, without_leading_space
from promptset.tokenizer import Tokenizer

_ATTEMPTS = 20
_RARE = 1e-6
_SHOWN = 20
_NS_PER_S = 1e9
_OWN = ("endpoint", "model", "priority")
_TURN_KEYS = ("content", "output_tokens", "think_time_s", "answer", "input_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of the user, and when to send it. A count of None is unknown."""

    content: str
    output_tokens: int | None = None
    """Tokens to ask for in the answer."""
    think_time_s: float = 0.0
    """Time from the end of the previous answer to this request; in the first turn, from the start of the session."""
    answer: str | None = None
    """The answer in the history, unless the server's own is given."""
    input_tokens: int | None = None
    """Tokens of the whole request, with the `answer`s in its history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One planned conversation."""

    id: str
    turns: tuple[Turn, ...]
    system: str | None = None
    endpoint: str | None = None
    """Of all its requests, as in a sample. So with the next three."""
    model: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    priority: int | None = None

    def messages(self, answers: Sequence[str | None] = ()) -> list[Message]:
        """The messages of the next request after these answers. An answer of None is replaced by the planned one.

        Raises SpecError if no turn is left, or if an answer is missing.
        """
        if len(answers) >= len(self.turns):
            raise SpecError(f"the session {self.id} has {len(self.turns)} turns, and {len(answers)} are answered")
        said: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        for number, (turn, real) in enumerate(zip(self.turns, answers, strict=False), 1):
            answer = turn.answer if real is None else real
            if answer is None:
                raise SpecError(f"the session {self.id} has no answer to its turn {number}: give the server's")
            said += [{"role": "user", "content": turn.content}, {"role": "assistant", "content": answer}]
        return [*said, {"role": "user", "content": self.turns[len(answers)].content}]

    def row(self) -> dict[str, Any]:
        """The session as a row of a file."""
        turns = [{key: v for key in _TURN_KEYS if (v := getattr(turn, key)) is not None} for turn in self.turns]
        system = {} if self.system is None else {"system": self.system}
        own: dict[str, Any] = {key: v for key in _OWN if (v := getattr(self, key)) is not None}
        if self.headers:
            own["headers"] = dict(self.headers)
        return {"session": self.id, **system, **own, "turns": turns}


@dataclass(frozen=True, slots=True)
class SimulatedSessions(Iterator[Session]):
    """An endless sequence of sessions. `session_at` returns any of them. Made by `simulated_sessions`."""

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
    """The fewest tokens that a later turn adds."""
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
        path = () if self.prefix.scheme is None else self.prefix.path(index, self.seed, maker.room(total))
        made = maker.make(total, path, index)
        assert not isinstance(made, str)
        messages: list[Message] = list(made)
        system = messages[0]["content"] if messages[0]["role"] == "system" else None
        turns: list[Turn] = []
        for number in range(n_turns):
            if number:
                total += turns[-1].output_tokens or 0
                total += _draw_at_least(self.input_tokens, lengths, self.least_added)
                messages.append({"role": "assistant", "content": turns[-1].answer})
                text = text_stream(self.seed, self.salt, "turn", index, number, total)
                messages.append({"role": "user", "content": _fit_turn(tokenizer, messages, total, text)})
            answer_tokens = int(self.output_tokens.sample(outputs))
            answer = TokenText(tokenizer).pieces(
                answer_tokens, text_stream(self.seed, self.salt, "answer", index, number)
            )
            turns.append(
                Turn(
                    content=messages[-1]["content"],
                    output_tokens=answer_tokens,
                    think_time_s=round(self.think_time.sample(thinks) / _NS_PER_S, 6) if number else 0.0,
                    answer="".join(answer),
                    input_tokens=total,
                )
            )
        return Session(id=f"session-{index}", turns=tuple(turns), system=system)


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
) -> SimulatedSessions:
    """Sessions of exact lengths. The first request has as many tokens as `input_tokens` draws. Each later request has the
    tokens of the previous request, of its answer, and of another draw, which includes the template's own tokens.

    The seed decides lengths and times; with a `salt`, other texts have the same lengths.

    Raises SpecError if the distribution draws impossible lengths.
    """
    prefix = Prefix() if prefix is None else prefix
    maker = PromptMaker(tokenizer, chat=True, seed=seed, salt=salt, system_tokens=prefix.system_tokens)
    least_added = _least_added(tokenizer)
    least = max(maker.least + prefix.least, least_added)
    problems = too_long(input_tokens)
    if (short := input_tokens.share_below(least)) > _RARE:
        problems.append(
            f"input tokens {str(input_tokens)!r}: {short:.2g} of the lengths are below {least}, and a turn adds at least "
            f"{least} with {tokenizer.name}: ask for at least {least} (where it is drawn: min={least})"
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


def _least_added(tokenizer: Tokenizer) -> int:
    """The fewest tokens that a turn adds besides the previous answer; a few more if answers join the template."""
    bank, text = chat_bank(tokenizer), TokenText(tokenizer)
    most = 0
    for seed in range(8):
        answer = text.pieces(20, stream(seed, "least added"))
        one = "".join(without_leading_space(bank.fresh(1, stream(seed, "least added"))))
        first: list[Message] = [{"role": "user", "content": one}]
        second = [*first, {"role": "assistant", "content": "".join(answer)}, {"role": "user", "content": one}]
        most = max(most, tokenizer.count_chat(second) - tokenizer.count_chat(first) - len(answer))
    return most + 2


def _fit_turn(tokenizer: Tokenizer, history: Sequence[Message], total: int, chance: Random) -> str:
    """A user message after this history that makes the request `total` tokens long."""
    bank = chat_bank(tokenizer)
    pieces = bank.fresh(1, chance)
    wanted = 1
    for _ in range(_ATTEMPTS):
        if len(pieces) < wanted:
            pieces += bank.fresh(wanted - len(pieces), chance)
        content = "".join(without_leading_space(pieces[:wanted]))
        got = tokenizer.count_chat([*history, {"role": "user", "content": content}])
        if got == total:
            return content
        wanted = max(1, wanted + total - got)
    raise SpecError(f"{tokenizer.name}: no turn makes a request of exactly {total} tokens: use another length")


def load_sessions(path: Path, endpoints: Sequence[str] | None = None) -> list[Session]:
    """The sessions of a file: rows of ours, or ShareGPT conversations. Raises SpecError with up to 20 bad rows.

    `endpoints`: those that rows may name; None: any.
    """
    container = open_container(path)
    sessions: list[Session] = []
    problems: list[str] = []
    for entry in container.entries():
        where = f"{path}, {container.unit} {entry.number}"
        try:
            session = read_session(entry.value, f"row-{entry.number}")
            if session.endpoint is not None and endpoints is not None and session.endpoint not in endpoints:
                raise SpecError(f"endpoint {session.endpoint!r} is not one of {', '.join(endpoints)}")
            sessions.append(session)
        except SpecError as e:
            problems += [f"{where}: {problem}" for problem in e.problems]
    if problems:
        raise SpecError([*problems[:_SHOWN], *([f"{path}: more rows are bad"] if len(problems) > _SHOWN else [])])
    if not sessions:
        raise SpecError(f"{path} has no sessions: write at least one row")
    return sessions


def read_session(row: Any, name: str) -> Session:
    """A session from its row. Its default name is `name`. Raises SpecError with every problem."""
    if isinstance(row, SpecError):
        raise row
    if isinstance(row, dict) and "conversations" in row:
        return _from_sharegpt(row, name)
    if not isinstance(row, dict) or not isinstance(row.get("turns"), list) or not row["turns"]:
        raise SpecError("a session is an object whose turns are a list that is not empty")
    problems = [f"{key} must be a string" for key in ("session", "system") if not isinstance(row.get(key, ""), str)]
    problems += own_problems(row)
    for number, turn in enumerate(row["turns"], 1):
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str) or not turn["content"]:
            problems.append(f"turn {number} must be an object with a content that is not empty")
            continue
        found = [f"unknown key {key!r}" for key in turn if key not in _TURN_KEYS]
        found += [p for key in ("input_tokens", "output_tokens") for p in count_problems(key, turn.get(key))]
        found += seconds_problems("think_time_s", turn.get("think_time_s"))
        found += [] if isinstance(turn.get("answer", ""), str) else ["answer must be a string"]
        problems += [f"turn {number}: {problem}" for problem in found]
    if problems:
        raise SpecError(problems)
    return Session(
        id=row.get("session", name),
        turns=tuple(Turn(**turn) for turn in row["turns"]),
        system=row.get("system"),
        **own_of(row),
    )


def _from_sharegpt(row: dict[str, Any], name: str) -> Session:
    """A ShareGPT conversation, from the first human message on. The message after each human one is its answer."""
    said = row["conversations"]
    if not isinstance(said, list) or not all(
        isinstance(one, dict) and isinstance(one.get("from"), str) and isinstance(one.get("value"), str) for one in said
    ):
        raise SpecError("conversations must be a list of objects with the strings from and value")
    turns: list[Turn] = []
    for at, one in enumerate(said):
        if one["from"] in ("human", "user") and one["value"]:
            follows = said[at + 1] if at + 1 < len(said) else {}
            answer = follows.get("value") if follows.get("from") in ("gpt", "assistant", "chatgpt") else None
            turns.append(Turn(content=one["value"], answer=answer))
    if not turns:
        raise SpecError("the conversation has no message of a user")
    return Session(id=str(row.get("id", name)), turns=tuple(turns))
