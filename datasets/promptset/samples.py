"""Samples: the content of requests, simulated (`promptset.simulated`) or loaded (`promptset.loaders`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptset.chat import Message, Tool
    from promptset.sharing import Path

MOST_TOKENS = 10_000_000
"""The maximum tokens of a prompt. Longer ones are typos: generating one takes minutes and tens of GB."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request of any HTTP service. `path` includes the query. An unset path or method is taken from the run."""

    body: bytes = b""
    method: str | None = None
    path: str | None = None
    think_time_s: float = 0.0
    """In a session: the time from the end of the previous request."""


@dataclass(frozen=True, slots=True)
class Audio:
    """A clip to transcribe. `name` indicates its format to the server (`clip.wav`); `length_ns` is None if unknown."""

    data: bytes = field(repr=False)
    name: str
    length_ns: int | None
    reference: str | None = None
    """The right transcript, if known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The content of one request: exactly one of `prompt`, `messages`, `texts`, `audio`, `body` and `http` is set. A
    count of None is unknown."""

    prompt: str | None = None
    messages: tuple[Message, ...] | None = None
    tools: tuple[Tool, ...] | None = None
    """Tools that the model may call; only with messages. `input_tokens` includes them."""
    texts: tuple[str, ...] | None = None
    """Texts to embed or, with a `query`, documents to rank."""
    query: str | None = None
    audio: Audio | None = None
    body: dict[str, Any] | None = None
    """A full request body, to be sent unchanged."""
    http: HttpRequest | None = None
    """A request of any HTTP service, to be sent unchanged."""
    prompt_ids: tuple[int, ...] | None = None
    """The token ids of the prompt, if they are sent instead of its text."""
    input_tokens: int | None = None
    """Tokens of the prompt, of the rendered messages, or of the texts and the query, as the tokenizer counts them. For
    messages with images, audio or video, only the text is counted."""
    output_tokens: int | None = None
    """Tokens to ask for in the answer."""
    session: str | None = None
    at_s: float | None = None
    """When to send it, in seconds from the start of the trace."""
    path: Path = ()
    """The shared segments it starts with, if known."""
    endpoint: str | None = None
    """The name of the API to send it to. None: the run's. The same holds for the next three fields."""
    model: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Headers in addition to those of the run. Their values may be secret."""
    priority: int | None = None
    """The `priority` of the body (vLLM: lower numbers go first)."""
    stored: bool = False
    """Whether the server should store the conversation (Responses)."""
    settings: Mapping[str, Any] | None = None
    """Body fields that override those of the run. The reply ends by itself: no length is forced on it."""
    previous: str | None = None
    """The server's id of the response to continue. The messages then contain only what is new, after system messages."""
