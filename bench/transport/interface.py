"""The transport interface: it turns a Request into a RequestRecord, independent of the rest of the run."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import quote, unquote_to_bytes, urlsplit, urlunsplit

from bench.endpoints import DEFAULT, ENDPOINTS
from bench.endpoints.interface import Endpoint
from bench.proxy import Proxy
from bench.records import RequestRecord
from bench.workload import Request, Route

REPLICA_HEADERS = (
    "x-inference-pod", "x-smg-target-worker", "x-gateway-destination-endpoint-served", "x-served-by",
    "x-litellm-model-id",
)  # fmt: skip
"""Response headers that name the replica behind a router: llm-d's simulator, SGLang's gateway, the Gateway API's
inference extension, caches and proxies, LiteLLM."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL, and the headers of the requests to it."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    method: str = "POST"

    @property
    def has_body(self) -> bool:
        """Whether requests with this method usually have a body."""
        return self.method not in ("GET", "HEAD", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go, and the time limit of each step (ns; None: unlimited)."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    method: str = "POST"
    ca_file: str | None = None
    insecure: bool = False
    client_cert: str | None = None
    client_key: str | None = None
    """None: the key is in the certificate file."""
    proxy: Proxy | None = None
    timeout_connect_ns: int | None = None
    timeout_first_byte_ns: int | None = None
    timeout_idle_ns: int | None = None
    timeout_total_ns: int | None = None
    address: str | None = None
    """The IP to connect to, instead of resolving the name in the URL."""
    websocket: bool = False
    """Whether requests go over WebSockets, one for each conversation."""
    own_headers: bool = False
    """Whether each session has its own headers: a WebSocket, whose handshake has them, cannot be made in advance."""
    max_response_bytes: int = 256 * 1024 * 1024
    others: Mapping[str, Destination] = field(default_factory=dict, repr=False)
    """The endpoints that single requests may name, by name. They are at the same host."""

    def without_credentials(self) -> Target:
        """The same target with the user and password of its URL (`user:pw@host`) moved to an Authorization header:
        Basic, from the decoded values, as curl and httpx send them. An explicit header takes precedence."""
        url, headers = _without_credentials(self.url, self.headers)
        if url == self.url:
            return self
        others = {
            name: Destination(*_without_credentials(at.url, at.headers), at.method) for name, at in self.others.items()
        }
        return replace(self, url=url, headers=headers, others=others)

    @property
    def usual(self) -> Destination:
        """The destination of requests without a route."""
        return Destination(self.url, self.headers, self.method)

    def method_of(self, route: Route | None) -> str:
        if route is None or route.method is None:
            return self.method if route is None or route.endpoint is None else self.others[route.endpoint].method
        return route.method

    def destination(self, route: Route) -> Destination:
        """The destination of requests with this route. A header of the route replaces the target's headers of the same
        name."""
        whole = self.usual if route.endpoint is None else self.others[route.endpoint]
        names = {name.lower() for name, _ in route.headers}
        shared = tuple((name, value) for name, value in whole.headers if name.lower() not in names)
        url = whole.url
        if route.path is not None:
            scheme, host = urlsplit(url)[:2]
            url = f"{scheme}://{host}{route.path}"
        elif route.model is not None:
            url = url.replace("{model}", quote(route.model, safe=""))
        return Destination(url, shared + route.headers, self.method_of(route))


def _without_credentials(url: str, headers: tuple[tuple[str, str], ...]) -> tuple[str, tuple[tuple[str, str], ...]]:
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, headers
    if userinfo.strip(":") and not any(name.lower() == "authorization" for name, _ in headers):
        user, _, password = userinfo.partition(":")
        token = base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()
        headers = (("authorization", f"Basic {token}"), *headers)
    return urlunsplit(parts._replace(netloc=host)), headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How responses are read: their API, the target's tokenizer if there is one, and the masking of secrets."""

    endpoint: Endpoint = ENDPOINTS[DEFAULT]
    count: Callable[[str], int] | None = None
    redact: Callable[[str], str] = lambda text: text
    dimensions: dict[str, int] = field(default_factory=dict)
    """The embedding dimensions of the run so far, by model: readers compare each reply with them, and add new ones."""
    proxy: Proxy | None = None
    """Named in the errors of requests that went through it."""
    store_texts: bool = False
    """Whether records keep every reply's answer. Answers to probes are always kept."""
    target: str | None = None
    """The address, in a run with several: records name it. If None, they use the replica named in the reply."""
    replica_headers: tuple[str, ...] = REPLICA_HEADERS
    """The headers in which a reply may name its replica: the first of them counts."""


OnEnd = Callable[[int, bool], None]
OnRecord = Callable[[RequestRecord], None]


def ignore(end_ns: int, whole: bool) -> None:
    """For callers who only wait for the record."""


class ReplyInFlight(Protocol):
    """A request in flight, and the part of its reply that was read."""

    request: Request

    @property
    def tokens_so_far(self) -> int:
        """Output tokens: the reply's own count, else one per chunk with text."""

    @property
    def ttft_ns(self) -> int | None:
        """The time to first token; None before it was read."""


class Transport(Protocol):
    """Sends requests. Each started request leads to two calls, from the event loop and never inside `start`.

    `ended(end_ns, whole)` comes immediately when a response has ended or failed: its slot is free. `whole`: its status
    is a success and it is complete; its content has not been read yet, and may still be wrong. Otherwise only the
    record tells the outcome. `done(record)` follows, in the same turn or when the transport has time: making a record
    must not delay the reading of other responses.
    """

    async def open(self) -> None:
        """Prepare, inside the running event loop."""

    async def prepare(self, connections: int) -> None:
        """Make connections in advance, if the transport can: a request then waits only for the server."""

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        """Send the request now. Any outcome becomes its record; nothing is raised."""

    def read_replies(self, then: Callable[[Iterable[ReplyInFlight]], None]) -> None:
        """Read what has come of the replies in flight, when there is time; then pass on all of them."""

    def cut(self) -> None:
        """End everything in flight: outcome `interrupted`; `ended` and `done` are still called for each."""

    async def close(self) -> None:
        """Close the connections."""
