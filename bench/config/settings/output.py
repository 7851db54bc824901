"""Where results go, and what is printed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel

from bench.config import values
from bench.config.fields import option


class Output(BaseModel):
    """The settings of the group `output`."""

    out: Annotated[str, AfterValidator(values.place)] | None = option(
        None,
        "the run directory, or s3://BUCKET/KEY to copy it there",
        group="output",
        metavar="DIR",
        otherwise="runs/<time>-<name>",
    )
    name: Annotated[str, AfterValidator(values.directory_name)] = option(
        "run", "a name for the run", group="output", metavar="NAME"
    )
    format: Literal["text", "json"] = option("text", "what to print at the end", group="output")
    store_texts: bool = option(
        False,
        "store the text of every answer in requests.jsonl; without it, only answers of --check-answers are stored",
        group="output",
    )
    quiet: bool = option(False, "print only the verdict and the errors", group="output")
    details: bool = option(False, "print every number at the end, not only the first screen", group="output")
