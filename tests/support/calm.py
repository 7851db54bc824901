"""The limits of a run whose numbers are no matter of its test."""

from __future__ import annotations

CALM = """\
# The signs that other programs on this machine can trip are no matter of these tests.
limits:
  send_lateness_p99_ms: {suspect: 1e9, invalid: 1e9}
  sent_rate_off: {suspect: 1e9, invalid: 1e9}
  sent_dispersion_off: {suspect: 1e9, invalid: 1e9}
  loop_lag_p99_ms: {suspect: 1e9, invalid: 1e9}
  cpu_busy_seconds: {suspect: 1e9, invalid: 1e9}
  run_queue_wait: {suspect: 1e9, invalid: 1e9}
  wide_stamps: {suspect: 1e9, invalid: 1e9}
  littles_law_off: {suspect: 1e9, invalid: 1e9}
"""
"""For --config: how busy other programs keep the machine trips no sign."""
