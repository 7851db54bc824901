from __future__ import annotations

import functools
import pickle
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from promptset import drafts, lines, simulated, tokens
from promptset.tokens import DEFAULT, Tokenizer, load_tokenizer
from tests.support import tiny_tokenizers
from tests.support.counted_once import counted_once


@pytest.fixture(scope="session", autouse=True)
def measured_once() -> Iterator[None]:
    """The constants are measured once for tokenizers that count identically."""
    with counted_once():
        yield


_FEW_UNITS = 192


@pytest.fixture(scope="session", autouse=True)
def few_units() -> Iterator[None]:
    """Texts for tokenizers other than the embedded one use 192 units per kind instead of 2,048, because measuring takes
    0.3 s per kind and tokenizer."""
    with pytest.MonkeyPatch.context() as patch:
        units_of = _of_few(drafts.units_of)
        patch.setattr(drafts, "units_of", units_of)
        patch.setattr(simulated, "units_of", units_of)
        patch.setattr(drafts, "_words", _of_few(drafts._words))
        yield


def _of_few(measure: Any) -> Any:
    """`measure`, with fewer units of a kind."""

    @functools.lru_cache(maxsize=128)
    def measured(tokenizer: Tokenizer, name: str) -> Any:
        if tokenizer.name == DEFAULT:
            return measure(tokenizer, name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(drafts, "_UNITS", _FEW_UNITS)
            return measure.__wrapped__(tokenizer, name)

    return measured


@pytest.fixture(scope="session")
def default_tokenizer() -> Tokenizer:
    return load_tokenizer()


@pytest.fixture(scope="session")
def default_of_few_units() -> Tokenizer:
    """The embedded tokenizer under another name."""
    tokenizer = tokens._load_default.__wrapped__()
    tokenizer.name = f"{DEFAULT} of few units"
    return tokenizer


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tokenizer]:
    """A tokenizer by kind. Always the same object, because measuring one takes half a second."""

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
    """A loopback port that is bound but does not listen: connections are refused."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


class _PoolHere:
    """A pool that runs its work in this process. Arguments and results are copied as between processes."""

    def __init__(self, processes: int, start: Callable[..., None], told: tuple[object, ...]) -> None:
        del processes
        start(*_copied(told))

    def __enter__(self) -> _PoolHere:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def imap(self, make: Callable[[Any], object], tasks: Iterator[object]) -> Iterator[Any]:
        return (_copied(make(_copied(task))) for task in tasks)


def _copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.fixture
def pool_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--processes` starts no processes: this one does all the work."""
    monkeypatch.setattr(
        lines, "multiprocessing", SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=_PoolHere))
    )
    monkeypatch.setattr(lines, "signal", SimpleNamespace(signal=lambda *_: None, SIGINT=None, SIG_IGN=None))
    monkeypatch.setattr(lines, "_maker", [])
