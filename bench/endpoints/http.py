"""Any HTTP service: requests are sent as given, and replies are only checked against `--expect`."""

from __future__ import annotations

from bench.endpoints import expectations
from bench.endpoints.expectations import Expectations
from bench.endpoints.interface import BodyOptions, Endpoint, ParsedReply, Problem, ReadOptions
from bench.endpoints.settings import EndpointSettings
from bench.records import REQUESTS, Outcome
from bench.workload import Encoded, InputBatch
from promptset.samples import Sample

_ONE_INPUT = InputBatch(inputs=1, entries=1)


class Http(Endpoint):
    """`--url` is the whole URL. Replies have no tokens: a request has a time to its first byte, and to its last."""

    path = ""
    root = ""
    generates = streams = False
    inputs_are = REQUESTS
    spoken_by = "an HTTP service"
    key_variable = "TRUELOAD_API_KEY"
    """Its own variable: another API's key must not be sent to it."""
    lists_models = False
    may_be_empty = True

    def __init__(self, method: str = "POST", expected: Expectations | None = None) -> None:
        self.method = method
        self._expected = Expectations() if expected is None else expected

    def accepts(self, status: int) -> bool:
        return status in self._expected.statuses

    def of(self, settings: EndpointSettings) -> Http:
        """The endpoint for these settings. Without a method, requests that may have a body are POST, the others GET."""
        has_body = settings.body is not None or settings.body_template is not None or settings.dataset is not None
        method = settings.method or ("POST" if has_body else "GET")
        return Http(method, expectations.parse(settings.expect))

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The sample's own body."""
        del options
        body = b"" if sample.http is None else sample.http.body
        return Encoded(body=body, stream=False, output_tokens_asked=None, batch=_ONE_INPUT)

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        del options
        problem = self._expected.problem(body)
        return ParsedReply(problem=None if problem is None else Problem(Outcome.MALFORMED, problem), complete=True)
