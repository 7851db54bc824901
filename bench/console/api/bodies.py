"""The JSON bodies that the API takes."""

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
    """A task to make."""

    settings: dict[str, Any] = Field({}, description="by the names of the flags of the command")
    target: str | None = Field(None, description="a saved target, or `mock`; else settings.url")
    kind: str = Field("run", description="run, search, sweep, quality or calibrate")
    title: str | None = None
    start: bool = Field(True, description="put it into the queue")
    start_at: str | None = Field(None, description="not before this time (ISO 8601, UTC)")


class Start(WithSecrets):
    """Secrets that were typed in before and are gone, and when to start."""

    start_at: str | None = None


class SetLoad(Body):
    """Users, or requests per second: for tasks in the modes concurrency and rate."""

    load: float


class Clone(WithSecrets):
    """The settings that differ; null takes one out."""

    settings: dict[str, Any] = {}
    start: bool = True


class MarkTask(Body):
    """What to change."""

    title: str | None = None
    label: str | None = None
    note: str | None = None
    baseline: bool | None = None


class NewTarget(Body):
    """A server to save. Keys are never stored: name the environment variable that holds one."""

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
    """What each request is in a file: a line, or all of it (`whole`), or the Base64 of either (`base64`)."""

    whole: bool = False
    base64: bool = False

    @property
    def rows(self) -> Rows:
        return Rows(self.whole, self.base64)


class FetchFile(OfRows):
    """A URL that gives a data file."""

    url: str


class FetchByName(OfRows):
    """A data set of a hub. Without a file, its only one or the first of its splits is taken: test, validation, train."""

    name: str
    hub: str = "huggingface"
    file: str | None = None


class BeginUpload(OfRows):
    """A file to send."""

    name: str
    size_bytes: int


class FinishUpload(Body):
    """The SHA-256 of the whole file, in hexadecimal digits."""

    sha256: str
