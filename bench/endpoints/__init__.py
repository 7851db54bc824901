"""The APIs that a run can load. A new endpoint is one file behind `interface.Endpoint` and one line in ENDPOINTS. No
I/O.

Each defines its path, how a sample becomes a body, how the events of a stream and a whole reply are read, and how a
reply ends. Shared code: chat and completions use `openai.py` and `stream_reader.py`; messages and responses use
`typed_events.py` and `chat_translation.py`; embeddings and rerank, whose replies are not generated text, use
`inputs.py`; several use `event_stream.py`, `whole_reply.py` and `usage.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.endpoints.chat import ChatCompletions
from bench.endpoints.completions import Completions
from bench.endpoints.embeddings import Embeddings
from bench.endpoints.http import Http
from bench.endpoints.images import Images
from bench.endpoints.interface import BodyOptions, Endpoint
from bench.endpoints.messages import Messages
from bench.endpoints.realtime import Realtime
from bench.endpoints.rerank import Rerank, TeiRerank
from bench.endpoints.responses import Responses
from bench.endpoints.speech import Speech
from bench.endpoints.transcriptions import Transcriptions
from bench.workload import Encoded
from promptset.samples import Sample

ENDPOINTS: dict[str, Endpoint] = {
    "chat": ChatCompletions(),
    "completions": Completions(),
    "messages": Messages(),
    "responses": Responses(),
    "embeddings": Embeddings(),
    "rerank": Rerank(),
    "tei-rerank": TeiRerank(),
    "transcriptions": Transcriptions(),
    "speech": Speech(),
    "realtime": Realtime(),
    "images": Images(),
    "http": Http(),
}
"""By the name that `--endpoint` takes."""

DEFAULT = "chat"


def encode(sample: Sample, options: BodyOptions) -> Encoded:
    """The body of a sample, for the sample's own endpoint if it names one, or else the options'."""
    if sample.settings is not None:
        options = _without_forced_length(options, sample.settings)
        encoded = used_by(options).encode(sample, options)
        # Such a reply ends by itself, so its length is not compared with the limit.
        return replace(encoded, output_tokens_asked=None)
    named = used_by(options) if sample.endpoint is None else ENDPOINTS[sample.endpoint]
    return named.encode(sample, options)


def used_by(options: BodyOptions) -> Endpoint:
    """The endpoint of a run's bodies."""
    return ENDPOINTS[options.endpoint] if options.own is None else options.own


_FORCED = ("ignore_eos", "min_tokens")


def _without_forced_length(options: BodyOptions, settings: Mapping[str, Any]) -> BodyOptions:
    """The options for a sample with its own settings."""
    extra = {key: value for key, value in (options.extra or {}).items() if key not in _FORCED}
    return replace(options, ignore_eos=False, tool_choice=None, extra={**extra, **settings})
