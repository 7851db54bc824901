"""Stop strings, as vLLM has them.

After each token the text so far is searched for every stop string, in the order given, as far back as a new one can
begin. The first found ends the reply: its text is cut before the stop string (behind it with
`include_stop_str_in_output`), `finish_reason` is "stop" and `stop_reason` the string. So that no part of a stop string is
ever streamed, the last (longest stop string - 1) characters are held back until the end, and a token whose characters are
all held back gives an empty delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cut:
    """What comes out of the pieces of a text: one text a token (it may be empty), and the stop string that ended it."""

    texts: list[str]
    stop: str | None


def cut_at_stop(pieces: Sequence[str], stops: Sequence[str], keep: bool) -> Cut:
    """The texts of the tokens up to the one that completes a stop string, or of all."""
    held = 0 if keep else max(map(len, stops)) - 1
    text, shown = "", 0
    texts: list[str] = []
    for piece in pieces:
        text += piece
        for stop in stops:
            at = text.find(stop, max(0, len(text) + 1 - len(piece) - len(stop)))
            if at >= 0:
                end = at + len(stop) if keep else at
                return Cut([*texts, text[shown:end]], stop)
        until = max(shown, len(text) - held)
        texts.append(text[shown:until])
        shown = until
    if texts:
        texts[-1] += text[shown:]
    return Cut(texts, None)
