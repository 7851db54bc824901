"""What people write in a flag or a file, one value at a time: each function returns it checked, or says what is wrong.

The sentences of the ValueErrors are what the user reads, with the flag or the key put before them by settings.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from bench.errors import UsageError
from bench.metrics import objectives
from bench.secrets import MASK, public_url
from promptset import distributions, loaders, recipes

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"([0-9]*\.?[0-9]+)\s*([a-z]*)")


def seconds(value: object) -> float:
    """A time as people write it, in seconds: 300, "300s", "5m", "250ms". Raises ValueError."""
    match = _TIME.fullmatch(str(value).strip())
    if match is None or (match[2] and match[2] not in _UNITS_S):
        raise ValueError(f"{value!r} is not a time: write seconds (30) or a number with a unit (500ms, 30s, 5m, 1h)")
    return float(match[1]) * _UNITS_S[match[2] or "s"]


def positive(value: float) -> float:
    """A number above 0. Raises ValueError."""
    if value <= 0:
        raise ValueError("must be more than 0")
    return value


def token_lengths(value: object) -> str:
    """A distribution of tokens, in its plainest spelling. Raises ValueError (SpecError is one)."""
    return str(distributions.parse(str(value), "tokens"))


def time_lengths(value: object) -> str:
    """A distribution of times, in its plainest spelling. Raises ValueError (SpecError is one)."""
    return str(distributions.parse(str(value), "time"))


def json_object(value: object) -> object:
    """An object, also where it is written as JSON. Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as e:
        raise ValueError(f"not JSON ({e}); in a shell put it in single quotes: '{{\"top_p\": 0.9}}'") from e


def header(value: str) -> str:
    """NAME:VALUE, with a name and a value that HTTP can carry. Raises ValueError."""
    name, colon, content = value.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()):
        raise ValueError("a header is written NAME:VALUE, for example 'X-Tenant: a'")
    if not content.isascii() or any(ord(c) < 32 for c in content):
        raise ValueError(f"the value of header {name.strip()} has characters that a header cannot carry")
    return f"{name.strip()}: {content.strip()}"


def objective(value: str) -> str:
    """An objective of `--slo`, as it is written. Raises ValueError."""
    try:
        objectives.parse_one(value)
    except UsageError as e:
        raise ValueError(str(e)) from e
    return value


def url(value: str) -> str:
    """An http or https URL with a host. Its secrets are in no error. Raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https"):
        shown = f"{MASK}@{value.rpartition('@')[2]}" if "@" in value else public_url(value)
        raise ValueError(f"{shown!r} does not begin with http:// or https://; for example http://127.0.0.1:8000")
    if MASK in value:
        raise ValueError("it was stored without its secrets (***): give it again")
    if not parts.hostname:
        raise ValueError(f"{public_url(value)!r} names no host; for example http://127.0.0.1:8000")
    try:
        _ = parts.port
    except ValueError as e:
        raise ValueError(f"{public_url(value)!r}: {e}") from e
    return value


def warmup(value: object) -> str:
    """Requests (20) or a time (20s), as it is written. Raises ValueError."""
    text = str(value).strip()
    if not text.isdecimal():
        try:
            seconds(text)
        except ValueError:
            raise ValueError(f"{text!r} is neither a number of requests (20) nor a time (20s)") from None
    return text


def workers(value: object) -> str:
    """A number of processes, or auto. Raises ValueError."""
    text = str(value).strip()
    if text != "auto" and (not text.isdecimal() or text == "0"):
        raise ValueError(f"{text!r} is neither a number of processes (4) nor auto")
    return text


def error_limit(value: object) -> str:
    """A number of requests (10) or a share of them (5%). Raises ValueError."""
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]+|[0-9]*\.?[0-9]+%", text):
        raise ValueError(f"{text!r} is neither a number of requests (10) nor a share (5%)")
    return text


def existing_file(path: str) -> str:
    """A file that is there. Raises ValueError."""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    return path


def data_set(value: str) -> str:
    """A file that is there, or the name of a recipe. Raises ValueError."""
    if Path(value).is_file() or recipes.is_recipe(value):
        return value
    raise ValueError(f"there is no file {value}, and no recipe of that name (there are {', '.join(recipes.names())})")


def columns(value: str) -> str:
    """Columns of a data set, as they are written. Raises ValueError (SpecError is one)."""
    loaders.parse_columns(value)
    return value


def one_of(value: str, known: Mapping[str, object]) -> str:
    """A name that is known. Raises ValueError."""
    if value not in known:
        raise ValueError(f"{value!r} is not one of {', '.join(known)}")
    return value


def directory_name(value: str) -> str:
    """What can be a part of the name of a directory. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError(f"{value!r} cannot be part of a directory's name: use letters, digits, dot, dash, underscore")
    return value
