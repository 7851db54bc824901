"""Counts tokens with a server's own `/tokenize`, over HTTP.

Without the tokenizer's files, the server under test can count: exactly as it will count the prompt, but more slowly.
Several requests are in flight at a time. Never use this during a measurement.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import orjson

from promptset.chat import Message, Tool
from promptset.errors import SpecError
from promptset.header_values import api_key as checked_key
from promptset.tokenizer import Tokenizer

_AT_ONCE = 8
_TIMEOUT_S = 60.0
_SAMPLE = "The quick brown fox, 12345 of them!\n\tjumps() 中国"
"""Tokenizers that split this text identically get the same fingerprint."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The requests of a kind of server for the ids of a text or messages, and for the text of ids."""

    text: Callable[[str, bool], dict[str, Any]]
    """The request to /tokenize for a text, with or without special tokens."""
    chat: Callable[[Sequence[Message], Sequence[Tool] | None], dict[str, Any]]
    """The request for messages: to /tokenize, or to /apply-template if `renders`."""
    decoded: str
    """The key of the text in the answer of /detokenize."""
    renders: bool
    """Whether /apply-template renders messages first; the text is then counted like a prompt."""

    def recognizes(self, answer: dict[str, Any]) -> bool:
        """Whether this answer to a text of several tokens comes from such a server."""
        return bool(answer.get("tokens")) and ("count" in answer or self.renders)


def _vllm_chat(messages: Sequence[Message], tools: Sequence[Tool] | None) -> dict[str, Any]:
    asked: dict[str, Any] = {"messages": list(messages), "add_generation_prompt": True, "add_special_tokens": False}
    return {**asked, "tools": list(tools)} if tools else asked


def _llama_cpp_chat(messages: Sequence[Message], tools: Sequence[Tool] | None) -> dict[str, Any]:
    return {"messages": list(messages), "tools": list(tools)} if tools else {"messages": list(messages)}


DIALECTS: dict[str, Dialect] = {
    "vLLM": Dialect(
        lambda text, special: {"prompt": text, "add_special_tokens": special}, _vllm_chat, "prompt", renders=False
    ),
    "llama.cpp": Dialect(
        lambda text, special: {"content": text, "add_special": special, "parse_special": True},
        _llama_cpp_chat,
        "content",
        renders=True,
    ),
}
"""By server. The mock, SGLang and others use vLLM's dialect."""


