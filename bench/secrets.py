"""Keeps secrets out of every file, log and error, the stored command line included: each becomes `***`.

Secrets are: the API key, the value of every header (also in rows of a data set), the user and password in a URL, the
values of its query, and in a request body the values of fields whose names suggest it (`api_key`, `password`,
`access_token`; not `max_tokens` or `eos_token`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import orjson

MASK = "***"
SHORTEST = 4
"""Shorter values are words that occur everywhere: masking them would garble the text and protect nothing."""


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that masks these values anywhere in a text: servers often quote a wrong key."""
    # The longest first, so that a secret that contains another is masked whole.
    known = sorted({s for s in secrets if len(s) >= SHORTEST}, key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, MASK)
        return text

    return redact


def public_url(url: str) -> str:
    """The URL without its secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{MASK}@{host}" if "@" in parts.netloc else host
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
    query = "&".join(f"{name}={MASK}" if equals else MASK for name, equals, _ in pairs)
    return urlunsplit(parts._replace(netloc=netloc, query=query))


def public_address(text: str) -> str:
    """A URL without its secrets, or any other word as it is: a flag may also take a file or a name."""
    return public_url(text) if text.startswith(("http://", "https://")) else text


def shown_url(text: str) -> str:
    """The part of a text that is safe to show if it may or may not be a URL: nothing before an @, no query values."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # Raises if it is the first part of a password that contains a slash.
        # Without a host, public_url would add slashes: http:/host becomes http:///host.
        return public_url(text) if parts.scheme in ("http", "https") and parts.netloc else _shown(text)
    except ValueError:
        return _shown(text)


def _shown(text: str) -> str:
    if cut := re.match(r"((?:[^/?#@]*://)?)[^/?#@]*:.*@", text):
        text = f"{cut[1]}{MASK}@{text[cut.end() :]}"
    place, mark, _ = re.split(r"([?#])", text, maxsplit=1) if re.search("[?#]", text) else (text, "", "")
    scheme, slashes, rest = place.partition("://") if "://" in place else ("", "", place)
    host = f"{MASK}@{rest.rpartition('@')[2]}" if "@" in rest else rest
    return f"{scheme}{slashes}{host}" + (f"{mark}{MASK}" if mark else "")


def secrets_of(url: str, headers: Iterable[tuple[str, str]], api_key: str | None, body: object = None) -> list[str]:
    """Every value to mask, in each form in which a server may quote it. `body`: the fields of --extra-body."""
    parts = urlsplit(url)
    secrets = [api_key, parts.username, parts.password, *(value for _, value in parse_qsl(parts.query))]
    secrets += [value if equals else name for name, equals, value in (p.partition("=") for p in parts.query.split("&"))]
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        secrets += [unquote(parts.username), unquote(parts.password or ""), base64.b64encode(pair.encode()).decode()]
    secrets += [*header_secrets(headers), *_secret_values(body)]
    return [value for value in secrets if value]


def header_secrets(headers: Iterable[tuple[str, str]]) -> list[str]:
    """The values of headers, each whole and without the word before it (`Bearer`)."""
    return [part for _, value in headers for part in (value, value.rpartition(" ")[2]) if part]


# Fields of a request body.

_SECRET_WORDS = frozenset({
    "apikey", "auth", "authorization", "bearer", "credential", "credentials", "passphrase", "passwd", "password", "pwd",
    "secret", "secrets",
})  # fmt: skip
_KEYS = frozenset(["access", "api", "auth", "encryption", "private", "secret", "signing", "subscription"])
"""Words before `key` in the names of secrets: `cache_key`, for example, is not secret."""
_TOKENS = frozenset(["bos", "end", "eos", "mask", "max", "min", "next", "pad", "sep", "start", "stop", "unk"])
"""Words before `token` that make it a model's token, not a secret."""
_MAY_BE_SECRET = (b"token", b"key", b"auth", b"bearer", b"credential", b"pass", b"pwd", b"secret")
"""Every name of a secret contains one of these."""


