"""Counts tokens as a server does.

A server adds the tokenizer's special tokens (often a BOS) to a completion prompt. For a chat it renders the template,
which has its own special tokens, and adds none. `Tokenizer.count` and `Tokenizer.count_chat` do the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from promptset import own_template
from promptset.errors import SpecError

if TYPE_CHECKING:
    from promptset.chat import Message, Tool
    from promptset.chat_template import ChatTemplate
    from promptset.library import Library

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Tokenizer(ABC):
    """A tokenizer with its chat template, if it has one. Created by `promptset.tokens.load_tokenizer`."""

    name: str
    fingerprint: str
    """Tokenizers with equal fingerprints give equal counts."""
    special_tokens_added: int
    """The number of special tokens that `count` adds."""
    is_remote = False
    """Whether each count is a request to a server."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, fingerprint={self.fingerprint!r})"

    @abstractmethod
    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """The ids of `text`."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens included."""

    @abstractmethod
    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """`count` of each text, in one batch."""

    @abstractmethod
    def count_plain(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without added special tokens."""

    @abstractmethod
    def count_chats(self, chats: Sequence[Sequence[Message]], tools: Sequence[Tool] | None = None) -> list[int]:
        """`count_chat` of each list of messages, in one batch. Raises SpecError."""

    @abstractmethod
    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> list[int]:
        """The ids of the rendered messages. Raises SpecError."""

    def token_strings(self, ids: Sequence[int]) -> list[str]:
        """Each token as in the vocabulary if it is known, else decoded. Raises SpecError."""
        return [self.decode([number]) for number in ids]

    @abstractmethod
    def vocabulary(self) -> list[str]:
        """The text of each token that is not special, by id. Raises SpecError if the vocabulary is unknown."""

    def parts(self, text: str) -> list[str] | None:
        """The parts of a text that are tokenized independently, so that its tokens are the sum of theirs. None if
        unknown."""
        return None

    def count(self, text: str) -> int:
        """Tokens of a completion prompt, including the special tokens that a server adds."""
        return self.count_batch([text])[0]

    def count_chat(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> int:
        """Tokens of the rendered messages; the template adds its own special tokens. Raises SpecError."""
        return self.count_chats([messages], tools)[0]

    def render_chat(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None = None, *, add_generation_prompt: bool = True
    ) -> str:
        """The rendered messages. Raises SpecError if there is no template."""
        raise SpecError(f"{self.name} does not return rendered messages")


class LocalTokenizer(Tokenizer):
    """A tokenizer in this process."""

    def __init__(
        self,
        name: str,
        backend: Library,
        *,
        fingerprint: str,
        config: Mapping[str, Any],
        chat_template: str | None,
    ) -> None:
        """`config` is the content of tokenizer_config.json, completed with the special tokens of the tokenizer's file.
        `fingerprint` identifies the files."""
        self.name = name
        self.fingerprint = fingerprint
        self._backend = backend
        used = _special_tokens_of(chat_template)
        settings = {**_extra_tokens(config), **config}
        names = dict.fromkeys([*SPECIAL_TOKENS, *sorted(used)])
        special = {key: text for key in names if (text := _token_text(settings.get(key))) is not None}
        self._unknown_tokens = sorted(name for name in used if name not in settings)
        # A template may use special tokens that only the configuration names. Each is one token, as in transformers.
        backend.add_special_tokens(list(special.values()))
        self._special_tokens = special
        self._template = chat_template
        self._renders_itself = chat_template == own_template.source()
        if not self._renders_itself:
            _ = self._chat  # Report a template that cannot be compiled now.
        self.special_tokens_added = backend.added()

    @cached_property
    def _chat(self) -> ChatTemplate | None:
        if self._template is None:
            return None
        from promptset.chat_template import ChatTemplate  # Imports Jinja, which the embedded template does not need.

        return ChatTemplate(self._template, self._special_tokens, self.name)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return self._backend.encode(text, add_special_tokens)

    def decode(self, ids: Sequence[int]) -> str:
        return self._backend.decode(ids)

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """`count` of each text, on all cores."""
        return self._backend.count(texts, added=True)

    def count_plain(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text without special tokens, on all cores."""
        return self._backend.count(texts, added=False)

    def count_chats(self, chats: Sequence[Sequence[Message]], tools: Sequence[Tool] | None = None) -> list[int]:
        """Tokens of each rendered chat. Raises SpecError if there is no template."""
        return self.count_plain([self.render_chat(messages, tools) for messages in chats])

    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> list[int]:
        """The ids of the rendered messages. Raises SpecError if there is no template."""
        return self.encode(self.render_chat(messages, tools))

    def parts(self, text: str) -> list[str] | None:
        """The pre-tokenizer's parts. None if the normalizer changes the text, or if it contains an added token."""
        return self._backend.parts(text)

    def token_strings(self, ids: Sequence[int]) -> list[str]:
        """Each token as in the vocabulary. Empty for an unknown id."""
        return self._backend.token_strings(ids)

    def vocabulary(self) -> list[str]:
        return self._backend.vocabulary()

    def render_chat(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None = None, *, add_generation_prompt: bool = True
    ) -> str:
        if self._template is None:
            raise SpecError(
                f"{self.name} has no chat template: give a directory with a chat_template.jinja, or use completions"
            )
        if self._unknown_tokens:
            unknown = " and ".join(self._unknown_tokens)
            raise SpecError(
                f"the chat template of {self.name} uses {unknown}, which no file names: write "
                f'"{self._unknown_tokens[0]}": "<s>" (or whatever the model has, null for none) into a tokenizer_config.json '
                "beside it"
            )
        if self._renders_itself and not tools:
            text = own_template.render(messages, self._special_tokens, add_generation_prompt)
            if text is not None:
                return text
        assert self._chat is not None
        return self._chat.render(messages, tools, add_generation_prompt)


def _special_tokens_of(template: str | None) -> frozenset[str]:
    if template is None or template == own_template.source():
        return frozenset() if template is None else own_template.NEEDS
    from promptset.chat_template import special_tokens_of

    return special_tokens_of(template)


def _extra_tokens(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Special tokens with custom names, such as `image_token`."""
    extra = config.get("extra_special_tokens")
    return extra if isinstance(extra, dict) else {}


def _token_text(token: object) -> str | None:
    """A special token of tokenizer_config.json: a string, or an object that contains it."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def named_template(template: object) -> str | None:
    """The template of a configuration; the default one if it has several named ones. Raises SpecError."""
    if isinstance(template, list):
        try:
            template = {entry["name"]: entry["template"] for entry in template}
        except (TypeError, KeyError) as e:
            raise SpecError('chat_template is a list: each entry must be {"name": ..., "template": ...}') from e
    named = template.get("default") if isinstance(template, dict) else template
    return named if isinstance(named, str) else None
