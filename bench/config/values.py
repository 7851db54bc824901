"""Checks the values of flags and files, one at a time: each function returns the checked value, or raises.

The user sees the messages of the ValueErrors, to which resolution.py prepends the flag or the key.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import orjson
from pydantic import SecretStr

from bench.errors import UsageError
from bench.metrics import objectives, precision
from bench.secrets import MASK, holds_mask, shown_url
from bench.traffic import cancel, models
from promptset import audio as made_audio
from promptset import distributions, loaders, recipes
from promptset import images as made_images
from promptset import video as made_video
from promptset.batches import check_inputs
from promptset.depth import TOO_DEEP, too_deep
from promptset.header_values import HEADER_NAME, SET_BY_HTTP, header_value
from promptset.header_values import api_key as checked_key
from promptset.large_numbers import large_number
from promptset.probes import parse_probes

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"([0-9]*\.?[0-9]+)\s*([a-z]*)")

_ID = "x-request-id"
_FRAMING = ("content-length", "transfer-encoding")

_DIFFERS_IN_IDNA = re.compile("[\u00df\u03c2\u200c\u200d]")

LONGEST_S = 366 * 24 * 3600.0
"""No run, wait or timeout is longer than a year."""

MOST_REQUESTS = 1_000_000_000
MOST_USERS = 1_000_000
MOST_RATE = 1_000_000.0
LEAST_RATE = 1e-5
MOST_TOKENS = 10_000_000
MOST_WORKERS = 1_024
MOST_SEED = 2**63 - 1
"""Larger numbers are typing errors: no machine could hold or send so much."""

DEFAULT_PROBES = "100"
"""This many built-in probes, of every kind that the endpoint can answer."""

_BYTES_A_TOKEN = 5
_RATE_A_PROCESSOR = 2_000


def seconds(value: object) -> float:
    """A time in seconds, from 300, "300s", "5m" or "250ms". Raises ValueError."""
    match = _TIME.fullmatch(str(value).strip())
    if match is None or (match[2] and match[2] not in _UNITS_S):
        if str(value).strip().startswith("-") and _TIME.fullmatch(str(value).strip()[1:]):
            raise ValueError(f"{value!r} is negative, and a time cannot be")
        raise ValueError(f"{value!r} is not a time: write seconds (30) or a number with a unit (500ms, 30s, 5m, 1h)")
    duration = float(match[1]) * _UNITS_S[match[2] or "s"]
    if duration > LONGEST_S:
        raise ValueError(f"{value!r} is more than a year: give at most 8784h")
    return duration


def as_text(value: object) -> str:
    """A value as written on a command line: a float with up to 15 digits, without a point if it is whole."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def positive(value: float) -> float:
    """A number above 0. Raises ValueError."""
    if value <= 0:
        raise ValueError("must be more than 0")
    return value


def token_lengths(value: object) -> str:
    """A distribution of tokens, in its simplest spelling. Raises ValueError (SpecError is one)."""
    lengths = distributions.parse(str(value), "tokens")
    mean = lengths.mean()
    if not mean >= 0.5:
        raise ValueError(f"{value!r} is too small: give at least 1")
    if mean > MOST_TOKENS:
        need = (
            f"{mean * _BYTES_A_TOKEN / 1e9:,.1f} GB of text for every request" if mean < 1e15 else "more than any disk"
        )
        raise ValueError(f"{value!r} needs about {need}: give at most {MOST_TOKENS:,} tokens")
    return str(lengths)


def batch_inputs(value: object) -> str:
    """A distribution of inputs per request, in its simplest spelling. Raises ValueError (SpecError is one)."""
    inputs = distributions.parse(str(value), "tokens")
    check_inputs(inputs)
    return str(inputs)


def requests_per_s(value: float) -> float:
    """A rate that a machine could send. Raises ValueError."""
    if not value <= MOST_RATE:
        raise ValueError(
            f"{value:,.10g} requests a second are more than a machine sends (a processor sends about "
            f"{_RATE_A_PROCESSOR:,}): give at most {MOST_RATE:,.0f}"
        )
    if value < LEAST_RATE:
        raise ValueError(f"must be at least {LEAST_RATE:g}: one request a day is 0.0000116 a second")
    return value


def no_more_than(most: int, need: str) -> Callable[[int | None], int | None]:
    """A check for typing errors in a number. `need` describes what a larger number would take."""

    def check(value: int | None) -> int | None:
        if value is not None and value > most:
            raise ValueError(f"{value:,} {need}: give at most {most:,}")
        return value

    return check


