"""Sessions: conversations of several turns, in which each request carries the history.

A session is a graph of turns (`values`): which turns must have ended before a turn is due, and whose conversation it
continues. A linear session, in which each turn follows the previous one, is the simplest graph. `rows` reads sessions
from files, and `simulated` generates them.
"""

from promptset.sessions.rows import load_sessions, read_session
from promptset.sessions.simulated import SimulatedSessions, simulated_sessions
from promptset.sessions.values import BEFORE, Node, Pause, Session, Turn

__all__ = [
    "BEFORE",
    "Node",
    "Pause",
    "Session",
    "SimulatedSessions",
    "Turn",
    "load_sessions",
    "read_session",
    "simulated_sessions",
]
