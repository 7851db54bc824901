"""What a request for text asks for, in whatever dialect it came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the reply calls tools, and which."""

    mode: Literal["none", "auto", "required"] = "auto"
    name: str | None = None
    """With `required`: the only tool to call."""


@dataclass(frozen=True, slots=True)
class DocumentFormat:
    """The reply must be a JSON document."""

    schema: dict[str, Any] | None = None
    """None: any object."""


@dataclass(frozen=True, slots=True)
class Speech:
    """The sound that a request asks for: its format, and whether it comes in events or as bytes of the type `media`."""

    kind: str
    events: bool
    media: str | None
    has_text: bool = False
    """Whether its text comes too: then the tokens of the reply are those of the text."""


@dataclass(frozen=True, slots=True)
class RequestParams:
    """The fields of a request body that matter to the mock."""

    stream: bool
    include_usage: bool = True
    continuous_usage: bool = False
    asked_tokens: int | None = None
    """`max_tokens`. None lets the server decide."""
    messages: list[dict[str, Any]] | None = None
    """Chat: the conversation, in OpenAI's chat format."""
    tools: list[dict[str, Any]] | None = None
    """Chat: the tools that the model may call, in OpenAI's chat format. They are part of the prompt."""
    prompt: str | list[int] | None = None
    """Completions: text or token ids."""
    audio_ns: int | None = None
    """Transcriptions: the length of the audio."""
    speech: Speech | None = None
    """None: the reply is text."""
    images: int | None = None
    """Image generation: the images of the reply."""
    stop: tuple[str, ...] = ()
    """Texts that end the reply when they appear in it."""
    keep_stop: bool = False
    """`include_stop_str_in_output`: whether the reply keeps the stop string."""
    tool_choice: ToolChoice = ToolChoice()
    parallel_calls: bool = True
    """Whether one reply may call several tools."""
    echo: Mapping[str, Any] = field(default_factory=dict)
    """Responses: what the reply repeats of its request."""
    document: DocumentFormat | None = None
    """`response_format`. None: text."""
    n: int = 1
    """Choices for each prompt."""
    more_prompts: tuple[str | list[int], ...] = ()
    """Completions: the prompts after the first."""
    logprobs: int | None = None
    """How many alternatives to give with the log probability of each token. None: no log probabilities."""
    echo_prompt: bool = False
    """Completions: whether the reply repeats the prompt."""
    ignore_eos: bool = False
    """Whether the reply goes on to `asked_tokens`, even if it could end before."""
    least_tokens: int = 0
    """`min_tokens`: a reply that could end before goes on to here."""
    priority: int = 0
    """vLLM's `priority`: lower is served first, if the engine goes by priorities."""
    previous_response: str | None = None
    """Responses: the id of the stored response that this request continues."""
    stores: bool = False
    """Responses: whether the response is stored."""
    own_messages: int = 0
    """Responses: how many of the first messages are this request's alone: a request that continues it has its own."""
    keep: Callable[[dict[str, Any]], None] | None = None
    """Responses: takes the response, once it is complete and before its last bytes are sent. None: nobody keeps it."""
