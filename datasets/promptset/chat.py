"""The parts of a chat, as values. `promptset.chat_template` renders them to text."""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]
"""One turn, as in an OpenAI request: at least `role` and `content`."""

Tool = dict[str, Any]
"""A tool that the model may call, as in an OpenAI request: `type` and `function`."""
