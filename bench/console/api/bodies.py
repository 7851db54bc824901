"""The JSON bodies that the API takes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench.console.mock import DEFAULT_FLAGS


class Body(BaseModel):
    """Refuses unknown fields."""

    model_config = ConfigDict(extra="forbid")


class NewTask(Body):
    """A task to make."""

    settings: dict[str, Any] = Field({}, description="by the names of the flags of the command")
    target: str | None = Field(None, description="a saved target, or `mock`; else settings.url")
    kind: str = Field("run", description="run, search, sweep, quality or calibrate")
    title: str | None = None
    api_key: str | None = Field(None, description="kept in memory only")
    headers: str | None = Field(None, description="NAME: VALUE, one on a line; kept in memory only")
    start: bool = Field(True, description="put it into the queue")
    start_at: str | None = Field(None, description="not before this time (ISO 8601, UTC)")


class Start(Body):
    """Secrets that were typed in before and are gone, and when to start."""

    api_key: str | None = None
    headers: str | None = None
    start_at: str | None = None


class SetLoad(Body):
    """Users, or requests per second: for tasks in the modes concurrency and rate."""

    load: float


class Clone(Body):
    """The settings that differ; null takes one out."""

    settings: dict[str, Any] = {}
    api_key: str | None = None
    headers: str | None = None
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


class FetchFile(Body):
    """A URL that gives a data file."""

    url: str
    whole: bool = False
    base64: bool = False


class FetchByName(Body):
    """A data set of a hub. Without a file, its only one or the first of its splits is taken: test, validation, train."""

    name: str
    hub: str = "huggingface"
    file: str | None = None
    whole: bool = False
    base64: bool = False


class BeginUpload(Body):
    """A file to send. Each request in it is a line, or all of it (`whole`), or the Base64 of either (`base64`)."""

    name: str
    size_bytes: int
    whole: bool = False
    base64: bool = False


class FinishUpload(Body):
    """The SHA-256 of the whole file, in hexadecimal digits."""

    sha256: str
