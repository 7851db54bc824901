"""Where results go, and what is printed."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel

from bench.config import fields, values

option = partial(fields.option, group="output")


class Output(BaseModel):
    """The settings of the group `output`."""

    out: Annotated[str, AfterValidator(values.place)] | None = option(
        None, "the run directory, or s3://BUCKET/KEY to copy it there", metavar="DIR", otherwise="runs/<time>-<name>"
    )
    name: Annotated[str, AfterValidator(values.directory_name)] = option("run", "a name for the run", metavar="NAME")
    format: Literal["text", "json"] = option("text", "what to print at the end")
    store_texts: bool = option(
        False,
        "store the text of every answer in requests.jsonl; without it, only answers of --check-answers are stored",
    )
    quiet: bool = option(False, "print only the verdict and the errors")
    details: bool = option(False, "print every number at the end, not only the first screen")
