"""Sessions as bytes, for another process. Messages shared by several openings are stored once, and are one object
again."""

from __future__ import annotations

from dataclasses import replace

import orjson

from promptset.sessions.rows import read_session
from promptset.sessions.values import Session


def pack_session(session: Session) -> bytes:
    """Serializes a session."""
    row = session.row()
    messages = {id(message): message for turn in session.turns for message in turn.opening}
    places = {key: place for place, key in enumerate(messages)}
    for turn in row["turns"]:
        if "opening" in turn:
            turn["opening"] = [places[id(message)] for message in turn["opening"]]
    return orjson.dumps([row, [*messages.values()], session.settings, session.probe])


def unpack_session(packed: bytes) -> Session:
    """Deserializes a session."""
    row, messages, settings, probe = orjson.loads(packed)
    for turn in row["turns"]:
        if "opening" in turn:
            turn["opening"] = [messages[place] for place in turn["opening"]]
    return replace(read_session(row, ""), settings=settings, probe=probe)
