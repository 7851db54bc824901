"""Completions: a prompt in, its continuation out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.endpoints.openai import OpenAIEndpoint
from promptset.samples import Sample


class Completions(OpenAIEndpoint):
    """`POST /v1/completions`. The text is in the choice itself."""

    path = "/completions"
    takes_messages = False
    text_field = b'"text":"'

    def prompt_fields(self, sample: Sample) -> dict[str, Any]:
        return {"prompt": sample.prompt if sample.prompt_ids is None else sample.prompt_ids}

    def plain_text(self, event: Mapping[str, Any] | None) -> str | None:
        try:
            (choice,) = event["choices"]  # type: ignore[index]
            text = choice["text"]
            if type(text) is str and text and event.get("usage") is None and choice["finish_reason"] is None:  # type: ignore[union-attr]
                return text if "error" not in event and "error" not in choice else None  # type: ignore[operator]
        except (KeyError, ValueError, TypeError):
            pass
        return None

    def kind_and_texts(self, choice: Mapping[str, Any]) -> tuple[str, str, str]:
        text = choice.get("text")
        return ("c", text, text) if isinstance(text, str) and text else ("o", "", "")

    def calls_in(self, choice: Mapping[str, Any]) -> list[tuple[object, object]]:
        return []

    def texts(self, choice: Mapping[str, Any]) -> tuple[str, str]:
        text = choice.get("text")
        return (text, text) if isinstance(text, str) else ("", "")
