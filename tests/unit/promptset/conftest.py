from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Iterator

import pytest

from promptset.tokens import Tokenizer, load_tokenizer
from tests.support import tiny_tokenizers
from tests.support.counted_once import counted_once


@pytest.fixture(scope="session", autouse=True)
def measured_once() -> Iterator[None]:
    """Of tokenizers that count alike."""
    with counted_once():
        yield


@pytest.fixture(scope="session")
def default_tokenizer() -> Tokenizer:
    return load_tokenizer()


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tokenizer]:
    """A tokenizer by its kind: the same one each time, since what is measured of it once takes half a second."""

    @functools.cache
    def load(kind: str) -> Tokenizer:
        if kind == "default":
            return load_tokenizer()
        return load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.KINDS[kind](), tmp_path_factory.mktemp(kind))))

    return load


@pytest.fixture(scope="session", params=["default", *tiny_tokenizers.KINDS])
def tokenizer(request: pytest.FixtureRequest, loaded: Callable[[str], Tokenizer]) -> Tokenizer:
    """The embedded tokenizer, and three of other kinds."""
    return loaded(request.param)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port of loopback that is bound and does not listen: connecting is refused."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