class ServerTokenizer(Tokenizer):
    """The tokenizer of a server. Created by `connect`. Every method raises SpecError if the server does not answer."""

    is_remote = True

    def __init__(self, server: _Server, dialect: Dialect) -> None:
        self.name = server.base
        self._dialect = dialect
        self._ask = server.ask
        weakref.finalize(self, server.close)
        # Threads do not survive a fork.
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tokenize")
        ids = self.encode(_SAMPLE, add_special_tokens=True)
        self.special_tokens_added = len(ids) - len(self.encode(_SAMPLE))
        self.fingerprint = hashlib.sha256(orjson.dumps(ids)).hexdigest()[:12]

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return self._ids(self._dialect.text(text, add_special_tokens))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._ask("detokenize", {"tokens": list(ids)}).get(self._dialect.decoded, ""))

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """`count` of each text, several at a time."""
        return self._counts(self._dialect.text(text, True) for text in texts)

    def count_plain(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text without special tokens, several at a time."""
        return self._counts(self._dialect.text(text, False) for text in texts)

    def count_chats(self, chats: Sequence[Sequence[Message]], tools: Sequence[Tool] | None = None) -> list[int]:
        return list(self._threads.map(lambda messages: len(self._chat_ids(messages, tools)), chats))

    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> list[int]:
        return self._chat_ids(messages, tools)

    def _chat_ids(self, messages: Sequence[Message], tools: Sequence[Tool] | None) -> list[int]:
        if self._dialect.renders:
            # As in its chat endpoint, special tokens are also added to the rendered template.
            return self.encode(self.render_chat(messages, tools), add_special_tokens=True)
        return self._ids(self._dialect.chat(messages, tools))

    def render_chat(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None = None, *, add_generation_prompt: bool = True
    ) -> str:
        """The rendered messages, if the server can return them."""
        if not self._dialect.renders or not add_generation_prompt:
            return super().render_chat(messages, tools)
        return str(self._ask("apply-template", self._dialect.chat(messages, tools))["prompt"])

    def vocabulary(self) -> list[str]:
        """Raises SpecError: servers do not return their vocabulary."""
        raise SpecError(f"{self.name} does not return its vocabulary: name the tokenizer's file or directory instead")

    def _counts(self, questions: Iterable[dict[str, Any]]) -> list[int]:
        return list(self._threads.map(lambda question: len(self._ids(question)), questions))

    def _ids(self, question: dict[str, Any]) -> list[int]:
        ids = self._ask("tokenize", question).get("tokens")
        if not isinstance(ids, list):
            raise SpecError(f"{self.name}/tokenize answered without tokens")
        return ids


def connect(
    url: str, api_key: str | None = None, tls: ssl.SSLContext | None = None, proxy: str | None = None
) -> ServerTokenizer:
    """The tokenizer of the server at this address, which may end in /v1 or an endpoint's path.

    `api_key` is by default OPENAI_API_KEY of the environment; `tls` the system's authorities; `proxy` the URL of an
    HTTP proxy, none by default. Raises SpecError.
    """
    raw_key = (os.environ.get("OPENAI_API_KEY") or None) if api_key is None else api_key
    try:
        key = None if raw_key is None else checked_key(raw_key)
    except ValueError as e:
        raise SpecError(
            f"the API key of {_shown(_base(url))}{' (OPENAI_API_KEY)' if api_key is None else ''}: {e}"
        ) from None
    server = _Server(_base(url), key, ssl.create_default_context() if tls is None else tls, proxy)
    try:
        answers = []
        for dialect in DIALECTS.values():
            response = server.post("tokenize", dialect.text(_SAMPLE, True))
            if response.is_success and dialect.recognizes(_object(response)):
                return ServerTokenizer(server, dialect)
            answers.append(f"{response.status_code} {response.text[:80]}".strip())
        raise SpecError(
            f"{server.base}/tokenize does not answer like {' or '.join(DIALECTS)} (it answered {answers[0]}): "
            "name the tokenizer's directory, file or hub id"
        )
    except SpecError:
        server.close()
        raise


class _Server:
    """Connections to a server, one per thread: in httpx's own pool, threads wait for each other."""

    def __init__(self, address: str, api_key: str | None, tls: ssl.SSLContext, proxy: str | None) -> None:
        self.base = _shown(address)
        self._address, self._tls, self._proxy = address, tls, proxy
        self._headers = {"content-type": "application/json"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._clients: dict[int, httpx.Client] = {}

    def ask(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
        """The server's answer. Raises SpecError."""
        response = self.post(path, question)
        if not response.is_success:
            raise SpecError(f"{self.base}/{path} answered {response.status_code}: {response.text[:200]}")
        return _object(response)

    def post(self, path: str, question: dict[str, Any]) -> httpx.Response:
        """The response, whatever its status. Raises SpecError if there is none."""
        thread = threading.get_ident()
        content = orjson.dumps(question)
        try:
            if thread not in self._clients:
                # With a transport of its own, httpx does not go through the proxies of the environment.
                self._clients[thread] = httpx.Client(
                    base_url=self._address,
                    headers=self._headers,
                    timeout=_TIMEOUT_S,
                    transport=httpx.HTTPTransport(verify=self._tls, proxy=self._proxy),
                )
            client = self._clients[thread]
            try:
                return client.post(f"/{path}", content=content)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                return client.post(f"/{path}", content=content)  # The server had closed an idle connection; try again.
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise SpecError(f"{self.base}/{path} does not answer ({type(e).__name__}: {e})") from e

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        content = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _base(url: str) -> str:
    """The address without the path of an OpenAI endpoint: /tokenize is at the root."""
    try:
        parts = urlsplit(url)
    except ValueError as e:
        raise SpecError(f"{url.rpartition('@')[2]} is not a URL ({e}): write http://host:port") from e
    path = parts.path.rstrip("/")
    for ending in ("/chat/completions", "/completions", "/embeddings", "/tokenize", "/v1"):
        path = path.removesuffix(ending)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _shown(address: str) -> str:
    """An address for names and messages: without the user and the password, which files would keep."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
