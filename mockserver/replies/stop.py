"""Stop strings, as in vLLM.

After each token, the text so far is searched for every stop string, in the given order, as far back as a new one can
begin. The first match ends the reply. Its text is cut before the stop string (after it with
`include_stop_str_in_output`), `finish_reason` is "stop" and `stop_reason` is the string. To never stream a part of a stop
string, the last (longest stop string - 1) characters are held back until the end. A token whose characters are all held
back gives an empty delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoppedText:
    """The text to send for each token (it may be empty), and the stop string that ended it."""

    texts: list[str]
    stop: str | None


def cut_at_stop(pieces: Sequence[str], stops: Sequence[str], keep: bool) -> StoppedText:
    """The texts up to the token that completes a stop string, or all texts."""
    held = 0 if keep else max(map(len, stops)) - 1
    text, shown = "", 0
    texts: list[str] = []
    for piece in pieces:
        text += piece
        for stop in stops:
            at = text.find(stop, max(0, len(text) + 1 - len(piece) - len(stop)))
            if at >= 0:
                end = at + len(stop) if keep else at
                return StoppedText([*texts, text[shown:end]], stop)
        until = max(shown, len(text) - held)
        texts.append(text[shown:until])
        shown = until
    if texts:
        texts[-1] += text[shown:]
    return StoppedText(texts, None)
