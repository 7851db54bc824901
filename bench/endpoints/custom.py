"""An API defined by a YAML file: `--endpoint my-api.yaml`, and the files in apis/."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.endpoints.body_template import filled, place_of, value_at, variables_in
from bench.endpoints.chat_translation import text_of
from bench.endpoints.custom_reader import CustomReader, Finder, RawReader, read_raw
from bench.endpoints.definition import definition_of
from bench.endpoints.failure import excerpt
from bench.endpoints.interface import (
    BodyOptions,
    Endpoint,
    EventReader,
    ParsedReply,
    Problem,
    ReadOptions,
    asked_tokens,
)
from bench.endpoints.whole_reply import WholeText, json_object, parsed
from bench.records import Outcome
from bench.workload import Encoded
from promptset.samples import Sample


class CustomEndpoint(Endpoint):
    """The endpoint of a definition, for streams or for whole replies."""

    def __init__(self, content: Mapping[str, Any], *, stream: bool) -> None:
        """Raises ValueError if the content does not define an API."""
        self._content, self._stream = dict(content), stream
        self._api = api = definition_of(content)
        streams = stream and api.reply != "whole"
        paths = api.paths(stream=streams)
        self._find = Finder(paths, api)
        self.path = paths.path or ""
        self.root = api.root
        self.streams = api.reply != "whole"
        if api.reply != "whole":
            self.framing = api.reply
        self.takes_messages = place_of(api.body, "messages") is not None
        self.spoken_by = api.about or "this API"
        self.key_variable = api.key_variable
        self._asked_at = place_of(api.body, "max_tokens")
        self.fills = frozenset(variables_in(api.body))
        """The values that a body may have."""

    @property
    def takes_tools(self) -> bool:
        """Never: a definition has no place for them."""
        return False

    @property
    def names_model(self) -> bool:
        """Whether requests name a model."""
        return "model" in self.fills or "{model}" in self.path

    @property
    def takes_images(self) -> bool:
        """Whether messages keep their parts: the shape of a definition has only their text."""
        return self.takes_messages and self._api.message is None

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(CustomEndpoint, stream=self._stream), (self._content,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomEndpoint) and (self._content, self._stream) == (other._content, other._stream)

    __hash__ = None  # type: ignore[assignment]

    def headers(self, api_key: str | None) -> tuple[tuple[str, str], ...]:
        fields = tuple((name, value.strip()) for name, value in self._api.headers.items())
        if api_key is None:
            return fields
        bearer = self._api.key.lower() == "bearer"
        return (*fields, ("authorization", f"Bearer {api_key}") if bearer else (self._api.key.lower(), api_key))

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The body of a sample. A full request body is sent unchanged; `extra` overrides everything."""
        model = options.model if sample.model is None else sample.model
        stream = self._stream and self.streams
        if sample.body is not None:
            body = dict(sample.body)
        else:
            body = filled(self._api.body, self._values(sample, model, stream, options))
        if options.extra:
            body.update(options.extra)
        if self._asked_at is not None:
            asked = value_at(body, self._asked_at)
        else:
            asked = sample.output_tokens if "max_tokens" in self.fills else None
        return Encoded(
            body=orjson.dumps(body),
            stream=stream,
            output_tokens_asked=asked_tokens(asked),
            model=sample.model,
            url_model=model if "{model}" in self.path else None,
        )

    def _values(self, sample: Sample, model: str | None, stream: bool, options: BodyOptions) -> dict[str, Any]:
        chat = sample.messages if sample.messages is not None else ({"role": "user", "content": sample.prompt},)
        apart = self._api.system == "apart"
        system = [message for message in chat if message["role"] == "system"] if apart else []
        rest = [message for message in chat if message["role"] != "system"] if apart else chat
        return {
            "model": model,
            "prompt": sample.prompt if sample.prompt is not None else "\n".join(map(text_of, chat)),
            "messages": self._messages(rest),
            "system": "\n".join(map(text_of, system)) or None,
            "max_tokens": sample.output_tokens,
            "stream": stream,
            "ignore_eos": options.ignore_eos or None,
        }

    def _messages(self, chat: Sequence[Mapping[str, Any]]) -> list[Any]:
        shape, roles = self._api.message, self._api.roles
        if shape is None:
            return [dict(message) for message in chat]
        return [
            filled(shape, {"role": roles.get(message["role"], message["role"]), "content": text_of(message)})
            for message in chat
        ]

    def event_reader(self, options: ReadOptions) -> EventReader:
        return RawReader(options, self._find) if self.framing == "chunks" else CustomReader(self._find, options)

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        if self._api.reply == "chunks" and self._find.text is None:
            return read_raw(body, options, self._find)
        document = json_object(body)
        if isinstance(document, ParsedReply):
            return document
        find = self._find
        if (error := find.error_in(document)) is not None:
            return ParsedReply(problem=Problem(Outcome.STREAM_ERROR, error))
        text, reasoning = find.texts_in(document)
        reason = find.reason_in(document)
        if not text and not reasoning and reason is None:
            words = f"the reply has no {find.names.text}: {excerpt(body)}"
            return ParsedReply(problem=Problem(Outcome.MALFORMED, words))
        whole = WholeText(
            text=reasoning + text,
            content=text,
            calls=None,
            usage=find.usage_in(document),
            root=document,
            ended=find.finish is None or reason is not None,
            end_field=find.names.finish or "finish",
            reason=reason,
            limited=find.is_limit(reason),
            wrong=find.wrong(reason),
        )
        return parsed(whole, body, options)
