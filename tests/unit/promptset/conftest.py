from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from promptset.tokens import Tokenizer, load_tokenizer
from tests.support import tiny_tokenizers


@pytest.fixture(scope="session")
def default_tokenizer() -> Tokenizer:
    return load_tokenizer()


@pytest.fixture(scope="session", params=["default", *tiny_tokenizers.KINDS])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The embedded tokenizer, and three of other kinds."""
    if request.param == "default":
        return load_tokenizer()
    folder = tiny_tokenizers.save(tiny_tokenizers.KINDS[request.param](), tmp_path_factory.mktemp(request.param))
    return load_tokenizer(str(folder))


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port of loopback that is bound and does not listen: connecting is refused."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
