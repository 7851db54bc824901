"""OpenTelemetry spans with the GenAI conventions: OTLP JSON from an exporter (one document, or one per line), or one
span per row.

    {"resourceSpans": [{"scopeSpans": [{"spans": [span, ...]}]}]}
    span: {"traceId": "...", "spanId": "...", "parentSpanId"?: "...", "startTimeUnixNano": "...", "endTimeUnixNano": "...",
           "attributes": [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "812"}}, ...]}

A span in a row may also have the form that SDKs print: `context` with `trace_id` and `span_id`, `parent_id`,
`start_time`, `end_time`, and `attributes` as an object.

- A trace is a session with a single job. Its calls are the spans with `gen_ai.operation.name` chat, generate_content or
  text_completion (without an operation: spans with input tokens). A call that contains another call is a wrapper and
  left out.
- Overlapping spans of the same parent run in parallel; a span waits for the spans that had ended when it began. The
  pause of a call runs from the last end to its start, and is a tool's if an `execute_tool` span lies in it.
- A call continues the prompt of the previous call of the same parent span if its own is at least as long; if it is
  shorter, its text is new. `gen_ai.usage.cache_read.input_tokens`, if present, gives the length of the common part.
- Calls below a second `invoke_agent` span, or below an `execute_tool` span, belong to a sub-agent.

Source: github.com/open-telemetry/semantic-conventions-genai.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promptset.clock import NS_PER_S
from promptset.loaders.recorded import Call, RecordedSession, RecordingFormat, Row, cut, length_problems
from promptset.loaders.tracelab import time_of

if TYPE_CHECKING:
    from promptset.sharing import Path

_MAX_IDLE_S = 60.0
_MOST_DEPTH = 200
_CALLS = ("chat", "generate_content", "text_completion")
_INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_CACHED = ("gen_ai.usage.cache_read.input_tokens",)
_OPERATION = "gen_ai.operation.name"


def _spans(row: Row) -> Iterator[Row]:
    if "resourceSpans" not in row:
        yield row
        return
    for resource in _objects(row["resourceSpans"]):
        for key in ("scopeSpans", "instrumentationLibrarySpans"):
            for scope in _objects(resource.get(key)):
                yield from _objects(scope.get("spans"))


def _objects(value: object) -> list[Row]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _items(row: Row) -> Iterable[tuple[str | None, Row]]:
    for span in _spans(row):
        flat = _flat(span)
        yield flat["trace"] or "", flat


def _flat(span: Row) -> Row:
    """Normalizes the field names of a span."""
    context = span["context"] if isinstance(span.get("context"), dict) else {}
    attributes = span.get("attributes")
    if isinstance(attributes, list):
        attributes = {str(attribute.get("key")): _value(attribute.get("value")) for attribute in _objects(attributes)}
    return {
        "trace": _text(span.get("traceId", context.get("trace_id"))),
        "span": _text(span.get("spanId", context.get("span_id"))),
        "parent": _text(span.get("parentSpanId", span.get("parent_id"))),
        "start_s": _time(span.get("startTimeUnixNano", span.get("start_time"))),
        "end_s": _time(span.get("endTimeUnixNano", span.get("end_time"))),
        "attributes": attributes if isinstance(attributes, dict) else {},
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _value(value: object) -> object:
    """An attribute's value: {"intValue": "12"} is 12."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    kind, content = next(iter(value.items()))
    return _number(content) if kind == "intValue" else content


