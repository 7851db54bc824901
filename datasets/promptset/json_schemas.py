"""JSON schemas, by jsonschema: whether a schema is valid, and whether it accepts a value. References are never fetched."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


def problem(schema: dict[str, Any]) -> str | None:
    """The problem with a schema, or None."""
    import jsonschema  # Large, and rarely needed.

    if not isinstance(schema.get("$schema", ""), str):
        return "$schema must be a text"
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as e:
        return f"at {e.json_path}, {e.message}"
    return None


def accepts(schema: dict[str, Any], value: object) -> bool:
    """Whether a schema accepts a value. An invalid schema, or one with unresolvable references, accepts nothing."""
    from referencing.exceptions import Unresolvable

    validator = _validator(json.dumps(schema))
    try:
        return validator is not None and validator.is_valid(value)  # type: ignore[arg-type]
    except (Unresolvable, RecursionError):
        return False


@lru_cache(maxsize=256)
def _validator(text: str) -> Validator | None:
    """The validator for a schema. None if the schema is invalid."""
    import jsonschema
    from jsonschema_specifications import REGISTRY

    schema = json.loads(text)
    if problem(schema) is not None:
        return None
    return jsonschema.validators.validator_for(schema)(schema, registry=REGISTRY)
