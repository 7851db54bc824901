"""Files of data sets by their name on a hub: Hugging Face or ModelScope, each through its own package.

Tokens from the console's environment are not passed on: otherwise everyone who may start tasks could read private data.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.console.data_files import ENDINGS, MOST_UPLOADED, clean_name
from bench.console.errors import ConsoleError, TooLarge
from bench.console.language import Phrase, tr
from promptset.hub import why_unreachable
from promptset.probes.hub_set import of_split

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_LISTED = 10
"""Number of files that an error message lists."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub of data sets. `sizes` gives the bytes of each file of a data set; `download` puts one file into a folder."""

    title: str
    package: str
    endpoint: Callable[[], str]
    sizes: Callable[[str, str], Mapping[str, int]]
    download: Callable[[str, str, str, Path], Path]


def _hugging_face(endpoint: str) -> Any:  # noqa: ANN401 (the package is not installed everywhere)
    return importlib.import_module("huggingface_hub").HfApi(endpoint=endpoint, token=False)


def _sizes_on_hugging_face(endpoint: str, name: str) -> Mapping[str, int]:
    info = _hugging_face(endpoint).dataset_info(name, files_metadata=True, timeout=10)
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _from_hugging_face(endpoint: str, name: str, file: str, folder: Path) -> Path:
    return Path(_hugging_face(endpoint).hf_hub_download(name, file, repo_type="dataset", local_dir=folder))


def _modelscope(endpoint: str) -> Any:  # noqa: ANN401 (likewise)
    return importlib.import_module("modelscope_hub").HubApi(endpoint=endpoint, token="")


def _sizes_on_modelscope(endpoint: str, name: str) -> Mapping[str, int]:
    return {entry.path: entry.size for entry in _modelscope(endpoint).list_repo_files(name, "dataset")}


def _from_modelscope(endpoint: str, name: str, file: str, folder: Path) -> Path:
    return Path(_modelscope(endpoint).download_file(name, "dataset", file, local_dir=folder))


HUBS = {
    "huggingface": Hub(
        "Hugging Face",
        "huggingface_hub",
        lambda: os.environ.get("HF_ENDPOINT") or "https://huggingface.co",
        _sizes_on_hugging_face,
        _from_hugging_face,
    ),
    "modelscope": Hub(
        "ModelScope",
        "modelscope_hub",
        lambda: os.environ.get("MODELSCOPE_ENDPOINT") or "https://modelscope.cn",
        _sizes_on_modelscope,
        _from_modelscope,
    ),
}
"""By their names in the API."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a data set on a hub."""

    source: str
    endpoint: str
    name: str
    file: str
    size_bytes: int

    @property
    def kept_name(self) -> str:
        """The name to store it under. Raises ConsoleError if its extension is not that of a data file."""
        return clean_name(f"{self.name.replace('/', '-')}-{Path(self.file).name}")


def ensure_askable(source: str, name: str) -> Hub:
    """The hub with this key. Raises ConsoleError if it is unknown, its package is missing, or the name of the data set
    is invalid."""
    if source not in HUBS:
        raise ConsoleError(tr("there is no hub %(hub)s: choose %(hubs)s", hub=repr(source), hubs=" or ".join(HUBS)))
    hub = HUBS[source]
    if _NAME.fullmatch(name) is None:
        raise ConsoleError(
            tr(
                "%(name)s is no data set of %(hub)s: write owner/name, such as openai/gsm8k",
                name=repr(name),
                hub=hub.title,
            )
        )
    if importlib.util.find_spec(hub.package) is None:
        install = hub.package.replace("_", "-")
        raise ConsoleError(
            tr(
                "data sets of %(hub)s need a package that is not installed: pip install %(package)s",
                hub=hub.title,
                package=install,
            )
        )
    return hub


def look_up(source: str, name: str, file: str | None) -> HubFile:
    """Find the requested file of a data set, or the default one. Raises ConsoleError."""
    hub = ensure_askable(source, name)
    endpoint = hub.endpoint()
    if reason := why_unreachable(endpoint):
        raise ConsoleError(tr("%(why)s. Upload a file instead", why=failure(source, name, reason)))
    try:
        sizes = hub.sizes(endpoint, name)
    except Exception as e:  # The packages raise any type of exception.
        raise ConsoleError(failure(source, name, first_line(e))) from e
    chosen = choose(name, sizes, file)
    if sizes[chosen] > MOST_UPLOADED:
        whole = tr("%(run)s of %(task)s", run=chosen, task=name)
        raise TooLarge(tr("%(name)s has more than %(size)s", name=whole, size=f"{MOST_UPLOADED // 2**30} GiB"))
    return HubFile(source, endpoint, name, chosen, sizes[chosen])


def failure(source: str, name: str, why: str) -> Phrase:
    """The message that a data set cannot be loaded."""
    return tr("%(name)s cannot be loaded from %(hub)s: %(why)s", name=name, hub=HUBS[source].title, why=why)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type if the message is empty."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def choose(name: str, sizes: Mapping[str, int], file: str | None) -> str:
    """The requested file, the only one, or the first of a split. Raises ConsoleError, which lists the files."""
    usable = sorted(path for path in sizes if path.endswith(ENDINGS) and not path.startswith("."))
    if file:
        if file in sizes:
            return file
    elif len(usable) == 1:
        return usable[0]
    elif (split := of_split(usable)) is not None:
        return split
    listed: str = ", ".join(usable[:_LISTED])
    if (more := len(usable) - _LISTED) > 0:
        listed = tr("%(names)s and %(n)s more", names=listed, n=more)
    if not usable:
        raise ConsoleError(tr("%(name)s has no file of requests", name=name))
    if file:
        raise ConsoleError(tr("%(name)s has no file %(file)s: choose %(names)s", name=name, file=file, names=listed))
    raise ConsoleError(tr("which file of %(name)s? Choose %(names)s", name=name, names=listed))
