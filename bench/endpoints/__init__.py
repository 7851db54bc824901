"""The APIs that a run can load. A new endpoint is one file behind `interface.Endpoint` and one line in ENDPOINTS. No I/O.

Each says its path, how a sample becomes a body, how the events of a stream and a whole reply are read, and how a reply ends.
What the endpoints of OpenAI's dialect share is in `openai.py`, `stream_reader.py` and `whole_reply.py`.
"""

from __future__ import annotations

from bench.endpoints.chat import ChatCompletions
from bench.endpoints.completions import Completions
from bench.endpoints.interface import BodyOptions, Endpoint
from bench.workload import Encoded
from promptset.samples import Sample

ENDPOINTS: dict[str, Endpoint] = {
    "chat": ChatCompletions(),
    "completions": Completions(),
}
"""By the name that `--endpoint` takes."""

DEFAULT = "chat"


def encode(sample: Sample, options: BodyOptions) -> Encoded:
    """The body of a sample, for the endpoint that the options name."""
    return ENDPOINTS[options.endpoint].encode(sample, options)
