"""What the requests of `--endpoint http` are, and what their replies must be."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel

from bench.config import endpoint_values as values
from bench.config.fields import Many, option
from bench.sources.http import ROW_FORMATS


class Http(BaseModel):
    """The settings of the group `http`."""

    method: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.method(v))] = option(
        None, "the HTTP method", group="http", metavar="NAME", otherwise="POST with a body, else GET"
    )
    body: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.body(v))] = option(
        None, "the body of every request: a text, or @FILE", group="http", metavar="TEXT|@FILE"
    )
    body_template: Annotated[str | None, AfterValidator(lambda v: None if v is None else values.template(v))] = option(
        None,
        "a body with {{ column }} of the rows of --dataset, {{ uuid }}, {{ int 1 9 }}, {{ choice a b }}, {{ number }}",
        group="http",
        metavar="TEXT|@FILE",
    )
    rows: Annotated[str, AfterValidator(values.row_format)] = option(
        "auto",
        "format of --dataset: bodies, Base64 of bodies, vegeta's JSON targets, a HAR file, curl commands, or columns",
        group="http",
        metavar="|".join(("auto", *ROW_FORMATS)),
    )
    expect: Annotated[Many, AfterValidator(lambda v: tuple(values.expectation(one) for one in v))] = option(
        (),
        "conditions of a success: status=200|404, json:$.ok=true, text:WORDS; may be repeated",
        group="http",
        metavar="SPEC",
        otherwise="status=2xx",
    )
