"""The JSON request bodies of the API."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench.console.data_rows import Rows
from bench.console.mock import DEFAULT_FLAGS
from bench.console.settings_form import secrets_of


class Body(BaseModel):
    """Refuses unknown fields."""

    model_config = ConfigDict(extra="forbid")


class WithSecrets(Body):
    """Secrets, which the console keeps in memory only."""

    api_key: str | None = Field(None, description="kept in memory only")
    headers: str | None = Field(None, description="NAME: VALUE, one on a line; kept in memory only")

    @property
    def secrets(self) -> dict[str, Any]:
        return secrets_of(self.api_key, self.headers)


class NewTask(WithSecrets):
    """A task to create."""

    settings: dict[str, Any] = Field({}, description="by the names of the flags of the command")
    target: str | None = Field(None, description="a saved target, or `mock`; else settings.url")
    kind: str = Field("run", description="run, search, sweep, quality or calibrate")
    title: str | None = None
    start: bool = Field(True, description="put it into the queue")
    start_at: str | None = Field(None, description="not before this time (ISO 8601, UTC)")


class Start(WithSecrets):
    """Secrets that the console no longer has, and the start time."""

    start_at: str | None = None


class SetLoad(Body):
    """Users, or requests per second. Only for tasks in the modes concurrency and rate."""

    load: float


class Clone(WithSecrets):
    """The settings that differ; null removes a setting."""

    settings: dict[str, Any] = {}
    start: bool = True


class MarkTask(Body):
    """The fields to change."""

    title: str | None = None
    label: str | None = None
    note: str | None = None
    baseline: bool | None = None


class NewTarget(Body):
    """A server to save. Keys are never stored: name the environment variable that holds the key."""

    name: str
    url: str
    endpoint: str | None = None
    model: str | None = None
    tokenizer: str | None = None
    key_variable: str | None = None
    header_variables: dict[str, str] | None = None


class MockFlags(Body):
    """Flags of `python -m mockserver`."""

    flags: str = DEFAULT_FLAGS


class OfRows(Body):
    """How a file is split into requests: one per line, or one in all (`whole`), each possibly in Base64 (`base64`)."""

    whole: bool = False
    base64: bool = False

    @property
    def rows(self) -> Rows:
        return Rows(self.whole, self.base64)


class FetchFile(OfRows):
    """The URL of a data file."""

    url: str


class FetchByName(OfRows):
    """A data set on a hub. Without `file`, its only file or the first of its splits (test, validation, train) is used."""

    name: str
    hub: str = "huggingface"
    file: str | None = None


class BeginUpload(OfRows):
    """A file to send."""

    name: str
    size_bytes: int


class FinishUpload(Body):
    """The SHA-256 of the complete file, in hexadecimal."""

    sha256: str
