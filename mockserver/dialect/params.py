"""The parameters of a request for text, independent of the dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the reply calls tools, and which ones."""

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
    """The requested sound: its format, and whether it is sent as events or as bytes of the content type `media`."""

    kind: str
    events: bool
    media: str | None
    has_text: bool = False
    """Whether the text is sent too. If so, the tokens of the reply are the tokens of the text."""


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
    """Image generation: the number of images in the reply."""
    stop: tuple[str, ...] = ()
    """Strings that end the reply when they appear in it."""
    keep_stop: bool = False
    """`include_stop_str_in_output`: whether the reply keeps the stop string."""
    tool_choice: ToolChoice = ToolChoice()
    parallel_calls: bool = True
    """Whether one reply may call several tools."""
    echo: Mapping[str, Any] = field(default_factory=dict)
    """Responses: fields of the request that the reply repeats."""
    document: DocumentFormat | None = None
    """`response_format`. None: text."""
    n: int = 1
    """Choices per prompt."""
    more_prompts: tuple[str | list[int], ...] = ()
    """Completions: the prompts after the first."""
    logprobs: int | None = None
    """The number of alternatives with each token's log probability. None: no log probabilities."""
    echo_prompt: bool = False
    """Completions: whether the reply repeats the prompt."""
    ignore_eos: bool = False
    """Whether the reply continues to `asked_tokens` even if it could end earlier."""
    least_tokens: int = 0
    """`min_tokens`: the reply has at least this length, even if it could end earlier."""
    priority: int = 0
    """vLLM's `priority`: lower values are served first, if the engine schedules by priority."""
    previous_response: str | None = None
    """Responses: the id of the stored response that this request continues."""
    stores: bool = False
    """Responses: whether the response is stored."""
    own_messages: int = 0
    """Responses: the number of leading messages that belong only to this request. A request that continues it has its
    own."""
    keep: Callable[[dict[str, Any]], None] | None = None
    """Responses: receives the complete response before its last bytes are sent. None: it is not kept."""
