"""Parses a curl command into its request. Options about the connection or the output are skipped."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import quote_plus

from promptset.whole_file import read_named

_WITH_VALUE = {
    "-X": "method", "--request": "method", "-H": "header", "--header": "header", "-d": "data", "--data": "data",
    "--data-ascii": "data", "--data-binary": "binary", "--data-raw": "raw", "--data-urlencode": "urlencode",
    "--json": "json", "-u": "user", "--user": "user", "-A": "agent", "--user-agent": "agent", "-e": "referer",
    "--referer": "referer", "-b": "cookie", "--cookie": "cookie", "--url": "url", "--oauth2-bearer": "bearer",
    "-F": "form", "--form": "form", "--form-string": "field",
}  # fmt: skip
_SKIPPED_WITH_VALUE = frozenset({
    "-m", "--max-time", "--connect-timeout", "-x", "--proxy", "-o", "--output", "-w", "--write-out", "--retry", "-c",
    "--cookie-jar", "--cacert", "--cert", "--key", "--resolve", "--limit-rate", "-E", "--noproxy", "--interface",
})  # fmt: skip
_SKIPPED = frozenset({
    "-s", "--silent", "-S", "--show-error", "-k", "--insecure", "-L", "--location", "-i", "--include", "-v", "--verbose",
    "--compressed", "-f", "--fail", "-N", "--no-buffer", "-g", "--globoff", "--http1.1", "--http2", "-#",
    "--progress-bar", "-4", "-6", "--path-as-is", "-O", "--no-progress-meter", "--fail-with-body",
})  # fmt: skip
_ALWAYS_SENT = frozenset({"accept", "user-agent", "content-type"})
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.|\$'((?:[^'\\]|\\.)*)'""", re.DOTALL)
"""A quoted piece of a command. The group is the text of `$'...'`."""
_ESCAPE = re.compile(r"((?:\\x[0-9a-fA-F]{1,2}|\\[0-7]{1,3})+)|\\(u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|.)", re.DOTALL)
_ESCAPED = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v", "\\": "\\", "'": "'",
    '"': '"', "?": "?",
}  # fmt: skip

Pairs = tuple[tuple[str, str], ...]


def request_of_command(command: str) -> tuple[str, str, Pairs, bytes]:
    """Method, URL, headers and body of a command. Raises ValueError for unsupported options."""
    request = _Request()
    words = _words(command)
    while words:
        word = words.pop(0)
        name, value = _option(word)
        if name is None:
            request.url.append(word)
        elif name in _SKIPPED:
            if value is not None:  # Short options may be combined: -sS.
                words.insert(0, f"-{value}")
        elif name in _WITH_VALUE or name in _SKIPPED_WITH_VALUE:
            if value is None and not words:
                raise ValueError(f"{name} has no value")
            argument = words.pop(0) if value is None else value
            if name in _WITH_VALUE:
                request.take(_WITH_VALUE[name], argument)
        elif name in ("-G", "--get"):
            request.get = True
        elif name in ("-I", "--head"):
            raise ValueError("-I asks for a head alone: use GET")
        else:
            raise ValueError(f"the option {name} of curl is not known")
    return request.whole()


