"""The requests of `--endpoint http`, and the conditions for their replies."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BaseModel

from bench.config import endpoint_values as values
from bench.config import fields
from bench.config.fields import Many, checked
from bench.sources.http import ROW_FORMATS

option = partial(fields.option, group="http")


class Http(BaseModel):
    """The settings of the group `http`."""

    method: Annotated[str | None, checked(values.method)] = option(
        None, "the HTTP method", metavar="NAME", otherwise="POST with a body, else GET"
    )
    body: Annotated[str | None, checked(values.body)] = option(
        None, "the body of every request: a text, or @FILE", metavar="TEXT|@FILE"
    )
    body_template: Annotated[str | None, checked(values.template)] = option(
        None,
        "a body with {{ column }} of the rows of --dataset, {{ uuid }}, {{ int 1 9 }}, {{ choice a b }}, {{ number }}",
        metavar="TEXT|@FILE",
    )
    rows: Annotated[str, AfterValidator(values.row_format)] = option(
        "auto",
        "format of --dataset: bodies, Base64 of bodies, vegeta's JSON targets, a HAR file, curl commands, or columns",
        metavar="|".join(("auto", *ROW_FORMATS)),
    )
    expect: Annotated[Many, AfterValidator(lambda v: tuple(values.expectation(text) for text in v))] = option(
        (),
        "conditions of a success: status=200|404, json:$.ok=true, text:WORDS; may be repeated",
        metavar="SPEC",
        otherwise="status=2xx",
    )
