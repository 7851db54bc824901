"""An endpoint for Trueload in a package of its own: a service that shouts. It takes `{"say": TEXT}` and answers with text."""

from __future__ import annotations

import json

from bench.endpoints.custom_reader import RawReader, read_raw
from bench.endpoints.interface import BodyOptions, Endpoint, EventReader, ParsedReply, ReadOptions
from bench.workload import Encoded
from promptset.samples import Sample


class Upper(Endpoint):
    """`POST /shout`. The pieces of the body are the text, as they arrive."""

    path = "/shout"
    root = ""
    framing = "chunks"
    spoken_by = "the shouting service"
    key_variable = "SHOUT_KEY"

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """A service with a field of its own needs code where a template is not enough: this one wants capitals."""
        text = sample.prompt or " ".join(str(message["content"]) for message in sample.messages or ())
        body = {"say": text.upper(), "words": sample.output_tokens, **(options.extra or {})}
        return Encoded(body=json.dumps(body).encode(), stream=options.stream, output_tokens_asked=sample.output_tokens)

    def event_reader(self, options: ReadOptions) -> EventReader:
        return RawReader(options)

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        return read_raw(body, options)