def time_lengths(value: object) -> str:
    """A distribution of times, in its simplest spelling. Raises ValueError (SpecError is one)."""
    return str(distributions.parse(str(value), "time"))


def json_object(value: object) -> object:
    """An object, possibly written as JSON. Raises ValueError."""
    original = value
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as e:
            if "depth limit" in str(e):
                raise ValueError(TOO_DEEP) from e
            raise ValueError(f"not JSON ({e}); in a shell put it in single quotes: '{{\"top_p\": 0.9}}'") from e
    try:
        deep = too_deep(value)
    except TypeError as e:  # YAML has dates, and numbers of any size.
        raise ValueError(f"cannot be sent as JSON: {str(e)[:1].lower()}{str(e)[1:]}") from e
    if deep:
        raise ValueError(TOO_DEEP)
    if isinstance(original, str) and (too_large := large_number(original.encode())):
        raise ValueError(too_large)
    if holds_mask(value):
        raise ValueError(f"it was stored without its secrets ({MASK}): give it again")
    return value


def model(value: object) -> object:
    """The name of a model, or several with weights, also as an object. Raises ValueError."""
    if isinstance(value, Mapping):
        value = orjson.dumps(value).decode()
    if isinstance(value, str):
        models.parse(value)
    return value


def cancellation(value: object) -> str:
    """Which users give up, in the simplest spelling. Raises ValueError (SpecError is one)."""
    return str(cancel.parse(str(value)))


def audio(value: str) -> str:
    """Audio clips of requests, as written. Raises ValueError (SpecError is one)."""
    made_audio.parse(value)
    return value


def video(value: str) -> str:
    """Videos of requests, as written. Raises ValueError (SpecError is one)."""
    made_video.parse(value)
    return value


def images(value: str) -> str:
    """Images of requests, as written. Raises ValueError (SpecError is one)."""
    made_images.parse(value)
    return value


def header(value: str) -> str:
    """NAME:VALUE, with a name and a value that HTTP can carry. Raises ValueError."""
    name, colon, content = value.partition(":")
    if not colon or not HEADER_NAME.fullmatch(name.strip()):
        raise ValueError("a header is written NAME:VALUE, for example 'X-Tenant: a'")
    if name.strip().lower() in _FRAMING:
        raise ValueError(
            f"the header {name.strip()} gives the length of a body, which Trueload sets for each request: leave it out"
        )
    if name.strip().lower() == _ID:
        raise ValueError(f"the header {name.strip()} identifies each request, so Trueload sets it: leave it out")
    return f"{name.strip()}: {header_value(content, f'the value of header {name.strip()}')}"


def headers(texts: tuple[str, ...]) -> tuple[str, ...]:
    """NAME:VALUE of each header, none of them twice. Raises ValueError."""
    whole = tuple(map(header, texts))
    names = [text.partition(":")[0].lower() for text in whole]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"{twice[0]} is given twice: write its values as one, with a comma between them")
    return whole


def api_key(value: SecretStr | None) -> SecretStr | None:
    """An API key without surrounding white space. Raises ValueError if no header can carry it."""
    return None if value is None else SecretStr(checked_key(value.get_secret_value()))


def header_name(value: str) -> str:
    """The name of a header, and nothing else. Raises ValueError."""
    if not HEADER_NAME.fullmatch(value):
        raise ValueError("give only the name of a header, for example X-Session-ID")
    if value.lower() in SET_BY_HTTP:
        raise ValueError(f"the header {value} is set for each request: name another header, for example X-Session-ID")
    return value


