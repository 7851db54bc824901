"""The formats in which a data set is written.

    rows           ours: {prompt or messages, tools?, input_tokens, output_tokens, at_s?}, read by `bench run --dataset`
    vllm           {prompt, output_tokens}, for `vllm bench serve --dataset-name custom --custom-output-len -1`
    openai-batch   {custom_id, method, url, body}, for the batch API and `vllm run-batch`; read by `bench run` too

A new format is one function and one line in `OUTPUT_FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from promptset.errors import SpecError

if TYPE_CHECKING:
    from promptset.chat import Message
    from promptset.samples import Sample
    from promptset.sessions import Session
    from promptset.sharing import Path
    from promptset.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """One format of rows. `write` gets a sample, its number, and the model name."""

    write: Callable[[Sample, int, str | None], dict[str, Any]]
    needs_model: bool = False


def _rows(sample: Sample, number: int, model: str | None) -> dict[str, Any]:
    row: dict[str, Any]
    if sample.body is not None:
        row = {**sample.body, **({} if sample.endpoint is None else {"endpoint": sample.endpoint})}
    else:
        row = {"prompt": sample.prompt} if sample.messages is None else {"messages": sample.messages}
        if sample.tools is not None:
            row["tools"] = sample.tools
        for key in ("input_tokens", "output_tokens", "session", "at_s", "endpoint", "model", "priority"):
            if getattr(sample, key) is not None or key == "input_tokens":
                row[key] = getattr(sample, key)
    return row | ({"headers": dict(sample.headers)} if sample.headers else {})


def _vllm(sample: Sample, number: int, model: str | None) -> dict[str, Any]:
    prompt = sample.prompt
    messages = sample.messages if sample.body is None else sample.body.get("messages")
    if sample.body is not None and isinstance(sample.body.get("prompt"), str):
        prompt = sample.body["prompt"]
    elif messages is not None and len(messages) == 1 and isinstance(messages[0].get("content"), str):
        prompt = messages[0]["content"]
    if sample.tools is not None:
        raise SpecError(f"row {number + 1} has tools, and vLLM's custom rows hold only a prompt: use another --format")
    if prompt is None:
        raise SpecError(
            f"row {number + 1} is a chat of several messages or parts, and vLLM's custom rows hold one prompt: "
            "use another --format"
        )
    return {"prompt": prompt, **({} if sample.output_tokens is None else {"output_tokens": sample.output_tokens})}


def _openai_batch(sample: Sample, number: int, model: str | None) -> dict[str, Any]:
    if sample.endpoint not in (None, "chat", "completions"):
        raise SpecError(
            f"row {number + 1} is for the endpoint {sample.endpoint}, and openai-batch rows are for chat and completions: "
            "use another --format"
        )
    body: dict[str, Any] = {"model": sample.model or model, "priority": sample.priority}
    messages = sample.messages
    if messages is None and sample.endpoint == "chat":
        messages = ({"role": "user", "content": sample.prompt},)
    if sample.body is not None:
        body = {**sample.body, "model": model}
    elif messages is not None:
        body |= {"messages": messages, "tools": sample.tools, "max_completion_tokens": sample.output_tokens}
    else:
        body |= {"prompt": sample.prompt, "max_tokens": sample.output_tokens}
    url = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    body = {key: value for key, value in body.items() if value is not None}
    return {"custom_id": f"request-{number}", "method": "POST", "url": url, "body": body}


OUTPUT_FORMATS: dict[str, OutputFormat] = {
    "rows": OutputFormat(_rows),
    "vllm": OutputFormat(_vllm),
    "openai-batch": OutputFormat(_openai_batch, needs_model=True),
}


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The token counts and shared path of one request, for the manifest."""

    stated_tokens: int | None
    """`input_tokens` of the row, if it has any."""
    counted_tokens: int | None
    """Input tokens counted in the finished text. None if it cannot be counted."""
    output_tokens: int | None
    path: Path = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its bytes, and the facts of its requests (a session has several)."""

    content: bytes
    requests: tuple[RequestFacts, ...]


def lines_of(
    samples: Sequence[Sample],
    first: int,
    output_format: OutputFormat,
    tokenizer: Tokenizer,
    chat: bool,
    model: str | None,
) -> list[Line]:
    """The samples as lines, numbered from `first`. Every finished text is counted again."""
    counted = _count_inputs(samples, tokenizer, chat)
    return [
        Line(
            orjson.dumps(output_format.write(sample, first + offset, model), option=orjson.OPT_APPEND_NEWLINE),
            (RequestFacts(sample.input_tokens, counted.get(offset), sample.output_tokens, sample.path),),
        )
        for offset, sample in enumerate(samples)
    ]


def lines_of_sessions(sessions: Sequence[Session], tokenizer: Tokenizer) -> list[Line]:
    """The sessions as lines. Every request is counted again, with the planned answers in its history. In sessions so
    long that this would take seconds, only the longest request is counted."""
    lines = []
    for session in sessions:
        inputs = [turn.input_tokens for turn in session.turns]
        counted = list(range(len(inputs)))
        if sum(tokens or 0 for tokens in inputs) > _MOST_COUNTED:
            counted = [max(counted, key=lambda number: inputs[number] or 0)]
        lengths = tokenizer.count_chats([session.conversation(number) for number in counted])
        counts = dict(zip(counted, lengths, strict=True))
        facts = [
            RequestFacts(turn.input_tokens, counts.get(number), turn.output_tokens)
            for number, turn in enumerate(session.turns)
        ]
        lines.append(Line(orjson.dumps(session.row(), option=orjson.OPT_APPEND_NEWLINE), tuple(facts)))
    return lines


_MOST_COUNTED = 250_000
"""The limit for the total tokens of a session's requests."""


def _count_inputs(samples: Sequence[Sample], tokenizer: Tokenizer, chat: bool) -> dict[int, int]:
    """Input tokens by position, for samples whose input can be counted."""
    prompts: dict[int, str] = {}
    chats: dict[int, Sequence[Message]] = {}
    counts: dict[int, int] = {}
    for at, sample in enumerate(samples):
        body: Mapping[str, Any] = {"prompt": sample.prompt, "messages": sample.messages, "tools": sample.tools}
        body = body if sample.body is None else sample.body
        messages, prompt = body.get("messages"), body.get("prompt")
        if messages is not None and body.get("tools") is not None:
            counts[at] = tokenizer.count_chat(messages, body["tools"])
        elif messages is not None:
            chats[at] = messages
        elif isinstance(prompt, str) and chat and sample.body is None:
            chats[at] = [{"role": "user", "content": prompt}]
        elif isinstance(prompt, str):
            prompts[at] = prompt
    counts.update(zip(prompts, tokenizer.count_batch(list(prompts.values())) if prompts else (), strict=True))
    counts.update(zip(chats, tokenizer.count_chats(list(chats.values())) if chats else (), strict=True))
    return counts
