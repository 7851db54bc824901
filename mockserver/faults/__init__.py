"""Planned faults: their kinds, the rules that select requests, and the faults that change a plan (latency)."""

from mockserver.faults.kinds import (
    BYTE_FAULTS,
    CONNECTION_FAULTS,
    FAULTS,
    GROUPS,
    LOST,
    SCALING_FAULTS,
    Fault,
    FaultKind,
    fault,
    names,
)
from mockserver.faults.rules import ArrivalFacts, Rule, choose, parse_demand, parse_rule

__all__ = [
    "BYTE_FAULTS",
    "CONNECTION_FAULTS",
    "FAULTS",
    "GROUPS",
    "LOST",
    "SCALING_FAULTS",
    "ArrivalFacts",
    "Fault",
    "FaultKind",
    "Rule",
    "choose",
    "fault",
    "names",
    "parse_demand",
    "parse_rule",
]