def slos(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The objectives of `--slo`, as written. Raises ValueError with a line for each problem."""
    problems: list[str] = []
    for text in texts:
        try:
            objectives.from_user(text)
        except UsageError as e:
            problems += [problem.removeprefix("--slo ") for problem in e.problems]
    if problems:
        raise ValueError("\n".join(problems))
    return texts


def precision_goals(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The goals of `--until`, in the simplest spelling; a flag may hold several, separated by commas. Raises ValueError."""
    problems, goals = [], []
    for text in (part for whole in texts for part in whole.split(",")):
        try:
            goals.append(str(precision.parse_one(text)))
        except UsageError as e:
            problems.append(str(e).removeprefix("--until "))
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(dict.fromkeys(goals))


def _with_scheme(value: str) -> str:
    """The URL that was perhaps meant: with http:// if only that is missing or misspelled, else an example."""
    if re.fullmatch(r":?\d{1,5}", value):
        return f"http://127.0.0.1:{value.lstrip(':')}"
    rest = re.sub(r"^(?:[a-z]+:/{1,2}|https?:)(?!/)", "", value)
    scheme = "https" if value.startswith("https:") else "http"
    return f"{scheme}://{shown_url(rest)}" if re.fullmatch(r"[\w.-]+(:\d+)?(/.*)?", rest) else "http://127.0.0.1:8000"


def url(value: str) -> str:
    """An http or https URL with a host. Errors do not contain its secrets. Raises ValueError."""
    try:
        parts = urlsplit(value)
    except ValueError as e:  # A bracket is missing, or it does not contain an address.
        raise ValueError(f"{shown_url(value)!r} is not a URL: write an IPv6 address as in http://[::1]:8000") from e
    if parts.scheme not in ("http", "https"):
        raise ValueError(
            f"{shown_url(value)!r} does not begin with http:// or https://; for example {_with_scheme(value)}"
        )
    if MASK in value:
        raise ValueError("it was stored without its secrets (***): give it again")
    if not parts.hostname:
        raise ValueError(f"{shown_url(value)!r} names no host; for example {_with_scheme(value)}")
    try:
        encoded = parts.hostname.encode("idna").decode("ascii")
    except UnicodeError as e:
        raise ValueError(
            f"{shown_url(value)!r}: not a valid host name (a part of it is empty, or over 63 characters)"
        ) from e
    if not parts.hostname.isascii():
        # The codec follows IDNA 2003; names with these letters are different names in IDNA 2008.
        written = "" if _DIFFERS_IN_IDNA.search(parts.hostname) else f": {encoded}"
        raise ValueError(f"{shown_url(value)!r}: write the name of the host in its ASCII form (xn--...){written}")
    # urlsplit removes tabs and line breaks, so that others would read another host in the text.
    if re.search(r"[\t\r\n]", value.strip()) or re.search(r"[^!-~]", parts.netloc.rpartition("@")[2]):
        raise ValueError(f"{shown_url(value)!r}: the name of a host has no spaces and no control characters")
    if unsendable := re.search(r"[^!-~]+", parts.path):
        encoded = quote(unsendable[0], errors="replace")
        raise ValueError(
            f"{shown_url(value)!r}: {unsendable[0]!r} is not allowed in a URL: write it percent-encoded, {encoded}"
        )
    if not re.fullmatch(r"[!-~]*", parts.query):  # The values of a query may be secret.
        raise ValueError(
            f"{shown_url(value)!r}: the query has characters that are not allowed in a URL: write them percent-encoded"
        )
    try:
        _ = parts.port
    except ValueError as e:
        several = "; for several servers repeat --url" if "," in parts.netloc else ""
        raise ValueError(f"{shown_url(value)!r}: the port must be a number from 0 to 65535{several}") from e
    return value


def proxy(value: str) -> str:
    """The http URL of a proxy: host, port, and possibly a user and a password. Raises ValueError."""
    parts = urlsplit(url(value))
    if parts.scheme != "http" or parts.path.strip("/") or parts.query:
        raise ValueError(f"{shown_url(value)!r}: write it as http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT")
    return value


def server_metrics(values: tuple[str, ...]) -> tuple[str, ...]:
    """`off`, or the URLs of metrics pages; empty for `auto`. Raises ValueError."""
    if values in ((), ("auto",)):
        return ()
    if values == ("off",):
        return values
    if "auto" in values or "off" in values:
        raise ValueError("give auto, off, or one URL or more of pages of metrics")
    return tuple(url(value) for value in values)


def gpu_metrics(value: str) -> str:
    """`auto`, `off`, or the URL of a metrics page. Raises ValueError."""
    return value if value in ("auto", "off") else url(value)


def otlp(value: str) -> str:
    """`env`, or the URL of an OTLP collector. Raises ValueError."""
    if value == "env":
        return value
    parts = urlsplit(url(value))
    if "@" in parts.netloc or parts.query:
        raise ValueError(
            f"a collector's URL has no {'query' if parts.query else 'user'}: give its key in OTEL_EXPORTER_OTLP_HEADERS"
        )
    return value


def listening_address(value: object) -> str:
    """A port, or HOST:PORT, to listen on. Raises ValueError."""
    text = str(value).strip()
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or not re.fullmatch(r"[\w.-]*", host):
        raise ValueError(f"{text!r} is neither a port (9400) nor a host and a port (0.0.0.0:9400)")
    return text


def warmup(value: object) -> str:
    """Requests (20), a time (20s) or auto, as written. Raises ValueError."""
    text = str(value).strip()
    if text == "auto":
        return text
    if text.isdecimal():
        if int(text) > MOST_REQUESTS:
            raise ValueError(f"{int(text):,} requests are too many to send: give at most {MOST_REQUESTS:,}")
        return text
    if _TIME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is neither a number of requests (20), a time (20s) nor auto")
    seconds(text)
    return text


def workers(value: object) -> str:
    """A number of processes, or auto. Raises ValueError."""
    text = str(value).strip()
    if text != "auto" and (not text.isdecimal() or int(text) == 0):
        raise ValueError(f"{text!r} is neither a number of processes (4) nor auto")
    if text != "auto" and int(text) > MOST_WORKERS:
        raise ValueError(
            f"{int(text):,} processes are too many for one machine: give at most {MOST_WORKERS:,}, or auto"
        )
    return text


def cluster(value: str) -> str:
    """A Ray cluster: `ray`, or an address. Raises ValueError."""
    text = value.strip()
    if text != "ray" and not re.fullmatch(r"(ray://)?[^\s/:@]+:[0-9]{1,5}", text):
        raise ValueError(f"{text!r} is neither ray nor the address of a Ray cluster (ray://head:10001, 10.0.0.1:6379)")
    return text


def error_limit(value: object) -> str:
    """A number of requests (10) or a share of them (5%). Raises ValueError."""
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]+|[0-9]*\.?[0-9]+%", text):
        raise ValueError(f"{text!r} is neither a number of requests (10) nor a share (5%)")
    if text.endswith("%") and float(text[:-1]) > 100:
        raise ValueError(f"{text!r} is more than all requests: give at most 100%")
    return text


