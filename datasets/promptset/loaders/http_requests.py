"""Requests of any HTTP service, from files: bodies, vegeta's JSON targets, HAR files, curl commands.

A whole file is kept in memory. Requests keep the path of their URL, their method, headers and body. The host is that of
the run, so a recording can be sent to another server. If a file names several hosts, only requests to the first are
used.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from promptset.errors import SpecError
from promptset.loaders.curl import request_of_command
from promptset.samples import HttpRequest, Sample
from promptset.whole_file import ensure_plain, refuse_encoded

NOT_SENT = frozenset({
    "connection", "content-length", "transfer-encoding", "host", "accept-encoding", "keep-alive", "upgrade",
    "proxy-connection", "te", "trailer", "expect", "x-request-id",
})  # fmt: skip
"""Headers of a recording that belong to its own connection."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_TARGET_KEYS = {"method": None, "url": None, "body": None, "header": None, "session": None, "think_time_s": None}.keys()
_MOST_PAUSE_S = 86_400
_FEW = 5
"""The maximum number of listed problems; the others are counted."""


@dataclass(frozen=True, slots=True)
class HttpRows:
    """The requests of a file, and the number of its requests to other hosts."""

    samples: tuple[Sample, ...]
    format: str
    elsewhere: int = 0
    host: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request with its URL. `body` is empty if there is none."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    at: datetime | None = None
    session: str | None = None
    think_time_s: float = 0.0


def read_http_rows(path: Path, form: str) -> HttpRows:
    """The requests of a file in this format (`auto` detects it). Raises SpecError."""
    try:
        ensure_plain(path)
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        refuse_encoded(content, path)
    except OSError as e:
        raise SpecError(f"the file {path} cannot be read: {e.strerror}") from e
    if not content.strip():
        raise SpecError(f"the file {path} is empty")
    named = _looks_like(content) if form == "auto" else form
    return FORMATS[named](content, str(path))


def _looks_like(content: bytes) -> str:
    """Detects the format of a file by its first line. If all lines are Base64 of JSON, they are bodies in Base64."""
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    first = next((line for line in lines if not line.startswith(b"#")), lines[0])
    if re.match(rb"(\$ )?curl\s", first):
        return "curl"
    if content.lstrip()[:1] == b"{":
        entry = _object(first)
        if entry is not None and isinstance(entry.get("method"), str) and isinstance(entry.get("url"), str):
            return "targets"
        if "log" in (_object(content) or {}):
            return "har"
    decoded = [_decoded(line) for line in _lines(content)[:100]]
    return "base64" if all(body is not None and _object(body) is not None for body in decoded) else "bodies"


def _object(text: bytes) -> Mapping[str, Any] | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _lines(content: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in content.split(b"\n") if line.strip()]


