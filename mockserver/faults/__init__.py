"""What goes wrong on purpose: the faults (kinds), how they are written and whom they hit (rules), and those that are in the
plan itself (latency)."""

from mockserver.faults.kinds import FAULTS, GROUPS, OF_CONNECTIONS, SCALED, Fault, Kind, fault, names
from mockserver.faults.rules import Arrived, Rule, choose, parse_demand, parse_rule

__all__ = [
    "FAULTS",
    "GROUPS",
    "OF_CONNECTIONS",
    "SCALED",
    "Arrived",
    "Fault",
    "Kind",
    "Rule",
    "choose",
    "fault",
    "names",
    "parse_demand",
    "parse_rule",
]
