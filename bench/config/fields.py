"""Building blocks for the fields of the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from bench.config import values

if TYPE_CHECKING:
    from pydantic.config import JsonDict

Seconds = Annotated[float, BeforeValidator(values.seconds), AfterValidator(values.positive)]
Tokens = Annotated[str, BeforeValidator(values.token_lengths)]
Users = Annotated[int | None, AfterValidator(values.no_more_than(values.MOST_USERS, "need as many open sockets"))]
Many = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


def checked(check: Callable[[Any], object]) -> AfterValidator:
    """A validator that checks a given value; None stays."""
    return AfterValidator(lambda value: None if value is None else check(value))


def parsed(check: Callable[[Any], object]) -> BeforeValidator:
    """The same, but before pydantic parses the value."""
    return BeforeValidator(lambda value: None if value is None else check(value))


def option(
    default: object,
    doc: str,
    *,
    group: str,
    metavar: str | None = None,
    otherwise: str | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    several: bool = False,
) -> Any:  # noqa: ANN401 - pydantic's own fields stand for a value of any type
    """A field with what `--help` needs: its doc, the group it is shown in, and the word for its value.

    `otherwise`: the default to show in the help, if it differs from `default`. `several`: the flag may be repeated,
    although the setting has one value. A default with the metavar `S` is a time, and is shown with its unit.
    """
    if otherwise is None and metavar == "S" and isinstance(default, float):
        otherwise = f"{default:g}s"
    extra: JsonDict = {"group": group, "metavar": metavar, "otherwise": otherwise, "several": several}
    return Field(default, description=doc, json_schema_extra=extra, ge=ge, gt=gt, le=le, lt=lt)
