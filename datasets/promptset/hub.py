"""Loads tokenizers through `transformers` (extra `hf`), which only this module imports: from a hub, and from
directories whose tokenizer has a format other than tokenizer.json.

If the hub cannot be reached, transformers takes most of a minute to notice. So this module first tries the local cache,
and then quickly checks whether the hub answers.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from promptset.errors import SpecError
from promptset.library import Library
from promptset.tokenizer import SPECIAL_TOKENS, LocalTokenizer, Tokenizer, named_template

FILES = ("tekken*.json", "*.tiktoken", "*.model", "*.model.v*")
"""Name patterns of tokenizers that only transformers can read: tekken, tiktoken and SentencePiece."""
_LOOK_TIMEOUT_S = 3.0
_INSTALL = "pip install transformers sentencepiece tiktoken protobuf"
_INSTEAD = "give a directory with tokenizer.json"


def load_directory(folder: Path, file: str) -> Tokenizer:
    """Loads the tokenizer of a model directory that has this file and no tokenizer.json. Raises SpecError."""
    path = folder / file
    if not _is_installed():
        raise SpecError(f"{path} is read by transformers, which is not installed: {_INSTALL}, or {_INSTEAD}")
    if not any((folder / name).is_file() for name in ("tokenizer_config.json", "config.json")):
        raise SpecError(
            f"{path} alone does not say which special tokens are added to a text: put the model's "
            f"tokenizer_config.json next to it, or {_INSTEAD}"
        )
    try:
        return _tokenizer_of(str(folder), _from_pretrained(str(folder), local_files_only=True))
    except SpecError:
        raise
    except Exception as e:  # The library raises nothing more precise.
        raise SpecError(f"transformers cannot read {path} ({' '.join(str(e).split())}): {_INSTEAD}") from e


def load(model: str) -> Tokenizer:
    """Loads a model's tokenizer by its hub id, from the local cache or the network. Raises SpecError."""
    if not _is_installed():
        raise SpecError(
            f"no file or directory is called {model}; transformers, which loads it from a hub, is not installed: {_INSTALL}"
        )
    try:
        loaded = _from_pretrained(model, local_files_only=True)
    except (OSError, ValueError) as e:
        if reason := _why_offline():
            raise SpecError(f"the tokenizer {model} is not in the local cache, and {reason}: give a directory") from e
        try:
            loaded = _from_pretrained(model, local_files_only=False)
        except (OSError, ValueError) as failure:
            raise SpecError(f"the tokenizer {model} cannot be loaded from the hub: {failure}") from failure
    return _tokenizer_of(model, loaded)


def _is_installed() -> bool:
    return importlib.util.find_spec("transformers") is not None


def _tokenizer_of(name: str, loaded: _FromHub) -> Tokenizer:
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        raise SpecError(f"the tokenizer {name} has no fast form (tokenizer.json): {_INSTEAD}")
    template = named_template(loaded.chat_template)
    digest = hashlib.sha256(backend.to_str().encode() + (template or "").encode())
    # Include all names that servers define: those missing here are empty in their templates.
    config = {**dict.fromkeys(SPECIAL_TOKENS), **{key: str(token) for key, token in loaded.special_tokens_map.items()}}
    return LocalTokenizer(
        name, Library(backend), fingerprint=digest.hexdigest()[:12], config=config, chat_template=template
    )


class _FromHub(Protocol):
    """The part of a transformers tokenizer that we use."""

    chat_template: object
    special_tokens_map: Mapping[str, object]


def _from_pretrained(model: str, *, local_files_only: bool) -> _FromHub:
    transformers = importlib.import_module("transformers")
    loaded: _FromHub = transformers.AutoTokenizer.from_pretrained(model, local_files_only=local_files_only)
    return loaded


def _why_offline() -> str | None:
    """Why the hub cannot answer. None if it may."""
    from huggingface_hub import constants

    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else why_unreachable(constants.ENDPOINT)


def why_unreachable(endpoint: str) -> str | None:
    """Why no connection to the host of a URL can be made. Returns None if it can, or if a proxy is used."""
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return None  # The proxy decides; a direct connection would be refused.
    hub = urlsplit(endpoint)
    port = hub.port or (80 if hub.scheme == "http" else 443)
    try:
        socket.create_connection((hub.hostname or "", port), timeout=_LOOK_TIMEOUT_S).close()
    except OSError as e:
        return f"{hub.hostname} cannot be reached ({e})"
    return None
