"""The base of endpoints in OpenAI's dialect: the fields of a body, and the format of streams and of whole replies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import orjson

from bench.endpoints import whole_reply
from bench.endpoints.answer_parts import CallParts
from bench.endpoints.interface import (
    TOOL_CHOICES,
    BodyOptions,
    Endpoint,
    ParsedReply,
    ReadOptions,
    asked_tokens,
    put_asked,
)
from bench.endpoints.stream_reader import StreamReader
from bench.workload import Encoded
from promptset.samples import Sample


class OpenAIEndpoint(Endpoint):
    """An endpoint of the dialect. Subclasses define the prompt, and where a choice has its text."""

    usage_on_request = True
    text_field: bytes
    """The bytes before the text in an event that has only a piece of text."""

    @abstractmethod
    def prompt_fields(self, sample: Sample) -> dict[str, Any]:
        """The fields of the body that hold the prompt."""

    @abstractmethod
    def plain_text(self, event: Mapping[str, Any] | None) -> str | None:
        """The text of an event that holds only text, as nearly all do. Returns None for every other event."""

    @abstractmethod
    def kind_and_texts(self, choice: Mapping[str, Any]) -> tuple[str, str, str]:
        """The chunk kind of a choice in an event (bench/records.py; `n`: only the name of a tool), its text, and for an
        answer or reasoning the part of the text that is of this kind: some servers send several kinds in one chunk."""

    @abstractmethod
    def calls_in(self, choice: Mapping[str, Any]) -> list[tuple[object, object]]:
        """The tool calls that a choice of an event or of a whole reply starts or continues: place and id of each."""

    def add_calls(self, choice: Mapping[str, Any], parts: CallParts) -> None:
        """Add a choice's pieces of tool calls; does nothing for an API without tools."""
        del choice, parts

    def reasoning_field(self, choice: Mapping[str, Any]) -> str:
        """The field in which a choice holds reasoning; empty if it has none."""
        del choice
        return ""

    @abstractmethod
    def texts(self, choice: Mapping[str, Any]) -> tuple[str, str]:
        """For a choice of a whole reply: all its text, and the text without reasoning and tool calls."""

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The JSON body for a sample. A full request body keeps its own fields; `extra` overrides everything."""
        body = dict(sample.body) if sample.body is not None else self.prompt_fields(sample)
        own_model = put_asked(body, sample, options, "max_tokens")
        body.pop("stream_options", None)
        if options.stream and options.ask_usage:
            body["stream_options"] = {"include_usage": True}
        if options.tool_choice is not None and body.get("tools"):
            body["tool_choice"] = tool_choice(options.tool_choice)
        if options.extra:
            body.update(options.extra)
        asked = body.get("max_completion_tokens", body.get("max_tokens"))
        return Encoded(
            body=orjson.dumps(body),
            stream=bool(body["stream"]),
            output_tokens_asked=asked_tokens(asked, choices_asked(body)),
            model=own_model,
        )

    def event_reader(self, options: ReadOptions) -> StreamReader:
        """A reader for streams of this dialect, which differ only in the place of the text."""
        return StreamReader(self, options)

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        return whole_reply.read_whole(body, self, options)


def choices_asked(body: Mapping[str, Any]) -> int:
    """The number of choices that a body requests: `n` for each prompt. Completions accept several prompts, also as
    token ids."""
    n, prompt = body.get("n"), body.get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list) else 1
    return prompts * (n if type(n) is int and n > 0 else 1)


def tool_choice(choice: str) -> str | dict[str, Any]:
    """`--tool-choice` in the format of chat completions."""
    return choice if choice in TOOL_CHOICES else {"type": "function", "function": {"name": choice}}
