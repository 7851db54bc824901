"""JSON schemas, by jsonschema: what is wrong with one, and whether it accepts a value. No address in one is fetched."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


def problem(schema: dict[str, Any]) -> str | None:
    """What is wrong with a schema, or None."""
    import jsonschema  # Large, and rarely needed.

    if not isinstance(schema.get("$schema", ""), str):
        return "$schema must be a text"
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as e:
        return f"at {e.json_path}, {e.message}"
    return None


def accepts(schema: dict[str, Any], value: object) -> bool:
    """Whether a schema accepts a value. A wrong schema accepts nothing, nor does one whose references lead nowhere."""
    from referencing.exceptions import Unresolvable

    validator = _validator(json.dumps(schema))
    try:
        return validator is not None and validator.is_valid(value)  # type: ignore[arg-type]
    except (Unresolvable, RecursionError):
        return False


@lru_cache(maxsize=256)
def _validator(text: str) -> Validator | None:
    """What checks values against a schema; None if that is wrong."""
    import jsonschema
    from jsonschema_specifications import REGISTRY

    schema = json.loads(text)
    if problem(schema) is not None:
        return None
    return jsonschema.validators.validator_for(schema)(schema, registry=REGISTRY)
