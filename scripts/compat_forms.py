"""Replies of many forms, to other load testers and to Trueload: what each prints, beside our column for it.

Each form is a stream of events, 40 ms apart, from a server that sends literal bytes. A tool gets it a few times, one
request after the other, and so does Trueload. Definitions differ by whole gaps, so a number of the column is right if
it is within a quarter of a gap of what the tool printed. The tools are those of scripts/compare-tools (`compared/`).
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compared import TOOLS, Load, Place, Tool
from compared.command import place_of, run, tail
from compared.tool import MODEL, read_json

from tests.support.literal_replies import DONE, ROLE, content, delta, finish, frame, head, usage, usage_of
from tests.support.literal_server import Close, LiteralServer, Pause, Received, Responder, Send, Step

ROOT = Path(__file__).parents[1]
INSTALLED = ROOT / "build" / "compared"
GAP_S = 0.04
CLOSE_MS = 1000 * GAP_S / 4
LOAD = Load("one stream", requests=3, streams=1)
NUMBERS = ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")
WHOLE: dict[str, Any] = {"id": "x", "object": "chat.completion.chunk", "model": MODEL}
"""What every event of a stream has; the forms name the rest."""
CALL: dict[str, Any] = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}

Event = dict[str, Any] | str
TEXT: tuple[Event, ...] = (content("one"), content(" two"), content(" three"))
END: tuple[Event, ...] = (finish(), usage(3), DONE)
FORMS: dict[str, tuple[Event, ...]] = {
    "a role chunk first": (ROLE, *TEXT, *END),
    "no role chunk": (*TEXT, *END),
    "the role with the first text": (delta(role="assistant", content="one"), *TEXT[1:], *END),
    "a role chunk without a text": (delta(role="assistant"), *TEXT, *END),
    "a role chunk with null": (delta(role="assistant", content=None), *TEXT, *END),
    "an empty text first": (content(""), *TEXT, *END),
    "an empty text between": (ROLE, TEXT[0], content(""), *TEXT[1:], *END),
    "an empty text last": (ROLE, *TEXT, content(""), *END),
    "an empty delta between": (ROLE, TEXT[0], delta(), *TEXT[1:], *END),
    "the finish reason with the last text": (
        ROLE, *TEXT[:2], {"choices": [{"index": 0, "delta": {"content": " three"}, "finish_reason": "stop"}]}, *END[1:],
    ),
    "reasoning_content before text": (
        ROLE, delta(reasoning_content="so"), delta(reasoning_content=" then"), *TEXT, finish(), usage(5), DONE,
    ),
    "reasoning before text": (
        ROLE, delta(reasoning="so"), delta(reasoning=" then"), *TEXT, finish(), usage(5), DONE,
    ),
    "a tool call": (
        ROLE, delta(tool_calls=[CALL]),
        *(delta(tool_calls=[{"index": 0, "function": {"arguments": part}}]) for part in ('{"a"', ": 1}")),
        finish("tool_calls"), usage(3), DONE,
    ),
    "a tool call after text": (ROLE, *TEXT, delta(tool_calls=[CALL]), finish("tool_calls"), usage(4), DONE),
    "a refusal": (ROLE, delta(refusal="no"), delta(refusal=" thanks"), finish(), usage(2), DONE),
    "several tokens a chunk": (ROLE, content("one two"), content(" three four five six"), finish(), usage(6), DONE),
    "no usage": (ROLE, *TEXT, finish(), DONE),
    "usage in every chunk": (
        ROLE, *({**event, "usage": usage_of(n)} for n, event in enumerate(TEXT, 1) if isinstance(event, dict)), *END,
    ),
    "usage with the finish reason": (ROLE, *TEXT, finish() | {"usage": usage_of(3)}, DONE),
    "no [DONE]": (ROLE, *TEXT, finish(), usage(3)),
    "one token": (ROLE, TEXT[0], finish(), usage(1), DONE),
}  # fmt: skip
"""The events of each form, by its name in --forms."""


def main() -> int:
    with_columns = [name for name, tool in TOOLS.items() if tool.compat is not None]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", default=",".join(with_columns), help="which to run, of %(default)s")
    parser.add_argument("--forms", default=",".join(FORMS), help="which forms to send, separated by commas")
    asked = parser.parse_args()
    tools, forms = asked.tools.split(","), asked.forms.split(",")
    problems = [
        f"{flag}: {', '.join(unknown)}: there are {', '.join(known)}"
        for flag, names, known in (("--tools", tools, with_columns), ("--forms", forms, FORMS))
        if (unknown := [name for name in names if name not in known])
    ]
    if problems:
        parser.error("\n".join(problems))
    for name in tools:
        TOOLS[name].install(INSTALLED / name)
    wrong = 0
    for form in forms:
        print(f"\n{form}")
        ours = _summary(form)["compat"]
        for name in tools:
            wrong += _compare(TOOLS[name], INSTALLED / name, form, ours)
    print(f"\n{wrong} of {len(forms) * len(tools)} rows differ")
    return 1 if wrong else 0


def _script(form: str) -> Responder:
    """A server that lists the model, and answers every request with the form."""

    def answer(request: Received) -> Sequence[Step]:
        if request.method != "POST":
            models = f'{{"object": "list", "data": [{{"id": "{MODEL}", "object": "model"}}]}}'.encode()
            return [Send(head("200 OK", "application/json", f"content-length: {len(models)}") + models), Close()]
        steps: list[Step] = [Send(head("200 OK", "text/event-stream", "connection: close"))]
        for event in FORMS[form]:
            steps += [Pause(GAP_S), Send(frame(event if isinstance(event, str) else WHOLE | event))]
        return [*steps, Close()]

    return answer


def _run(tool: Tool, form: str, place: Place) -> str | None:
    """Run the tool; a sentence if it has no numbers."""
    with LiteralServer(_script(form)) as server:
        used = run(tool.command(LOAD, server.url, place), place)
    if used["status"] not in tool.measured:
        return f"it ended with status {used['status']}: {tail(place.run / 'log')[-160:]}"
    return None


def _summary(form: str) -> dict[str, Any]:
    """Trueload's summary."""
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        place = place_of(Path(folder), Path(folder), LOAD)
        if why := _run(TOOLS["trueload"], form, place):
            raise SystemExit(f"error: Trueload: {form}: {why}")
        return read_json(place.run / "run" / "summary.json")


