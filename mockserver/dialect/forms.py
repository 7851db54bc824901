"""Bodies of multipart/form-data: their fields as texts, and their file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mockserver.dialect.refusals import refuse

_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'[; ]name="([^"]*)"', re.IGNORECASE)
_FILE_NAME = re.compile(rb'[; ]filename="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a body. Of a field that came several times, the last."""

    fields: dict[str, str]
    file: bytes | None


def parse_form(content_type: str, body: bytes) -> Form:
    """Raises Refusal (400) if the body is not such a form."""
    boundary = _BOUNDARY.search(content_type)
    if "multipart/form-data" not in content_type.lower() or boundary is None:
        refuse("The request must be multipart/form-data with a boundary.")
    border = b"--" + boundary[1].encode()
    if not body.startswith(border) or body.rstrip(b"\r\n")[-len(border) - 2 :] != border + b"--":
        refuse("The form does not begin and end with its boundary.")
    fields: dict[str, str] = {}
    file = None
    for part in body[: body.rindex(border)].split(b"\r\n" + border):
        head, _, content = part.removeprefix(border).partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name is None:
            continue
        if _FILE_NAME.search(head) is not None:
            file = content
        else:
            fields[name[1].decode("utf-8", "replace")] = content.decode("utf-8", "replace")
    return Form(fields, file)
