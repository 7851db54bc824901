"""Sessions: N users, each of whom holds one conversation after the other and thinks before each turn."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.conversations import Conversations
from bench.dispatch import SessionsLoop
from bench.endpoints import DEFAULT, ENDPOINTS, urls
from bench.modes.concurrency import DEFAULT_USERS, Concurrency
from bench.modes.interface import (
    DEFAULT_OUTPUT_TOKENS,
    Numbering,
    UsersMode,
    WorkerLoad,
    endpoints_of_rows,
    flag,
    ramp_ns,
)
from bench.modes.share import WorkerShare
from bench.sources.interface import Source, SourceSpec
from bench.sources.sessions import SessionFileSpec, SessionSpec
from bench.workload import Encoded
from promptset.samples import Sample

if TYPE_CHECKING:
    from bench.config.settings import Settings

DEFAULT_TURNS = "4"
DEFAULT_THINK_TIME = "0s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions(UsersMode):
    """So many users; `real_history`: conversations carry the server's own answers, else planned ones."""

    name = "sessions"
    summary = "N users who hold conversations"
    own_settings = ("turns", "think_time", "history")

    users: int
    ramp_ns: int
    real_history: bool

    @classmethod
    def problems(cls, settings: Settings, given: Collection[str]) -> list[str]:
        """Sessions are chats of English words, whose turns a file or the flags describe, not both."""
        problems = Concurrency.problems(settings, given)
        endpoint = settings.endpoint or urls.endpoint_of(settings.url) or DEFAULT
        if not ENDPOINTS[endpoint].takes_messages:
            chats = ", ".join(name for name, one in ENDPOINTS.items() if one.takes_messages)
            problems.append(f"--mode sessions needs an endpoint of chats ({chats}): {endpoint} have no turns")
        if settings.recipe is not None:
            problems.append("--dataset: a recipe has no sessions; name a file of sessions, or leave it out")
        for key in ("columns", "bad_rows", "text", "repeat", "tools", "tool_choice"):
            if key in given:
                problems.append(f"{flag(key)} does not go with sessions: they have their own rows, in English words")
        if settings.dataset is not None:
            wrong = [key for key in ("turns", "think_time") if key in given]
            problems += [f"{flag(key)}: the rows of a file of sessions say that" for key in wrong]
        if settings.dataset is not None and settings.output_tokens is not None:
            problems.append("--output-tokens: the turns of a file of sessions say how long answers are")
        return problems

    @classmethod
    def defaults(cls, settings: Settings) -> dict[str, Any]:
        """As many users and requests as at fixed concurrency."""
        return Concurrency.defaults(settings)

    @classmethod
    def of(cls, settings: Settings) -> Sessions:
        """The load of complete settings."""
        users = DEFAULT_USERS if settings.concurrency is None else settings.concurrency
        return cls(users=users, ramp_ns=ramp_ns(settings), real_history=settings.history == "real")

    @classmethod
    def data(cls, settings: Settings) -> SourceSpec:
        """The sessions of a file, or simulated ones."""
        if settings.dataset is not None:
            return SessionFileSpec(
                path=Path(settings.dataset),
                endpoints=tuple(name for name, chats in endpoints_of_rows(settings.endpoint) if chats),
            )
        return SessionSpec(
            turns=DEFAULT_TURNS if settings.turns is None else settings.turns,
            think_time=DEFAULT_THINK_TIME if settings.think_time is None else settings.think_time,
            input_tokens=settings.input_tokens,
            output_tokens=DEFAULT_OUTPUT_TOKENS if settings.output_tokens is None else settings.output_tokens,
            prefix=settings.prefix,
        )

    def worker_load(
        self, source: Source[Any], encode: Callable[[Sample], Encoded], numbering: Numbering, share: WorkerShare
    ) -> WorkerLoad:
        """A loop of the share's users, each in a conversation."""
        conversations = Conversations(
            source,
            encode,
            numbering.run_id,
            real=self.real_history,
            first=numbering.first,
            step=numbering.step,
            cancel=numbering.cancel,
        )
        users = self._users_of(share)
        return WorkerLoad(
            conversations,
            lambda sending: SessionsLoop(conversations, sending, users=users, ramp_ns=self.ramp_ns),
            begun=users,
        )
