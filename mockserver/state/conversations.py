"""The response that a request continues (`previous_response_id`), and the response that it stores.

Rules:
- A response is stored complete: all earlier messages and its output. It is stored before its last bytes are sent, so a
  client that has read them can continue it, at any worker.
- `store: false` is not stored. A WebSocket still remembers its last response (OpenAI's rule), stored or not.
- A failed or truncated response is not stored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from mockserver.config import MockConfig
from mockserver.dialect import refusals
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.params import RequestParams
from mockserver.dialect.responses_request import add_items
from mockserver.entries import RequestContext
from mockserver.faults import LOST, Fault
from mockserver.plans.plan import Plan
from mockserver.workers.response_store import LastResponse, ResponseStore, StoredResponse

Row = dict[str, Any]


def with_history(
    endpoint: Endpoint,
    row: Row,
    params: RequestParams,
    store: ResponseStore,
    context: RequestContext,
    faults: tuple[Fault, ...],
    config: MockConfig,
) -> RequestParams:
    """Adds to a request the conversation that it continues, and the function that stores its response. Raises Refusal
    if that conversation is not stored, or a fault loses it."""
    if endpoint.parse_behind is None:
        return params
    previous = params.previous_response
    if previous is not None:
        lost = tuple(fault for fault in faults if fault.name == LOST)
        if lost:
            store.remove(previous)
        stored = _find(previous, store, context.last)
        if lost or stored is None:
            if context.last is not None:
                context.last.forget(previous)
            context.plan = Plan(None, (), 0, lost) if lost else None
            context.previous = "lost"
            raise refusals.lost_response(previous, config.lost_response)
        context.previous = "found"
        params = endpoint.parse_behind(row, orjson.loads(stored.conversation))
    if not params.stores and context.last is None:
        return params
    return replace(params, keep=lambda response: _keep(response, params, store, context.last))


def _find(response_id: str, store: ResponseStore, last: LastResponse | None) -> StoredResponse | None:
    stored = None if last is None else last.get(response_id)
    return store.get(response_id) if stored is None else stored


def _keep(response: Row, params: RequestParams, store: ResponseStore, last: LastResponse | None) -> None:
    assert params.messages is not None
    messages = params.messages[params.own_messages :]
    # The output may join the last message, as it does when a client sends it back. Nothing reads that message any more.
    add_items(messages, response["output"], "output")
    stored = StoredResponse(orjson.dumps(messages), orjson.dumps(response))
    if params.stores:
        store.add(response["id"], stored)
    if last is not None:
        last.keep(response["id"], stored)
