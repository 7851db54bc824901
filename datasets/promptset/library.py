"""The `tokenizers` library, by what we ask of it; and a memory of its answers, so that most processes need not load it.

The library takes a fifth of a second to read a tokenizer's file: as much as all else before a short load. But what is asked
before every run of a tokenizer is the same: which words cost one token, what the template adds. What the library answered
once it will always answer, as long as the file, and what is compiled in the library, are the same to the byte.
So answers are kept (`Remembered`), under a digest of the very question; but only to questions that are the same in every
process, those asked within `remembering`.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import textwrap
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import orjson

from promptset.errors import SpecError

if TYPE_CHECKING:
    import tokenizers

FORM = 1
"""Of what is kept. Another one, whenever this file asks the library in another way."""

MOST_ANSWERS, MOST_VALUES = 512, 500_000
"""Answers, and numbers and texts in them, that are kept of a tokenizer at most: beyond them its memory begins anew."""

T = TypeVar("T")


class Counting(Protocol):
    """What a tokenizer of this process is asked. `special_tokens`: those of its file, by the names that templates use."""

    @property
    def special_tokens(self) -> Mapping[str, str]: ...

    def add_special_tokens(self, tokens: Sequence[str]) -> None:
        """Each of these is one token. Said once, before anything is asked."""

    def get_ready(self) -> None:
        """From here on no answer takes long."""

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """What is asked meanwhile is asked in every process."""

    def added(self) -> int:
        """Tokens that are added to a text."""

    def encode(self, text: str, added: bool) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def count(self, texts: Sequence[str], added: bool) -> list[int]: ...

    def parts(self, text: str) -> list[str] | None:
        """What the pre-tokenizer makes of a text that the normalizer leaves as it is, and in which no added token stands."""

    def token_strings(self, ids: Sequence[int]) -> list[str]: ...

    def vocabulary(self) -> list[str]: ...


class Library:
    """The library itself, with one tokenizer."""

    def __init__(self, backend: tokenizers.Tokenizer, special_tokens: Mapping[str, str] | None = None) -> None:
        # The file may have a length limit for training, which would cut every count.
        backend.no_truncation()
        backend.no_padding()
        self.special_tokens = {} if special_tokens is None else special_tokens
        self._backend = backend

    def add_special_tokens(self, tokens: Sequence[str]) -> None:
        self._backend.add_special_tokens(list(tokens))

    def get_ready(self) -> None:
        """It is."""

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """It knows everything anyway."""
        yield

    def added(self) -> int:
        # The file's post-processor decides which tokens are added to a text. `add_bos_token` of the configuration has no
        # effect in transformers 5 either (checked with 5.24).
        return self._backend.num_special_tokens_to_add(is_pair=False)

    def encode(self, text: str, added: bool) -> list[int]:
        try:
            return self._backend.encode(text, add_special_tokens=added).ids
        except Exception as e:  # the library raises nothing more precise
            raise _unable([text], e) from e

    def decode(self, ids: Sequence[int]) -> str:
        return self._backend.decode(list(ids), skip_special_tokens=False)

    def count(self, texts: Sequence[str], added: bool) -> list[int]:
        try:
            return [len(e) for e in self._backend.encode_batch_fast(list(texts), add_special_tokens=added)]
        except Exception as e:  # the library raises nothing more precise
            raise _unable(texts, e) from e

    def parts(self, text: str) -> list[str] | None:
        splitter, normalizer = self._backend.pre_tokenizer, self._backend.normalizer
        if splitter is None or (normalizer is not None and normalizer.normalize_str(text) != text):
            return None
        added = [token.content for token in self._backend.get_added_tokens_decoder().values()]
        if any(" " in token.strip() or token in text for token in added):
            return None
        return [text[begin:end] for _, (begin, end) in splitter.pre_tokenize_str(text)]

    def token_strings(self, ids: Sequence[int]) -> list[str]:
        return [self._backend.id_to_token(number) or "" for number in ids]

    def vocabulary(self) -> list[str]:
        special = self._backend.get_added_tokens_decoder()
        ids = [number for number in self._backend.get_vocab(with_added_tokens=False).values() if number not in special]
        return list(self._backend.decode_batch([[number] for number in sorted(ids)], skip_special_tokens=False))


def _unable(texts: Sequence[str], error: Exception) -> SpecError:
    """Some tokenizers have no token for what their vocabulary lacks, not even one for the unknown."""
    some = textwrap.shorten(" ".join(texts[:1]), 60)
    return SpecError(
        f"the tokenizer cannot encode {some!r} or what follows ({error}): a server with it fails on such text too"
    )


class Memory(Hashable, Protocol):
    """Where answers are kept from process to process. What is `made_of` something else is not there."""

    def read(self, name: str, made_of: str) -> object: ...

    def write(self, name: str, made_of: str, value: object) -> None: ...


class Remembered:
    """The library, loaded when something is asked that it was not asked before."""

    def __init__(self, load: Callable[[], Library], memory: Memory, name: str, made_of: str) -> None:
        """`name`: of the tokenizer in the memory. `made_of`: the digest of its files, and the library (`library_stamp`)."""
        self._load = load
        self._memory, self._name, self._made_of = memory, name, made_of
        kept = memory.read(name, made_of)
        self._answers: dict[bytes, object] = kept if isinstance(kept, dict) else {}
        self._known = len(self._answers)
        self._special: Sequence[str] = ()
        self._remembers = 0
        self.loaded = False
        """Whether the library was needed."""

    @cached_property
    def _library(self) -> Library:
        library = self._load()
        library.add_special_tokens(self._special)
        self.loaded = True
        return library

    @cached_property
    def special_tokens(self) -> Mapping[str, str]:
        with self.remembering():
            return self._answer(lambda: dict(self._library.special_tokens), "special_tokens")

    def add_special_tokens(self, tokens: Sequence[str]) -> None:
        self._special = tokens
        if self.loaded:
            self._library.add_special_tokens(tokens)

    def get_ready(self) -> None:
        _ = self._library

    @contextmanager
    def remembering(self) -> Iterator[None]:
        self._remembers += 1
        try:
            yield
        finally:
            self._remembers -= 1

    def added(self) -> int:
        with self.remembering():
            return self._answer(lambda: self._library.added(), "added")  # noqa: PLW0108 (it would be loaded)

    def encode(self, text: str, added: bool) -> list[int]:
        return self._answer(lambda: self._library.encode(text, added), "encode", text, added)

    def decode(self, ids: Sequence[int]) -> str:
        return self._library.decode(ids)

    def count(self, texts: Sequence[str], added: bool) -> list[int]:
        return self._answer(lambda: self._library.count(texts, added), "count", added, *texts)

    def parts(self, text: str) -> list[str] | None:
        return self._answer(lambda: self._library.parts(text), "parts", text)

    def token_strings(self, ids: Sequence[int]) -> list[str]:
        return self._library.token_strings(ids)

    def vocabulary(self) -> list[str]:
        return self._library.vocabulary()

    def _answer(self, ask: Callable[[], T], *question: object) -> T:
        """The library's answer, which is remembered where the question is asked in every process."""
        if not self._remembers:
            return ask()
        try:
            key = hashlib.blake2b(orjson.dumps([*self._special, None, *question]), digest_size=16).digest()
        except TypeError:  # Half a character, which no file of ours can hold.
            return ask()
        if key not in self._answers:
            if len(self._answers) == self._known:
                atexit.register(self.write)
            self._answers[key] = ask()
        answer: T = self._answers[key]  # type: ignore[assignment]  # What the same question was answered with.
        return answer

    def write(self) -> None:
        """Keep what is new, for the next process."""
        if len(self._answers) == self._known:
            return
        values = sum(len(each) if isinstance(each, list) else 1 for each in self._answers.values())
        if len(self._answers) > MOST_ANSWERS or values > MOST_VALUES:
            self._answers = dict(list(self._answers.items())[self._known :])
        self._known = len(self._answers)
        self._memory.write(self._name, self._made_of, self._answers)


def library_stamp() -> str | None:
    """What is compiled in the library, as far as its files tell without being loaded; None where they do not."""
    package = importlib.util.find_spec("tokenizers")
    if package is None or not package.submodule_search_locations:
        return None
    files = sorted(
        path for path in Path(package.submodule_search_locations[0]).iterdir() if path.suffix in (".so", ".pyd")
    )
    stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
    return str(stats) if stats else None
