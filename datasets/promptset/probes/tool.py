"""Tool: call one of two functions, with three arguments."""

from __future__ import annotations

import re

from promptset.chat import Tool
from promptset.probes.codes import CODE
from promptset.probes.probe_kind import Draw, ProbeKind
from promptset.probes.values import Probe, Question, Solution, to_json, user

_SIGN = "Call a tool and write nothing else."
_QUESTION = re.compile(
    rf"Open a ticket for part (\w+): its reference is ({CODE.pattern}) and its priority is (\d)\. {re.escape(_SIGN)}"
)
_NAME = "open_ticket"


def _tool(name: str, about: str, **properties: str) -> Tool:
    parameters = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


_TOOLS = (
    _tool(_NAME, "Opens a ticket.", reference="string", part="string", priority="integer"),
    _tool("close_ticket", "Closes a ticket.", reference="string"),
)


def _arguments(reference: str, part: str, priority: int) -> dict[str, str | int]:
    return {"reference": reference, "part": part, "priority": priority}


def _make(draw: Draw) -> Probe:
    (part,), priority = draw.words(1), draw.whole(1, 5)
    arguments = _arguments(draw.code, part, priority)
    return Probe(
        probe_id=draw.probe_id,
        kind="tool",
        messages=user(
            f"Open a ticket for part {part}: its reference is {draw.code} and its priority is {priority}. {_SIGN}"
        ),
        answer=to_json({"name": _NAME, "arguments": arguments}),
        grader="tool_call",
        tools=_TOOLS,
        max_tokens=128,
        code=draw.code,
    )


def _solve(question: Question) -> Solution | None:
    match = _QUESTION.search(question.text)
    if match is None:
        return None
    text = to_json(_arguments(match[2], match[1], int(match[3])))
    return Solution("tool", text, _NAME if _NAME in question.tool_names else None, match[2])


TOOL = ProbeKind("call a function with arguments", _SIGN, _make, _solve)