def _number(value: object) -> object:
    """An integer from an int or a numeric string. Anything else is returned unchanged and fails the check that follows."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _time(value: object) -> float | None:
    """Seconds since 1970, from nanoseconds or a date."""
    number = _number(value)
    return number / NS_PER_S if isinstance(number, int) and not isinstance(number, bool) else time_of(value)


def _first(attributes: Row, keys: Sequence[str]) -> object:
    return next((_number(attributes[key]) for key in keys if attributes.get(key) is not None), None)


def _count(attributes: Row, keys: Sequence[str]) -> int | None:
    """Like `_first`, for values that have been checked."""
    value = _first(attributes, keys)
    return value if isinstance(value, int) else None


def _is_call(span: Row) -> bool:
    operation = span["attributes"].get(_OPERATION)
    if operation is not None:
        return operation in _CALLS
    return _first(span["attributes"], _INPUT) is not None


def _problems(span: Row) -> list[str]:
    problems = [
        f"a span has no {name}" for name, key in (("traceId", "trace"), ("spanId", "span")) if span[key] is None
    ]
    called = f"the span {span['span']}"
    if span["start_s"] is None or span["end_s"] is None:
        problems.append(f"{called} has no startTimeUnixNano or endTimeUnixNano")
    elif span["end_s"] < span["start_s"]:
        problems.append(f"{called} ends before it starts")
    if _is_call(span):
        wrong = length_problems(_INPUT[0], _first(span["attributes"], _INPUT), 1)
        output, cached = _first(span["attributes"], _OUTPUT), _first(span["attributes"], _CACHED)
        wrong += [] if output is None else length_problems(_OUTPUT[0], output)
        wrong += [] if cached is None else length_problems(_CACHED[0], cached)
        problems += [f"{called}: {problem}" for problem in wrong]
    return problems


def _lengths(span: Row) -> Iterator[int]:
    tokens = _count(span["attributes"], _INPUT)
    if _is_call(span) and tokens is not None:
        yield tokens


@dataclass(slots=True, eq=False)
class _Node:
    """A span in the tree of its trace."""

    span: Row
    children: list[_Node] = field(default_factory=list)
    call: bool = field(init=False)
    """Whether it is a call that is sent. Set by `_mark`."""
    has_calls: bool = field(init=False)
    """Whether it or a descendant is such a call."""
    waits: frozenset[int] = frozenset()
    """Numbers of the calls that had ended when this one began."""

    @property
    def start_s(self) -> float:
        return float(self.span["start_s"])

    @property
    def end_s(self) -> float:
        return float(self.span["end_s"])

    @property
    def operation(self) -> str | None:
        operation: str | None = self.span["attributes"].get(_OPERATION)
        return operation


def _forest(spans: Sequence[Row]) -> list[_Node]:
    """The root spans of a file, each with its descendants. A span that is its own ancestor is a root. Spans deeper than
    _MOST_DEPTH become siblings of their parent."""
    nodes = {span["span"]: _Node(span) for span in sorted(spans, key=lambda row: (row["start_s"], row["end_s"]))}
    roots: list[_Node] = []
    for node in nodes.values():
        above: list[_Node] = []
        parent = nodes.get(node.span["parent"])
        while parent is not None and parent is not node and len(above) <= len(nodes):
            above.append(parent)
            parent = nodes.get(parent.span["parent"])
        circle = parent is not None
        place = max(0, len(above) - _MOST_DEPTH)
        (roots if circle or not above else above[place].children).append(node)
    return roots


def _mark(node: _Node) -> bool:
    """Mark the calls: call spans without a call below them."""
    below = sum(map(_mark, node.children)) > 0
    node.call = _is_call(node.span) and not below
    node.has_calls = node.call or below
    return node.has_calls


def _order(siblings: Sequence[_Node], waits: frozenset[int], numbers: dict[_Node, int]) -> frozenset[int]:
    """Sets the calls that each call below these spans waits for. Returns the calls after which all of them have ended.

    A span waits for the siblings that had ended when it began, except those that another of these siblings waited for.
    """
    ended: list[tuple[_Node, frozenset[int]]] = []
    for node in siblings:
        done = [(other, last) for other, last in ended if other.end_s <= node.start_s]
        latest = [last for other, last in done if not any(other.end_s <= later.start_s for later, _ in done)]
        needs = frozenset().union(*latest) if latest else waits
        if node.call:
            node.waits = needs
            ended.append((node, frozenset([numbers[node]])))
        elif node.has_calls:
            ended.append((node, _order(node.children, needs, numbers)))
        else:
            ended.append((node, needs))
    last = [calls for node, calls in ended if not any(node.end_s <= other.start_s for other, _ in ended)]
    return frozenset().union(*last) if last else waits


def _walk(nodes: Iterable[_Node], agent: str | None, depth: int) -> Iterator[tuple[_Node, str | None]]:
    """Each span with the sub-agent that it belongs to."""
    for node in nodes:
        inner, deeper = agent, depth
        attributes = node.span["attributes"]
        if node.operation == "invoke_agent":
            deeper = depth + 1
            inner = str(attributes.get("gen_ai.agent.name", node.span["span"])) if depth else agent
        elif node.operation == "execute_tool":
            deeper = max(depth, 1)
            inner = str(attributes.get("gen_ai.tool.name", node.span["span"]))
        yield node, agent
        yield from _walk(node.children, inner, deeper)


def _read(key: str, spans: Sequence[Row]) -> RecordedSession | None:
    roots = _forest(spans)
    for root in roots:
        _mark(root)
    ordered = sorted(((node, agent) for node, agent in _walk(roots, None, 0)), key=lambda item: item[0].start_s)
    nodes = [(node, agent) for node, agent in ordered if node.call]
    if not nodes:
        return None
    numbers = {node: number for number, (node, _) in enumerate(nodes)}
    _order(roots, frozenset(), numbers)
    tools = [node for node, _ in ordered if node.operation == "execute_tool"]
    begins_s = nodes[0][0].start_s
    calls: list[Call] = []
    of_parent: dict[str | None, list[tuple[_Node, Call]]] = {}
    for number, (node, agent) in enumerate(nodes):
        # If clocks differ, or a span outlives its parent, a call that it seems to wait for may have begun later.
        waits = sorted(earlier for earlier in node.waits if earlier < number)
        last_s = max((nodes[earlier][0].end_s for earlier in waits), default=begins_s)
        worked = any(tool.start_s < node.start_s and tool.end_s > last_s for tool in tools)
        siblings = of_parent.setdefault(node.span["parent"], [])
        before = next((earlier for other, earlier in reversed(siblings) if other.end_s <= node.start_s), None)
        path, tokens = _path(node, before, f"{key} {number}")
        call = Call(
            input_tokens=tokens,
            output_tokens=_count(node.span["attributes"], _OUTPUT) or None,
            at_s=node.start_s - begins_s,
            after=tuple(waits),
            pause_s=max(0.0, node.start_s - last_s),
            # The first call is made by an agent, not a person. Set its pause explicitly so that it does not count as a
            # person's.
            pause="tool" if number == 0 or (worked and waits) else None,
            agent=agent,
            job=0,
            path=path,
        )
        siblings.append((node, call))
        calls.append(call)
    return RecordedSession(id=key, calls=tuple(calls))


def _path(node: _Node, before: Call | None, name: str) -> tuple[Path, int]:
    """The common part of a prompt with the previous one, and the prompt's tokens."""
    tokens = _count(node.span["attributes"], _INPUT)
    assert tokens is not None
    if before is None:
        return ((name, tokens),), tokens
    cached = _count(node.span["attributes"], _CACHED)
    same = before.input_tokens if cached is None and tokens >= before.input_tokens else cached or 0
    shared = cut(before.path, min(same, tokens))
    new = tokens - sum(length for _, length in shared)
    return ((*shared, (name, new)) if new else shared), tokens


FORMAT = RecordingFormat(
    recognizes=lambda row: "resourceSpans" in row or ("traceId" in row and "spanId" in row) or _is_printed(row),
    items=_items,
    problems=_problems,
    lengths=_lengths,
    read=_read,
    begins=lambda span: float(span["start_s"]) if _is_call(span) else None,
    shares=lambda row: False,
    max_idle_s=_MAX_IDLE_S,
    branches=True,
)


def _is_printed(row: Row) -> bool:
    context = row.get("context")
    return isinstance(context, dict) and "trace_id" in context and "span_id" in context
