"""Assigns keys to servers. A key belongs to the scheme, host and port of its target; no other address gets it.

Keys are in environment variables of the console. A target may name only the default variables and those of `--key-env`.
Otherwise anyone with the token could send any secret of this environment to an address of their choice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.config.addresses import urls_of
from bench.console.language import tr
from bench.console.store import Target
from bench.endpoints import ENDPOINTS, urls
from promptset.whole_file import DATA_FOLDER

DEFAULT_VARIABLES = ("OPENAI_API_KEY", "TRUELOAD_KEY_*")
"""Variables that targets may name without --key-env. A star matches any characters."""
_PORTS = {"http": 80, "https": 443}


def origin_of(url: object) -> str | None:
    """Scheme, host and port of a URL, as http://host:port. Returns None if the text is not such a URL."""
    try:
        parts = urlsplit(str(url or "").strip())
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return None if not parts.hostname else f"{parts.scheme}://{parts.hostname.rstrip('.')}:{port}"


def origins_of(url: object) -> frozenset[str | None]:
    """The origin of each URL of a load."""
    return frozenset(map(origin_of, urls_of(url)))


@dataclass(frozen=True, slots=True)
class TargetKeys:
    """The environment variables of a server's key and headers, and the only origin that gets their values."""

    origin: str
    key_variable: str | None = None
    header_variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Target) -> TargetKeys | None:
        """The keys of a target. Returns None if it names no variable."""
        if not (target.key_variable or target.header_variables):
            return None
        return cls(origin_of(target.url) or "", target.key_variable, target.header_variables or {})

    @classmethod
    def stored(cls, planned: Mapping[str, Any]) -> TargetKeys | None:
        """The keys in task.yaml. A file of an older version has no origin, so its keys go nowhere."""
        key_variable, headers = planned.get("key_variable"), planned.get("header_variables")
        if not key_variable and not headers:
            return None
        headers = headers if isinstance(headers, dict) else {}
        key_variable = str(key_variable) if key_variable else None
        return cls(str(planned.get("keys_for")), key_variable, {str(k): str(v) for k, v in headers.items()})

    def to_plan(self) -> dict[str, Any]:
        """The same for task.yaml: names of variables, never their values."""
        return {
            "keys_for": self.origin,
            "key_variable": self.key_variable,
            "header_variables": dict(self.header_variables),
        }

    def are_for(self, url: object) -> bool:
        """Whether the keys may be used for a load: all of its addresses must have this origin, since each would get the
        keys."""
        return origins_of(url) == {self.origin}

    @property
    def variables(self) -> Iterator[tuple[str, str]]:
        """Pairs of secret (api_key, header) and variable name."""
        if self.key_variable:
            yield "api_key", self.key_variable
        for variable in self.header_variables.values():
            yield "header", variable


class KeyVariables:
    """The environment variables that targets may name."""

    def __init__(
        self, allowed: Sequence[str] = (), environment: Mapping[str, str] = os.environ, data: Path | None = None
    ) -> None:
        """`data`: the only folder whose files a task's data may name."""
        self._data = data
        self._allowed = (*DEFAULT_VARIABLES, *allowed)
        self._environment = environment

    def problem(self, name: str) -> str | None:
        """Why a variable cannot be used. Returns None if it can."""
        # The answer must not reveal whether a forbidden variable exists.
        if not any(fnmatchcase(name, pattern) for pattern in self._allowed):
            return tr("%(name)s may not be used as a key: start the console with --key-env %(name)s", name=name)
        if not self._environment.get(name):
            return tr("the console has no environment variable %(name)s: set it and start again", name=name)
        return None

    def missing(self, keys: TargetKeys | None, url: object) -> tuple[str, ...]:
        """The secrets (api_key, header) for this URL whose variables cannot be used."""
        if keys is None:
            return ()
        elsewhere = not keys.are_for(url)
        return tuple(dict.fromkeys(kind for kind, name in keys.variables if elsewhere or self.problem(name)))

    def environment(self, url: object, endpoint: object, keys: TargetKeys | None) -> dict[str, str]:
        """The environment of a process that sends to this URL. The only key it contains is the one of the URL's origin."""
        key_variables = {endpoint.key_variable for endpoint in ENDPOINTS.values()}
        environment = {name: value for name, value in self._environment.items() if name not in key_variables}
        if self._data is not None:
            environment[DATA_FOLDER] = str(self._data.resolve())
        variable = keys.key_variable if keys is not None and keys.are_for(url) else None
        if variable and self.problem(variable) is None:
            environment[urls.key_variable(urls_of(url)[0], endpoint)] = self._environment[variable]
        return environment

    def headers(self, url: object, keys: TargetKeys | None) -> list[str]:
        """The headers whose values come from variables, as `NAME: VALUE`."""
        if keys is None or not keys.are_for(url):
            return []
        variables = keys.header_variables.items()
        return [
            f"{name}: {self._environment[variable]}" for name, variable in variables if self.problem(variable) is None
        ]


def settings_of(target: Target) -> dict[str, Any]:
    """The run settings that a target implies."""
    known = {"url": target.url, "endpoint": target.endpoint, "model": target.model, "tokenizer": target.tokenizer}
    return {key: value for key, value in known.items() if value}


def aimed(settings: Mapping[str, Any], target: Target | None) -> tuple[dict[str, Any], list[tuple[str | None, str]]]:
    """The settings of a probe or a run against a target, and their problems.

    A typed URL may have another path on the target's server. A URL of another server is refused, not ignored.
    """
    if target is None:
        return dict(settings), []
    base = settings_of(target)
    typed = settings.get("url")
    if typed and origins_of(typed) != {origin_of(target.url)}:
        sentence = tr(
            "%(typed)s is not at the target %(name)s (%(url)s): leave the URL empty, or choose no target",
            typed=", ".join(urls_of(typed)),
            name=target.name,
            url=target.url,
        )
        return {**base, **settings}, [("url", sentence)]
    return {**base, **{key: value for key, value in settings.items() if key != "url" or value}}, []


def tokenizer_problem(settings: Mapping[str, Any]) -> list[tuple[str | None, str]]:
    """Refuse another server that counts tokens: it would get the key of the load."""
    tokenizer = str(settings.get("tokenizer") or "")
    if not tokenizer.startswith(("http://", "https://")) or origins_of(settings.get("url")) == {origin_of(tokenizer)}:
        return []
    address = origin_of(tokenizer)
    sentence = tr("the key of this load would go to %(address)s: write server, or a name of the hub", address=address)
    return [("tokenizer", sentence)]


SEEN_BY_PROXY = ("proxy", "insecure", "ca_file")
"""The settings that decide whether a proxy can read the requests."""


def proxy_problem(settings: Mapping[str, Any]) -> list[tuple[str | None, str]]:
    """Refuse a proxy that could read the key of the load: it can unless TLS with the usual authorities hides it."""
    hidden = all(str(origin).startswith("https://") for origin in origins_of(settings.get("url")))
    if not settings.get("proxy") or (hidden and not settings.get("insecure") and not settings.get("ca_file")):
        return []
    sentence = tr("the proxy could read the key of this load: leave the proxy out")
    return [("proxy", sentence)]