def _compare(tool: Tool, installed: Path, form: str, ours: dict[str, Any]) -> bool:
    """Print a row of a tool. Returns whether a number differs."""
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        place = place_of(Path(folder), installed, LOAD)
        why = _run(tool, form, place)
        if why is None:
            try:
                printed = tool.read(place.run)
            except (OSError, LookupError, ValueError, TypeError) as e:
                why = f"its result cannot be read ({e!r})"
        if why is not None:
            print(f"  {tool.title:30} {why}")
            return False
    if not printed.succeeded:
        print(f"  {tool.title:30} counts no such reply as succeeded", flush=True)
        return False
    cells, differs = [], False
    for key in NUMBERS:
        theirs = printed.numbers.get(key, {}).get("mean")
        column = ours[str(tool.compat)][key]
        mean = None if column is None else column["mean"]
        if theirs is None:
            continue
        # A tool without a value prints 0 or NaN.
        wrong = abs((theirs if math.isfinite(theirs) else 0.0) - (mean or 0.0)) > CLOSE_MS
        differs |= wrong
        cells.append(f"{key[:-3]} {theirs:.1f} / {'-' if mean is None else f'{mean:.1f}'}{' DIFFERS' if wrong else ''}")
    failed = "" if printed.succeeded == LOAD.requests else f" ({printed.succeeded} of {LOAD.requests} succeeded)"
    print(f"  {tool.title:30} {'; '.join(cells)}{failed}", flush=True)
    return differs


if __name__ == "__main__":
    sys.exit(main())