def _option(word: str) -> tuple[str | None, str | None]:
    """The option of a word and the value attached to it; (None, None) for a word that is not an option."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    if word.startswith("-") and len(word) > 1:
        return word[:2], word[2:] or None
    return None, None


def _words(command: str) -> list[str]:
    """The words after `curl`, by the rules of a shell."""
    text = re.sub(r"\\\n", " ", command.strip().removeprefix("$ "))
    text = re.sub(r"(?<=\S)#", "\0", text)  # Inside a word # begins no comment, but shlex takes it for one.
    plain = _QUOTED.sub(lambda match: match[0] if match[1] is None else shlex.quote(_unescaped(match[1])), text)
    lexer = shlex.shlex(plain, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        words = list(lexer)
    except ValueError as e:
        raise ValueError(f"its quotes do not close ({e})") from e
    return [word.replace("\0", "#") for word in words[1:]]


def _unescaped(text: str) -> str:
    """The text of `$'...'`. As browsers write it, `\\u` may be half of a UTF-16 pair, and a byte that is not UTF-8 is a
    Latin-1 character. Raises ValueError."""

    def characters(match: re.Match[str]) -> str:
        if match[1] is None:
            code = match[2]
            if code[0] in "uU" and len(code) > 1:
                return int(code[1:], 16).to_bytes(4).decode("utf-32-be", "surrogatepass")
            return _ESCAPED.get(code, f"\\{code}")
        codes = match[1].split("\\")[1:]
        content = bytes(int(code[1:], 16) if code[0] == "x" else int(code, 8) % 256 for code in codes)
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content.decode("latin-1")

    try:
        return _ESCAPE.sub(characters, text).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as e:
        raise ValueError("an escape in $'...' is no character: half of a pair of \\u, or a number beyond 10FFFF") from e


class _Request:
    """Collects the options of a command."""

    def __init__(self) -> None:
        self.url: list[str] = []
        self.get = False
        self._method: str | None = None
        self._headers: list[tuple[str, str]] = []
        self._data: list[bytes] = []
        self._parts: list[bytes] = []
        self._json = False

    def take(self, kind: str, value: str) -> None:
        handlers: dict[str, Callable[[str], None]] = {
            "method": self._take_method,
            "header": self._header,
            "url": self.url.append,
        }
        headers = {"agent": "user-agent", "referer": "referer", "cookie": "cookie"}
        if kind in handlers:
            handlers[kind](value)
        elif kind in headers:
            if kind == "cookie" and "=" not in value:
                raise ValueError(f"-b {value} names a file of cookies, which is not read: give NAME=VALUE")
            self._headers.append((headers[kind], value))
        elif kind == "user":
            self._headers.append(("authorization", f"Basic {base64.b64encode(value.encode()).decode()}"))
        elif kind == "bearer":
            self._headers.append(("authorization", f"Bearer {value}"))
        elif kind in ("form", "field"):
            self._parts.append(_part(value, plain=kind == "field"))
        else:
            self._json = self._json or kind == "json"
            self._data.append(_data(kind, value))

    def _take_method(self, value: str) -> None:
        self._method = value

    def _header(self, value: str) -> None:
        name, colon, content = value.partition(":")
        if not colon and value.endswith(";"):  # A header without a value.
            self._headers.append((value[:-1].strip(), ""))
        elif not colon:
            raise ValueError(f"the header {value!r} has no colon")
        elif content.strip():
            self._headers.append((name.strip(), content.strip()))
        elif name.strip().lower() in _ALWAYS_SENT:
            raise ValueError(f"-H {value!r} takes out a header that each request has here: give it a value")
        # Any other header without a value is taken out of a request that does not have it.

    def whole(self) -> tuple[str, str, Pairs, bytes]:
        if len(self.url) != 1:
            raise ValueError(
                "it names no URL" if not self.url else f"it names {len(self.url)} URLs: write a command for each"
            )
        (url,) = self.url
        if "://" not in url:
            url = f"http://{url}"
        if self._parts and (self._data or self.get):
            raise ValueError("-F and -d cannot be combined: a body is a form or data")
        body = (b"" if self._json else b"&").join(self._data)
        if self._parts:
            body = self._form()
        if self.get and body:
            url += ("&" if "?" in url else "?") + body.decode("utf-8", "replace")
            body = b""
        named = {name.lower() for name, _ in self._headers}
        kinds = [("content-type", "application/json"), ("accept", "application/json")]
        if self._json:
            self._headers += [(name, value) for name, value in kinds if name not in named]
        elif body and "content-type" not in named:
            self._headers.append(("content-type", "application/x-www-form-urlencoded"))
        method = self._method or ("POST" if body or (self._data and not self.get) else "GET")
        return method, url, tuple(self._headers), body

    def _form(self) -> bytes:
        """The body of a form. Its boundary is derived from its content. Sets the content-type header that names it."""
        boundary = f"trueload-{sha256(b''.join(self._parts)).hexdigest()}"
        self._headers = [header for header in self._headers if header[0].lower() != "content-type"]
        self._headers.append(("content-type", f"multipart/form-data; boundary={boundary}"))
        border = b"--" + boundary.encode()
        return b"".join(border + b"\r\n" + part + b"\r\n" for part in self._parts) + border + b"--\r\n"


def _part(field: str, *, plain: bool) -> bytes:
    """A part of a form: `name=value`, `name=@file;type=...;filename=...`, `name=<file`. `plain`: the value is literal
    text."""
    name, equals, value = field.partition("=")
    if not equals or not name:
        raise ValueError(f"the field {field!r} of a form is not NAME=VALUE")
    head, content = f'Content-Disposition: form-data; name="{name}"', value.encode()
    if not plain and value[:1] in ("@", "<"):
        path, *options = value[1:].split(";")
        attributes = dict(option.strip().split("=", 1) for option in options if "=" in option)
        content = _content_of(path.strip('"'))
        if value[0] == "@":
            file_name = attributes.get("filename", path.strip('"').rpartition("/")[2])
            head += f'; filename="{file_name}"\r\nContent-Type: {attributes.get("type", "application/octet-stream")}'
    return head.encode() + b"\r\n\r\n" + content


def _content_of(path: str) -> bytes:
    try:
        return read_named(path)
    except OSError as e:
        raise ValueError(f"its file {path} cannot be read ({e.strerror})") from e


def _data(kind: str, value: str) -> bytes:
    """The bytes that a data option adds to the body."""
    if kind == "urlencode":
        name, sign, text = value.partition("=" if "=" in value else "@")
        content = _content_of(text) if sign == "@" else (text if sign else value).encode()
        return (f"{name}=" if sign and name else "").encode() + quote_plus(content).encode()
    if value.startswith("@") and kind != "raw":
        content_bytes = _content_of(value[1:])
        return content_bytes.replace(b"\r", b"").replace(b"\n", b"") if kind == "data" else content_bytes
    return value.encode()
