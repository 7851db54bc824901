"""The addresses of a run that loads several servers: a repeated `--url`, a file of URLs, or every address of a name.

A run with one address has only the setting `url`. A run with several has the first in `url`, and all of them in
`targets`.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bench.config import values
from bench.endpoints import urls
from bench.errors import TargetError
from bench.secrets import public_url, shown_url
from promptset.whole_file import read_text

Balance = Literal["round_robin", "weighted", "least_in_flight"]
Affinity = Literal["session", "none"]
MOST = 256
"""The most addresses of one run."""
MOST_WEIGHT = 1e6
_WEIGHTED = re.compile(r"(?P<url>[^?#\s]+?)\s*=\s*(?P<weight>\S+)")
"""URL=WEIGHT. For a URL with a query, whose last value would look the same, a file gives `url` and `weight` separately."""


class TargetAddress(BaseModel):
    """One of several addresses. `address` is the IP that requests connect to with --resolve-all; the URL keeps the
    name, for the Host header and for TLS."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(values.url)]
    weight: float = Field(1.0, gt=0, le=MOST_WEIGHT)
    address: str | None = None

    @property
    def name(self) -> str:
        """The name in records and reports: the URL without secrets, with the IP in place of a resolved name."""
        if self.address is None:
            return public_url(self.url)
        parts = urlsplit(self.url)
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port is not None else "")


def urls_of(url: object) -> list[str]:
    """The URLs in a setting `url`, one or several, as written, without weights."""
    if isinstance(url, list | tuple) and url:
        return [str(_weighted(address)[0]) for address in url]
    return [str(url or "").strip()]


def written(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Stored addresses as the user would give them: URL=WEIGHT if an address has a weight, once for all addresses of a
    name."""
    weights = {row["url"]: row.get("weight", 1.0) for row in rows}
    return [url if weight == 1.0 else f"{url}={weight:g}" for url, weight in weights.items()]


def spread(settings: dict[str, Any], flags: Mapping[str, object]) -> list[str]:
    """Put several URLs, or a file of them, into `url` and `targets`. Returns a sentence for each problem."""
    if "url" in flags:
        settings.pop("targets", None)
    url = settings.get("url")
    if isinstance(url, list | tuple):
        written = list(url)
    elif isinstance(url, str) and url.startswith("@"):
        written = [url]
    else:
        return []
    problems: list[str] = []
    rows: list[TargetAddress] = []
    for value in written:
        if isinstance(value, str) and value.startswith("@"):
            addresses, wrong = _of_file(value[1:])
        else:
            addresses, wrong = _of_value(value)
        rows += addresses
        problems += wrong
    problems += _together(rows)
    if not rows:
        problems += [] if problems else ["--url: no address is given"]
        settings["url"] = "http://unknown"
        return problems
    settings["url"] = rows[0].url
    if len(rows) > 1:
        settings["targets"] = rows
    return problems


def _of_file(path: str) -> tuple[list[TargetAddress], list[str]]:
    """The addresses in a file: one per line, followed by a weight if it has one. `#` begins a comment."""
    try:
        lines = read_text(Path(path)).splitlines()
    except (OSError, ValueError) as e:
        return [], [f"--url @{path}: the file cannot be read ({getattr(e, 'strerror', None) or e})"]
    rows: list[TargetAddress] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text:
            addresses, wrong = _of_value(text, f"--url @{path}, line {number}")
            rows += addresses
            problems += wrong
    return rows, problems or ([] if rows else [f"--url @{path}: the file has no address"])


def _of_value(value: object, place: str = "--url") -> tuple[list[TargetAddress], list[str]]:
    """Parse an address from text, or from an object with `url` and `weight`."""
    if isinstance(value, TargetAddress):
        return [value], []
    if isinstance(value, Mapping) and not (value.keys() <= {"url", "weight"} and "url" in value):
        return [], [f"{place}: an address has the keys url and weight"]
    url, weight = _weighted(value)
    try:
        number = float(str(weight))
    except ValueError:
        number = 0.0
    if not 0 < number <= MOST_WEIGHT:
        return [], [f"{place}: the weight of {shown_url(str(url))} must be more than 0 and at most {MOST_WEIGHT:g}"]
    try:
        return [TargetAddress.model_construct(url=values.url(str(url)), weight=number)], []
    except ValueError as e:
        return [], [f"{place}: {e}"]


def _weighted(value: object) -> tuple[object, object]:
    """The URL and the weight in a text or an object."""
    if isinstance(value, Mapping):
        return value.get("url"), value.get("weight", 1.0)
    url = str(value).strip()
    match = _WEIGHTED.fullmatch(url)
    return (url, 1.0) if match is None else (match["url"], match["weight"])


def _together(rows: Sequence[TargetAddress]) -> list[str]:
    """Problems of several addresses together."""
    problems = []
    names = [row.name for row in rows]
    problems += [f"--url: {name} is given twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if len(rows) > MOST:
        problems.append(f"--url: {len(rows)} addresses are too many: give at most {MOST}")
    endpoints = {urls.endpoint_of(row.url) for row in rows}
    if len(endpoints) > 1:
        problems.append("--url: the addresses name different endpoints: give every URL the same path, or none")
    return problems


def places_of(rows: Sequence[TargetAddress]) -> str:
    """The addresses in a few words."""
    if len(rows) == 1:
        return rows[0].name
    return f"{rows[0].name} and {len(rows) - 1} more " + ("address" if len(rows) == 2 else "addresses")


def resolved(rows: Sequence[TargetAddress]) -> tuple[TargetAddress, ...]:
    """Each address once for every IP to which its name resolves now (--resolve-all), in ascending order. Raises
    TargetError."""
    addresses: dict[str, TargetAddress] = {}
    problems = []
    # The rows of a stored run are already resolved: resolve their names again.
    for row in {row.url: row for row in rows}.values():
        parts = urlsplit(row.url)
        try:
            answers = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
        except OSError as e:
            problems.append(f"the name {parts.hostname} is not known ({e.strerror})")
            continue
        for ip in sorted({str(answer[4][0]) for answer in answers}, key=_order):
            address = row.model_copy(update={"address": ip})
            addresses.setdefault(address.name, address)
    if problems:
        raise TargetError("\n".join(problems))
    if len(addresses) > MOST:
        raise TargetError(f"--resolve-all: {len(addresses)} addresses are too many: a run has at most {MOST}")
    return tuple(addresses.values())


def _order(ip: str) -> tuple[bool, int]:
    address = ip_address(ip.partition("%")[0])
    return isinstance(address, IPv6Address), int(address)
