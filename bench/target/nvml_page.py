"""This machine's GPUs by NVML (package nvidia-ml-py, extra `gpu-metrics`), as samples like those of a page of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench.server_metrics.exposition import Page, sample_key

NVML = "nvml:"
"""Stands where the URL of a page does."""

_LOWERED = (
    "nvmlClocksThrottleReasonSwPowerCap",
    "nvmlClocksThrottleReasonHwSlowdown",
    "nvmlClocksThrottleReasonSwThermalSlowdown",
    "nvmlClocksThrottleReasonHwThermalSlowdown",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
)
"""Reasons for a lower clock that are no wish of the user's and no idleness."""


class NvmlPage:
    """The GPUs of this machine. `read` says in a sentence why there are none."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._problem: str | None = None
        try:
            import pynvml
        except ImportError:
            self._problem = "nvidia-ml-py is not installed (pip install nvidia-ml-py)"
            return
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as e:
            self._problem = f"NVML finds no GPU: {e}"
            return
        self._nvml = pynvml
        if not self._handles:
            self._problem = "NVML finds no GPU"

    def read(self) -> Page | str:
        """Every number of each GPU, without the numbers that it does not support."""
        if self._problem is not None:
            return self._problem
        values: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            for name, ask in self._questions(handle):
                try:
                    values[sample_key(name, {"gpu": str(number)})] = float(ask())
                except self._nvml.NVMLError:
                    continue
        return Page(values, {}) if values else "NVML gives no number of any GPU"

    def _questions(self, handle: object) -> Iterator[tuple[str, Callable[[], float]]]:
        nvml = self._nvml
        yield "nvml_power_watts", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3
        yield "nvml_memory_used_bytes", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used
        yield "nvml_utilisation_percent", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu
        yield "nvml_sm_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
        yield "nvml_temperature_celsius", lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
        lowered = 0
        for reason in _LOWERED:
            lowered |= getattr(nvml, reason, 0)
        yield "nvml_throttled", lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) & lowered != 0