def _decoded(line: bytes) -> bytes | None:
    try:
        return base64.b64decode(line.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None


def _bodies(content: bytes, path: str) -> HttpRows:
    return HttpRows(tuple(Sample(http=HttpRequest(line)) for line in _lines(content)), "bodies")


def _base64(content: bytes, path: str) -> HttpRows:
    """One body in Base64 per line."""
    bodies, problems = [], []
    for number, line in enumerate(_lines(content), 1):
        body = _decoded(line)
        if body is None:
            problems.append(f"{path}, line {number} is not Base64: with --rows bodies each line is sent as it is")
        else:
            bodies.append(Sample(http=HttpRequest(body)))
    _raise(problems)
    return HttpRows(tuple(bodies), "base64")


def _targets(content: bytes, path: str) -> HttpRows:
    """vegeta's JSON targets: one per line with method and url, optionally body (Base64) and header; also the session
    and the think time within it."""
    return _each(enumerate(_lines(content), 1), _target, f"{path}, line", "targets")


def _target(line: bytes) -> Recorded:
    row = _object(line)
    if row is None:
        raise ValueError("it is not a JSON object")
    if unknown := row.keys() - _TARGET_KEYS:
        raise ValueError(f"the key {min(unknown)!r} is not one of {', '.join(_TARGET_KEYS)}")
    method, url, body, header = (row.get(key) for key in ("method", "url", "body", "header"))
    if not isinstance(method, str) or not isinstance(url, str):
        raise ValueError("it needs a method and a url")
    decoded = b"" if body is None else _decoded(body.encode()) if isinstance(body, str) else None
    if decoded is None:
        raise ValueError("its body is not Base64")
    if header is not None and not isinstance(header, dict):
        raise ValueError("its header is not an object of lists")
    pairs = [(name, value) for name, values in (header or {}).items()
             for value in (values if isinstance(values, list) else [values])]  # fmt: skip
    session, pause_s = row.get("session"), row.get("think_time_s", 0)
    if not (session is None or type(session) in (str, int)) or session == "":
        raise ValueError("its session is not a name")
    if type(pause_s) not in (int, float) or not 0 <= pause_s <= _MOST_PAUSE_S:
        raise ValueError("its think_time_s is not a number of seconds")
    return Recorded(
        method,
        url,
        tuple((name, str(value)) for name, value in pairs),
        decoded,
        session=None if session is None else str(session),
        think_time_s=float(pause_s),
    )


def _har(content: bytes, path: str) -> HttpRows:
    """The requests of a HAR file (HTTP Archive 1.2), with their send times."""
    archive = _object(content)
    log = None if archive is None else archive.get("log")
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise SpecError(f"{path} is not a HAR file: it has no log.entries")
    return _each(enumerate(entries, 1), _har_entry, f"{path}, entry", "har")


def _har_entry(entry: object) -> Recorded:
    request = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(request, dict) or not isinstance(request.get("url"), str):
        raise ValueError("it has no request with a url")
    listed = request.get("headers")
    headers = [
        (header["name"], header["value"])
        for header in (listed if isinstance(listed, list) else ())
        if isinstance(header, dict) and isinstance(header.get("name"), str) and isinstance(header.get("value"), str)
    ]
    posted = request.get("postData")
    text = posted.get("text") if isinstance(posted, dict) else None
    if isinstance(posted, dict) and not isinstance(text, str) and posted.get("params"):
        text = _form(posted)
    begun = entry.get("startedDateTime")
    at = datetime.fromisoformat(begun) if isinstance(begun, str) else None
    if at is not None and at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    body = text.encode() if isinstance(text, str) else b""
    return Recorded(str(request.get("method", "GET")), request["url"], tuple(headers), body, at)


def _form(posted: Mapping[str, Any]) -> str:
    """The body of a form that has its fields alone."""
    fields = posted["params"]
    if not str(posted.get("mimeType")).startswith("application/x-www-form-urlencoded") or not isinstance(fields, list):
        raise ValueError("the text of its form is missing: record it with the text of bodies")
    return urlencode(
        [(str(field.get("name", "")), str(field.get("value", ""))) for field in fields if isinstance(field, dict)]
    )


def _curl(content: bytes, path: str) -> HttpRows:
    """curl commands, each over one or several lines. Lines that begin with # are comments."""
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    commands = [
        (m.start(), m[0]) for m in re.finditer(r"(?ms)^[ \t]*(?:\$ )?curl\s.*?(?=^[ \t]*(?:\$ )?curl\s|\Z)", text)
    ]

    def recorded(command: str) -> Recorded:
        return Recorded(*request_of_command(command))

    numbered = [(text.count("\n", 0, at) + 1, command) for at, command in commands]
    return _each(numbered, recorded, f"{path}, line", "curl")


def _each(rows: Iterable[tuple[int, Any]], read: Callable[[Any], Recorded], where: str, form: str) -> HttpRows:
    """Read each row, and keep those to the host of the first one. Raises SpecError with every problem."""
    requests: list[Recorded] = []
    problems: list[str] = []
    for number, row in rows:
        try:
            requests.append(_checked(read(row)))
        except ValueError as e:
            problems.append(f"{where} {number}: {e}")
    _raise(problems)
    if not requests:
        raise SpecError(f"{where.partition(', ')[0]} holds no request")
    host = urlsplit(requests[0].url).netloc
    here = [request for request in requests if urlsplit(request.url).netloc == host]
    times = [request.at for request in here if request.at is not None]
    begun = min(times) if len(times) == len(here) else None
    samples = [_sample(request) for request in here]
    if begun is not None:
        samples = [
            replace(sample, at_s=(request.at - begun).total_seconds())
            for sample, request in zip(samples, here, strict=True)
            if request.at is not None
        ]
    return HttpRows(tuple(samples), form, len(requests) - len(here), host)


def _checked(request: Recorded) -> Recorded:
    method = request.method.upper()
    if method not in METHODS:
        raise ValueError(f"the method {request.method!r} is not one of {', '.join(METHODS)}")
    parts = urlsplit(request.url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{request.url[:80]!r} is not a whole URL: http://host/path")
    headers = tuple((n, v) for n, v in request.headers if not n.startswith(":") and n.lower() not in NOT_SENT)
    for name, value in headers:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\r\n\0]|[^\x00-\xff]", value):
            raise ValueError(f"no request can carry the header {name[:40]!r}")
    return replace(request, method=method, headers=_joined(headers))


def _joined(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Each header once, with repeated values joined as HTTP allows."""
    merged: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        known = merged.get(name.lower())
        between = "; " if name.lower() == "cookie" else ", "
        merged[name.lower()] = (name, value) if known is None else (known[0], f"{known[1]}{between}{value}")
    return tuple(merged.values())


def _sample(recorded: Recorded) -> Sample:
    parts = urlsplit(recorded.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = re.sub(r"[^!-~]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), target)
    request = HttpRequest(recorded.body, recorded.method, path, recorded.think_time_s)
    return Sample(http=request, headers=recorded.headers, session=recorded.session)


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise SpecError.of_rows(problems, _FEW, f"{len(problems) - _FEW:,} more problems")


FORMATS: dict[str, Callable[[bytes, str], HttpRows]] = {
    "bodies": _bodies,
    "base64": _base64,
    "targets": _targets,
    "har": _har,
    "curl": _curl,
}
"""By the name that `--rows` takes."""
