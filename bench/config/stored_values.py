"""What is wrong with the settings in a run.yaml that was changed by hand, or by a disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from bench.config.run_config import SECRETS
from bench.config.sentences import sentences
from bench.config.settings import Settings

_OF_FILES = frozenset(
    {"body", "body_template", "ca_file", "client_cert", "client_key", "dataset", "mix", "tokenizer", "tools"}
)
"""Files of then, which may be gone, and need not be there."""


def wrong_values(config: Mapping[str, object], where: str) -> Iterator[str]:
    """A sentence for each setting that could not have been given. `where` begins it. `slo` is left to RunConfig: 0.1.0
    allowed limits that are refused today."""
    unchecked = SECRETS | _OF_FILES | {"slo"} | (frozenset() if config.get("api") is None else {"endpoint"})
    for name in [name for name in config if name in Settings.model_fields and name not in unchecked]:
        if config[name] is None and Settings.model_fields[name].default is None:
            continue  # It was not given.
        try:
            Settings.model_validate({"url": "http://unknown", name: config[name]})
        except ValidationError as e:
            for error in e.errors():
                yield from sentences(error, lambda key: f"{where} {key}")
