"""Limits for runs whose numbers do not matter to the test."""

from __future__ import annotations

from collections.abc import Iterable

_OF_A_BUSY_MACHINE = (
    "send_lateness_p99_ms",
    "sent_rate_off",
    "sent_dispersion_off",
    "ready_not_sent",
    "never_sent",
    "late_ends",
    "pause_of_run",
    "loop_lag_p99_ms",
    "cpu_busy_seconds",
    "run_queue_wait",
    "wide_stamps",
    "wide_stamps_p99",
)


def calm_but_for(*limits: str) -> str:
    """Limits that other programs on this machine do not exceed, except these."""
    wide = "{suspect: 1e9, invalid: 1e9}"
    return "limits:\n" + "".join(f"  {name}: {wide}\n" for name in _OF_A_BUSY_MACHINE if name not in limits)


CALM = calm_but_for()
"""For --config: other programs on a busy machine trigger no sign."""


def lasting(problems: Iterable[str]) -> list[str]:
    """The problems of a calibration that a busy machine cannot cause: a client that gets a whole reply in one read has
    no speed to measure."""
    return [problem for problem in problems if not problem.startswith("tps:")]
