"""Finds the load that a service holds: what to try next, and what is known so far. Only decisions; the caller sends the
load."""
