"""Sends a file to a console in parts and resumes an interrupted upload. Used by `bench tasks upload`."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import httpx

from bench.clock import NS_PER_S, LoopClock, sleep_until
from bench.console.data_rows import Rows
from bench.console.uploads import Upload
from bench.errors import BenchError, UsageError

PART = 8 * 1024 * 1024
"""Bytes of one request."""
AGAIN_NS = NS_PER_S
MOST_LOST = 60
"""Consecutive tries that may end without an answer."""


async def send(client: httpx.AsyncClient, path: Path, rows: Rows, show: Callable[[int, int], None]) -> list[str]:
    """Send a file. Returns the names that the console stored it under. `show` gets the bytes received and the total.

    Raises UsageError with the console's message, and BenchError if it no longer answers.
    """
    try:
        with path.open("rb") as file:
            upload = await _upload_of(client, path.name, os.fstat(file.fileno()).st_size, rows)
            while upload.received_bytes < upload.size_bytes:
                show(upload.received_bytes, upload.size_bytes)
                upload = await _send_part(client, file, upload)
            show(upload.received_bytes, upload.size_bytes)
            file.seek(0)
            digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror or e}") from e
    hashed = {"sha256": digest.hexdigest()}
    return [
        str(name) for name in (await _asked(client, "POST", f"/uploads/{upload.id}/finish", hashed)).json()["names"]
    ]


async def _upload_of(client: httpx.AsyncClient, name: str, size: int, rows: Rows) -> Upload:
    """The upload that an earlier command began for such a file, or a new one."""
    for half in (await _asked(client, "GET", "/uploads")).json():
        upload = Upload(**half)
        if (upload.name, upload.size_bytes, upload.whole, upload.base64) == (name, size, rows.whole, rows.base64):
            return upload
    about = {"name": name, "size_bytes": size, "whole": rows.whole, "base64": rows.base64}
    return Upload(**(await _asked(client, "POST", "/uploads", about)).json())


async def _send_part(client: httpx.AsyncClient, file: IO[bytes], upload: Upload) -> Upload:
    """Send the next part, which may have arrived before although its answer was lost. Returns the upload's new state."""
    at = upload.received_bytes
    file.seek(at)
    part = await asyncio.to_thread(file.read, PART)
    if not part:
        raise UsageError(f"{file.name} became shorter while it was sent")
    reply = await _asked(
        client, "PUT", f"/uploads/{upload.id}", part, at=f"bytes {at}-{at + len(part) - 1}/{upload.size_bytes}"
    )
    if reply.status_code == 409:
        reply = await _asked(client, "GET", f"/uploads/{upload.id}")
    return Upload(**reply.json())


async def _asked(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: dict[str, object] | dict[str, str] | bytes | None = None,
    at: str = "",
) -> httpx.Response:
    """Request until the console answers. Raises UsageError with its message, except for status 409 on a part, which is
    returned."""
    clock = LoopClock()
    for tries_left in reversed(range(MOST_LOST)):
        try:
            if isinstance(body, bytes):
                reply = await client.request(method, path, content=body, headers={"content-range": at})
            else:
                reply = await client.request(method, path, json=body)
            break
        except httpx.TransportError as e:
            if not tries_left:
                why = str(e) or type(e).__name__
                raise BenchError(f"the console does not answer any more ({why}): the same command goes on later") from e
            await sleep_until(clock, clock.now_ns() + AGAIN_NS)
    if reply.is_error and not (method == "PUT" and reply.status_code == 409):
        try:
            sentence = str(reply.json()["error"])
        except (ValueError, KeyError, TypeError) as e:
            raise BenchError(f"the console answers with status {reply.status_code}") from e
        raise UsageError(sentence) if reply.status_code < 500 else BenchError(sentence)
    return reply
