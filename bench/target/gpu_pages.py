"""This machine's GPUs, read through their drivers, as samples in the form of a metrics page.

NVIDIA through NVML (package nvidia-ml-py, extra `gpu-metrics`), AMD through AMD SMI (package amdsmi, extra
`amd-metrics`).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

from bench.server_metrics.exposition import Page, sample_key

Questions = Iterator[tuple[str, Callable[[], float]]]
"""The numbers of a GPU: the sample's name, and a function that reads it."""

_MIB = 1024 * 1024


class GpuPage:
    """The GPUs of this machine through one driver. If there are none, `read` returns why."""

    driver: str
    unsupported: tuple[type[Exception], ...] = ()
    """The exceptions that reading an unsupported number raises. Known once the package is imported."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._problem = self._open()
        if self._problem is None and not self._handles:
            self._problem = f"{self.driver} finds no GPU"

    def read(self) -> Page | str:
        """Every number of each GPU, except those that it does not support."""
        if self._problem is not None:
            return self._problem
        values: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            for name, ask in self._questions(handle):
                with contextlib.suppress(*self.unsupported):
                    values[sample_key(name, {"gpu": str(number)})] = float(ask())
        return Page(values, {}) if values else f"{self.driver} gives no number of any GPU"

    def _open(self) -> str | None:
        """Find the GPUs. Returns an error message, or None."""
        raise NotImplementedError

    def _questions(self, handle: object) -> Questions:
        raise NotImplementedError


class NvmlPage(GpuPage):
    """NVIDIA's GPUs."""

    driver = "NVML"
    # Reasons for a lower clock other than a user setting or idleness.
    lowered = (
        "nvmlClocksThrottleReasonSwPowerCap",
        "nvmlClocksThrottleReasonHwSlowdown",
        "nvmlClocksThrottleReasonSwThermalSlowdown",
        "nvmlClocksThrottleReasonHwThermalSlowdown",
        "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
    )

    def _open(self) -> str | None:
        try:
            import pynvml
        except ImportError:
            return "nvidia-ml-py is not installed (pip install nvidia-ml-py)"
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as e:
            return f"NVML finds no GPU: {e}"
        self._nvml: Any = pynvml
        self.unsupported = (pynvml.NVMLError,)
        return None

    def _questions(self, handle: object) -> Questions:
        nvml = self._nvml
        yield "nvml_power_watts", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3
        yield "nvml_memory_used_bytes", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used
        yield "nvml_utilisation_percent", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu
        yield "nvml_sm_clock_mhz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
        yield "nvml_temperature_celsius", lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
        lowered = 0
        for reason in self.lowered:
            lowered |= getattr(nvml, reason, 0)
        yield "nvml_throttled", lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) & lowered != 0


class AmdSmiPage(GpuPage):
    """AMD's GPUs."""

    driver = "AMD SMI"
    powers = ("socket_power", "current_socket_power", "average_socket_power")
    """The name of the power reading depends on the GPU's generation and the driver's version: the first that has a
    number counts."""
    # Reasons for a lower clock other than a user setting or idleness.
    lowered = ("active_prochot_thrm", "active_ppt_pwr", "active_socket_thrm", "active_vr_thrm", "active_hbm_thrm")

    def _open(self) -> str | None:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # If its library is missing, the package prints.
                import amdsmi
        except ImportError:
            return "amdsmi is not installed (pip install amdsmi)"
        except (OSError, KeyError):
            return "amdsmi does not find its library libamd_smi.so, which comes with ROCm"
        try:
            amdsmi.amdsmi_init()
            self._handles = list(amdsmi.amdsmi_get_processor_handles())
        except amdsmi.AmdSmiException as e:
            return f"AMD SMI finds no GPU: {e}"
        self._smi: Any = amdsmi
        # An unsupported number is an error, a missing key, or the text N/A.
        self.unsupported = (amdsmi.AmdSmiException, AttributeError, LookupError, ValueError, TypeError)
        return None

    def _questions(self, handle: object) -> Questions:
        smi = self._smi
        yield "amdsmi_power_watts", lambda: self._power(smi.amdsmi_get_power_info(handle))
        yield "amdsmi_memory_used_bytes", lambda: smi.amdsmi_get_gpu_vram_usage(handle)["vram_used"] * _MIB
        yield "amdsmi_utilisation_percent", lambda: smi.amdsmi_get_gpu_activity(handle)["gfx_activity"]
        yield "amdsmi_clock_mhz", lambda: smi.amdsmi_get_clock_info(handle, smi.AmdSmiClkType.GFX)["clk"]
        yield (
            "amdsmi_temperature_celsius",
            lambda: smi.amdsmi_get_temp_metric(
                handle, smi.AmdSmiTemperatureType.HOTSPOT, smi.AmdSmiTemperatureMetric.CURRENT
            ),
        )
        yield "amdsmi_throttled", lambda: self._is_lowered(smi.amdsmi_get_violation_status(handle))

    def _power(self, info: dict[str, Any]) -> float:
        numbers = [float(info[name]) for name in self.powers if isinstance(info.get(name), int | float)]
        return numbers[0]

    def _is_lowered(self, status: dict[str, Any]) -> bool:
        """Raises LookupError if the GPU reports none of the reasons."""
        known = [status[name] for name in self.lowered if isinstance(status.get(name), bool)]
        if not known:
            raise LookupError
        return any(known)


NVML, AMDSMI = "nvml:", "amdsmi:"
"""Used in place of a page's URL."""
DRIVERS: dict[str, type[GpuPage]] = {NVML: NvmlPage, AMDSMI: AmdSmiPage}
