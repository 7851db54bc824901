"""Reads a running mock over HTTP: its closed form, its ledger, and whether it shares our clock."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import orjson

from bench.errors import TargetError

TIMEOUT_S = 30.0


def truth_of(base_url: str, output_tokens: int | None = None) -> dict[str, Any]:
    """The body of GET /truth. `output_tokens`: the number that every request asks for, if it is always the same.

    Raises TargetError if no mock of ours answers.
    """
    query = "" if output_tokens is None else f"?output_tokens={output_tokens}"
    try:
        with _open(f"{base_url}/truth{query}") as response:
            body = orjson.loads(response.read())
        if isinstance(body, dict) and isinstance(body.get("ledger_lines"), int):
            return body
    except urllib.error.HTTPError as e:
        raise TargetError(f"{base_url}/truth answers with status {e.code}: {_message(e) or _NO_MOCK}") from e
    except urllib.error.URLError as e:
        raise TargetError(f"no mock answers at {base_url}: {_why(e.reason)}. {_START_ONE}") from e
    except (OSError, HTTPException) as e:
        raise TargetError(f"no mock answers at {base_url}: {_why(e)}. {_START_ONE}") from e
    except ValueError as e:
        raise TargetError(f"{base_url}/truth does not answer as a mock does: {_NO_MOCK}") from e
    raise TargetError(f"{base_url}/truth does not answer as a mock does: {_NO_MOCK}")


def _message(error: urllib.error.HTTPError) -> str | None:
    """The error message of a mock that refuses, for example because it does not know the host name."""
    try:
        with error:
            row = orjson.loads(error.read())
        return str(row["error"]["message"]) if error.code == 403 else None
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return None


def _why(reason: object) -> str:
    """Why nothing answered, without Python's wording: `Connection refused`."""
    if isinstance(reason, TimeoutError):
        return f"nothing within {TIMEOUT_S:.0f} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return " ".join(str(reason).split()) or type(reason).__name__


_START_ONE = "Start `python -m mockserver` there, or leave --url out: calibrate then starts one itself"
_NO_MOCK = "calibrate needs a running `python -m mockserver` there; other servers are measured by `run`"


def fetch_ledger(base_url: str, since: int, to: Path) -> None:
    """Write the ledger's lines from number `since` on to a file. Raises TargetError if the mock does not return them."""
    draft = to.with_name(f".{to.name}.new")
    try:
        with _open(f"{base_url}/ledger?since={since}") as response, draft.open("wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)
    except (OSError, HTTPException) as e:
        raise TargetError(f"{base_url}/ledger: {e}: the mock ended before its ledger was read") from e
    draft.replace(to)


def _open(url: str) -> HTTPResponse:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    response: HTTPResponse = opener.open(
        urllib.request.Request(url, headers={"user-agent": "trueload"}), timeout=TIMEOUT_S
    )
    return response


def same_clock(theirs: object, ours: Mapping[str, str | None]) -> bool:
    """Whether the mock's CLOCK_MONOTONIC is this process's own: same boot and time namespace, and both known."""
    return isinstance(theirs, Mapping) and all(
        value is not None and theirs.get(key) == value for key, value in ours.items()
    )