@contextmanager
def _looked_for(path: str) -> Iterator[None]:
    """Raises ValueError if the system cannot look up the path, for example if a name is too long or a directory has no
    access."""
    try:
        # From Python 3.14 on, is_file() and similar functions return False for every error.
        with suppress(FileNotFoundError, NotADirectoryError, ValueError):
            Path(path).stat()
        yield
    except OSError as e:
        raise ValueError(f"{path} cannot be checked: {e.strerror}") from e


def existing_file(path: str) -> str:
    """An existing file. Raises ValueError."""
    with _looked_for(path):
        if Path(path).is_dir():
            raise ValueError(f"{path} is a directory: name a file")
        if not Path(path).is_file():
            raise ValueError(f"there is no file {path}")
    return path


def certificate_file(path: str) -> str:
    """A file of certificates in PEM. Raises ValueError."""
    try:
        ssl.create_default_context(cafile=existing_file(path))
    except OSError as e:  # ssl.SSLError is one.
        raise ValueError(f"{path} has no certificate in PEM (-----BEGIN CERTIFICATE-----)") from e
    return path


def data_set(value: str) -> str:
    """An existing file, or the name of a recipe. Raises ValueError."""
    if "://" in value:
        raise ValueError(f"{shown_url(value)} is no file: addresses of object stores (s3://) go on the command line")
    with _looked_for(value):
        if Path(value).is_file():
            return value

        if recipes.is_recipe(value):
            return value
        if Path(value).is_dir():
            raise ValueError(f"{value} is a directory: name a file in it")
        if Path(value).exists():
            raise ValueError(
                f"{value} is not a plain file, and rows are read more than once: save them to a file first"
            )
    raise ValueError(f"there is no file {value}, and no recipe of that name (there are {', '.join(recipes.names())})")


def part(value: object) -> float:
    """A share of all requests: 5%, 0.05, or 100% for all of them. Raises ValueError."""
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is not a share of the requests: write 5% or 0.05")
    return share


def probes(value: object) -> str:
    """Probes, as written. Raises ValueError (SpecError is one)."""
    text = str(value).strip()
    parse_probes(text)
    return text


def columns(value: str) -> str:
    """Columns of a data set, as written. Raises ValueError (SpecError is one)."""
    loaders.parse_columns(value)
    return value


def one_of(value: str, known: Mapping[str, object]) -> str:
    """A known name. Raises ValueError."""
    if value not in known:
        raise ValueError(f"{value!r} is not one of {', '.join(known)}")
    return value


def place(value: str) -> str:
    """A path. Raises ValueError if it is empty, as from an unset shell variable."""
    if not value:
        raise ValueError("it is empty: name a directory, or leave it out")
    if "://" in value:
        raise ValueError(
            f"{shown_url(value)} is no directory: addresses of object stores (s3://) go on the command line"
        )
    return value


def directory_name(value: str) -> str:
    """A text that can be part of a directory's name. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError(f"{value!r} cannot be part of a directory's name: use letters, digits, dot, dash, underscore")
    return value