def is_secret_name(name: str) -> bool:
    """Whether a field's name marks its value as secret: `api_key`, `hfToken`, `Authorization`, `db-password`."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower().replace("-", " ").replace("_", " ").split()
    if not words:
        return False
    before = words[-2] if len(words) > 1 else None
    return (
        not _SECRET_WORDS.isdisjoint(words)
        or (words[-1] == "key" and (before is None or before in _KEYS))
        or (words[-1] == "token" and before not in _TOKENS)
    )


def public_body(value: object) -> object:
    """A JSON value with its secrets masked."""
    if isinstance(value, dict):
        return {k: _masked_all(v) if is_secret_name(str(k)) else public_body(v) for k, v in value.items()}
    return [public_body(v) for v in value] if isinstance(value, list) else value


def _masked_all(value: object) -> object:
    if isinstance(value, dict):
        return {k: _masked_all(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked_all(v) for v in value]
    return value if value is None or isinstance(value, bool) else MASK


_FIELD = re.compile(r""""([^"\\]+)"\s*:\s*"((?:[^"\\]|\\.)*)"|(?<![^&])([^=&\s"]+)=([^&\s]*)""")
"""A field with a text in what is not JSON: in a template of it, or in a form."""


def public_text(text: str) -> str:
    """A request body, or a template of one, with its secrets masked."""
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _FIELD.sub(_masked_field, text)
    shown = public_body(fields)
    return text if shown == fields else orjson.dumps(shown).decode()


def _masked_field(match: re.Match[str]) -> str:
    group = 2 if match[1] is not None else 4
    if not is_secret_name(match[group - 1]):
        return match[0]
    return match[0][: match.start(group) - match.start()] + MASK + match[0][match.end(group) - match.start() :]


def text_holds_mask(text: str) -> bool:
    """Whether `public_text` masked a part of a body or a template."""
    try:
        return holds_mask(orjson.loads(text))
    except orjson.JSONDecodeError:
        return any(
            is_secret_name(match[1] or match[3]) and MASK in (match[2], match[4]) for match in _FIELD.finditer(text)
        )


def holds_mask(value: object) -> bool:
    """Whether `public_body` masked part of a JSON value: the original secrets are gone."""
    return MASK in _secret_values(value)


def _secret_values(value: object, inside: bool = False) -> Iterator[str]:
    """The values under secret names, as text."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _secret_values(child, inside or is_secret_name(str(key)))
    elif isinstance(value, list):
        for child in value:
            yield from _secret_values(child, inside)
    elif inside and value is not None and not isinstance(value, bool):
        yield str(value)


def without_secrets_of(body: bytes, text: str) -> str:
    """The text with the secrets of this request body masked: servers may quote what they were sent."""
    # A body may have 20 MB: a case-insensitive pattern takes eight times as long on it.
    lower = body.lower()
    if not any(word in lower for word in _MAY_BE_SECRET):
        return text
    try:
        return redactor(_secret_values(orjson.loads(body)))(text)
    except orjson.JSONDecodeError:
        return text


# The command line.

_URL_FLAGS = ("--url", "--proxy", "--server-metrics", "--gpu-metrics")
_BODY_FLAGS = ("--body", "--body-template")
_MASKED_FLAGS = ("--api-key", "--header", "--extra-body", "--tokenizer", *_BODY_FLAGS, *_URL_FLAGS)


def public_command(argv: Sequence[str]) -> list[str]:
    """The command line with its secrets masked."""
    words: list[str] = []
    mask_next = ""
    for word in argv:
        flag, equals, value = word.partition("=")
        if mask_next:
            words.append(_masked(mask_next, word))
            mask_next = ""
        elif flag in _MASKED_FLAGS and equals:
            words.append(f"{flag}={_masked(flag, value)}")
        else:
            mask_next = word if word in _MASKED_FLAGS else ""
            words.append(word)
    return words


def _masked(flag: str, value: str) -> str:
    if flag == "--header":
        return f"{value.partition(':')[0]}: {MASK}"
    if flag == "--extra-body":
        try:
            fields = orjson.loads(value)
        except orjson.JSONDecodeError:
            return MASK
        return value if public_body(fields) == fields else orjson.dumps(public_body(fields)).decode()
    if flag in _BODY_FLAGS:
        return public_text(value)
    if flag == "--tokenizer":
        return public_address(value)
    return public_url(value) if flag in _URL_FLAGS else MASK
