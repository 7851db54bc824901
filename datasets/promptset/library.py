"""The part of the `tokenizers` library that we use."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import tokenizers

from promptset.errors import SpecError


class Library:
    """Wraps one tokenizer of the library."""

    def __init__(self, backend: tokenizers.Tokenizer, special_tokens: Mapping[str, str] | None = None) -> None:
        # The file may have a length limit for training, which would truncate every count.
        backend.no_truncation()
        backend.no_padding()
        self.special_tokens = {} if special_tokens is None else special_tokens
        self._backend = backend

    def add_special_tokens(self, tokens: Sequence[str]) -> None:
        self._backend.add_special_tokens(list(tokens))

    def added(self) -> int:
        # The file's post-processor decides which tokens are added to a text. `add_bos_token` of the configuration has
        # no effect in transformers 5 either (checked with 5.24).
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
    """Some tokenizers cannot encode text outside their vocabulary: they lack even an unknown token."""
    some = textwrap.shorten(" ".join(texts[:1]), 60)
    return SpecError(
        f"the tokenizer cannot encode {some!r} or what follows ({error}): a server with it fails on such text too"
    )
