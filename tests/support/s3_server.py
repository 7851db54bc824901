"""A real S3-compatible server, moto's, in its own process."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

_ANYBODY = {
    "authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
}
"""moto reads the identity, and checks no signature."""
SECRET = "a-secret-that-is-shown-nowhere"


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server, with the bucket `results`, which every client may read and write."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make clients use this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "an-id",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def content(self, key: str) -> bytes:
        """An object of the bucket, over plain HTTP: without our code or fsspec's."""
        reply = httpx.get(f"{self.url}/results/{key}", headers=_ANYBODY, trust_env=False)
        reply.raise_for_status()
        return reply.content

    def store(self, key: str, content: bytes) -> None:
        httpx.put(f"{self.url}/results/{key}", content=content, headers=_ANYBODY, trust_env=False).raise_for_status()

    def keys(self) -> list[str]:
        """Every key in the bucket."""
        listing = httpx.get(f"{self.url}/results?list-type=2&max-keys=1000", headers=_ANYBODY, trust_env=False).text
        return re.findall(r"<Key>([^<]*)</Key>", listing)


@contextlib.contextmanager
def s3_server(log: Path) -> Iterator[S3Server]:
    """A server on a free port, with an empty bucket."""
    with log.open("w") as err:
        # The first line names the port. Request lines follow, and a pipe without a reader would fill up.
        running = subprocess.Popen(
            [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=subprocess.DEVNULL,
            stderr=err,
            env={**os.environ, "MOTO_S3_CUSTOM_ENDPOINTS": ""},
        )
    try:
        from tests.support.run_process import wait_for

        wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()) is not None)
        address = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        assert address is not None
        httpx.put(f"{address[0]}/results", headers=_ANYBODY, trust_env=False).raise_for_status()
        yield S3Server(address[0])
    finally:
        running.terminate()
        running.wait()
