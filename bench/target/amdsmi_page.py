"""This machine's AMD GPUs by AMD SMI (package amdsmi, extra `amd-metrics`), as samples like those of a page of metrics."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

from bench.server_metrics.exposition import Page, sample_key

AMDSMI = "amdsmi:"
"""Stands where the URL of a page does."""

_MIB = 1024 * 1024
_POWERS = ("socket_power", "current_socket_power", "average_socket_power")
"""By which name a GPU says its power depends on its generation and on the version: the first with a number counts."""
_LOWERED = ("active_prochot_thrm", "active_ppt_pwr", "active_socket_thrm", "active_vr_thrm", "active_hbm_thrm")
"""Reasons for a lower clock that are no wish of the user's and no idleness."""


class AmdSmiPage:
    """The AMD GPUs of this machine. `read` says in a sentence why there are none."""

    def __init__(self) -> None:
        self._smi: Any = None
        self._handles: list[object] = []
        self._problem: str | None = None
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # Without its library, the package prints.
                import amdsmi
        except ImportError:
            self._problem = "amdsmi is not installed (pip install amdsmi)"
            return
        except (OSError, KeyError):
            self._problem = "amdsmi does not find its library libamd_smi.so, which comes with ROCm"
            return
        try:
            amdsmi.amdsmi_init()
            self._handles = list(amdsmi.amdsmi_get_processor_handles())
        except amdsmi.AmdSmiException as e:
            self._problem = f"AMD SMI finds no GPU: {e}"
            return
        self._smi = amdsmi
        if not self._handles:
            self._problem = "AMD SMI finds no GPU"

    def read(self) -> Page | str:
        """Every number of each GPU, without the numbers that it does not support."""
        if self._problem is not None:
            return self._problem
        values: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            for name, ask in self._questions(handle):
                # What a GPU does not support is an error, a missing key, or the text N/A.
                with contextlib.suppress(self._smi.AmdSmiException, AttributeError, LookupError, ValueError, TypeError):
                    values[sample_key(name, {"gpu": str(number)})] = float(ask())
        return Page(values, {}) if values else "AMD SMI gives no number of any GPU"

    def _questions(self, handle: object) -> Iterator[tuple[str, Callable[[], float]]]:
        smi = self._smi
        yield "amdsmi_power_watts", lambda: _first_number(smi.amdsmi_get_power_info(handle), _POWERS)
        yield "amdsmi_memory_used_bytes", lambda: smi.amdsmi_get_gpu_vram_usage(handle)["vram_used"] * _MIB
        yield "amdsmi_utilisation_percent", lambda: smi.amdsmi_get_gpu_activity(handle)["gfx_activity"]
        yield "amdsmi_clock_mhz", lambda: smi.amdsmi_get_clock_info(handle, smi.AmdSmiClkType.GFX)["clk"]
        yield (
            "amdsmi_temperature_celsius",
            lambda: smi.amdsmi_get_temp_metric(
                handle, smi.AmdSmiTemperatureType.HOTSPOT, smi.AmdSmiTemperatureMetric.CURRENT
            ),
        )
        yield "amdsmi_throttled", lambda: _any_true(smi.amdsmi_get_violation_status(handle), _LOWERED)


def _first_number(found: dict[str, Any], names: tuple[str, ...]) -> float:
    numbers = [float(found[name]) for name in names if isinstance(found.get(name), int | float)]
    return numbers[0]


def _any_true(found: dict[str, Any], names: tuple[str, ...]) -> float:
    """Whether one holds. Raises LookupError if none is known."""
    known = [found[name] for name in names if isinstance(found.get(name), bool)]
    if not known:
        raise LookupError
    return float(any(known))
