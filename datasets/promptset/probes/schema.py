"""Schema: write an order as JSON that follows a schema."""

from __future__ import annotations

import re

from promptset.probes.codes import CODE
from promptset.probes.probe_kind import Draw, ProbeKind
from promptset.probes.values import Probe, Question, Schema, Solution, to_json, user

_SIGN = "Write this as JSON with the keys order, customer, item, pieces and paid, and nothing else."
_QUESTION = re.compile(
    rf"Order ({CODE.pattern}): (\w+) buys (\d+) pieces of (\w+), (not yet )?paid\. {re.escape(_SIGN)}"
)
_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "order": {"type": "string"},
        "customer": {"type": "string"},
        "item": {"type": "string"},
        "pieces": {"type": "integer"},
        "paid": {"type": "boolean"},
    },
    "required": ["order", "customer", "item", "pieces", "paid"],
    "additionalProperties": False,
}


def _order(code: str, customer: str, item: str, pieces: int, paid: bool) -> str:
    return to_json({"order": code, "customer": customer, "item": item, "pieces": pieces, "paid": paid})


def _make(draw: Draw) -> Probe:
    customer, item = draw.words(2)
    customer = customer.capitalize()
    pieces, paid = draw.whole(2, 99), draw.whole(0, 1) == 1
    state = "paid" if paid else "not yet paid"
    return Probe(
        probe_id=draw.probe_id,
        kind="schema",
        messages=user(f"Order {draw.code}: {customer} buys {pieces} pieces of {item}, {state}. {_SIGN}"),
        answer=_order(draw.code, customer, item, pieces, paid),
        grader="json_equal",
        schema=_SCHEMA,
        max_tokens=128,
        code=draw.code,
    )


def _solve(question: Question) -> Solution | None:
    match = _QUESTION.search(question.text)
    if match is None:
        return None
    text = _order(match[1], match[2], match[4], int(match[3]), match[5] is None)
    return Solution("schema", text, code=match[1])


SCHEMA = ProbeKind("write JSON that follows a schema", _SIGN, _make, _solve)
