"""Keeps secrets out of every file, log and error: each becomes `***`, the stored command line included.

Secret are: the API key, every header's value, a user and password in a URL, and the values of its query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

MASK = "***"
SHORTEST = 4
"""Values shorter than this are words that occur everywhere: masking them would hide the text and protect nothing."""


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that masks these values wherever they stand in a text: servers like to quote a wrong key."""
    # The longest first, so that a secret that contains another one goes whole.
    known = sorted({s for s in secrets if len(s) >= SHORTEST}, key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, MASK)
        return text

    return redact


def public_url(url: str) -> str:
    """The URL without what may be secret in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{MASK}@{host}" if "@" in parts.netloc else host
    query = urlencode([(name, MASK) for name, _ in parse_qsl(parts.query, keep_blank_values=True)], safe="*")
    return urlunsplit(parts._replace(netloc=netloc, query=query))


def secrets_of(url: str, headers: Iterable[tuple[str, str]], api_key: str | None) -> list[str]:
    """Every value that must not be seen."""
    parts = urlsplit(url)
    credentials = [parts.username, parts.password]
    decoded = [unquote(word) for word in credentials if word is not None]
    found = [api_key, *credentials, *decoded, *(value for _, value in parse_qsl(parts.query))]
    for _, value in headers:
        found += [value, value.rpartition(" ")[2]]
    return [value for value in found if value]


def public_command(argv: Sequence[str]) -> list[str]:
    """The command line with its secrets masked."""
    told: list[str] = []
    mask_next = ""
    for word in argv:
        flag, equals, value = word.partition("=")
        if mask_next:
            told.append(_masked(mask_next, word))
            mask_next = ""
        elif flag in ("--api-key", "--header", "--url") and equals:
            told.append(f"{flag}={_masked(flag, value)}")
        else:
            mask_next = word if word in ("--api-key", "--header", "--url") else ""
            told.append(word)
    return told


def _masked(flag: str, value: str) -> str:
    if flag == "--header":
        return f"{value.partition(':')[0]}: {MASK}"
    return public_url(value) if flag == "--url" else MASK
