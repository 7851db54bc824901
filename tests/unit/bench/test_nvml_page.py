"""The numbers of this machine's GPUs from NVML, with a driver played by the test: units by hand, and unsupported
values."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from bench.server_metrics.exposition import Page, sample_key
from bench.target.gpu_pages import NvmlPage

POWER_CAP, THERMAL, IDLE = 4, 32, 1


class NVMLError(Exception):
    pass


def driver(gpus: int = 1, reasons: int = 0, lacks: tuple[str, ...] = (), begins: bool = True) -> SimpleNamespace:
    """A stub of nvidia-ml-py, in NVML's units: milliwatts, bytes, percent, MHz and degrees."""

    def given(name: str, value: Any) -> Any:
        def ask(handle: int, *more: object) -> Any:
            if name in lacks:
                raise NVMLError("Not Supported")
            return value

        return ask

    def init() -> None:
        if not begins:
            raise NVMLError("Driver Not Loaded")

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_TEMPERATURE_GPU=0,
        nvmlClocksThrottleReasonSwPowerCap=POWER_CAP,
        nvmlClocksThrottleReasonSwThermalSlowdown=THERMAL,
        nvmlInit=init,
        nvmlDeviceGetCount=lambda: gpus,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetPowerUsage=given("power", 312_500),
        nvmlDeviceGetMemoryInfo=given("memory", SimpleNamespace(used=7 << 30, total=80 << 30)),
        nvmlDeviceGetUtilizationRates=given("use", SimpleNamespace(gpu=93, memory=40)),
        nvmlDeviceGetClockInfo=given("clock", 1_755),
        nvmlDeviceGetTemperature=given("temperature", 61),
        nvmlDeviceGetCurrentClocksThrottleReasons=given("reasons", reasons),
    )


WHOLE = {
    "nvml_power_watts": 312.5,
    "nvml_memory_used_bytes": 7.0 * 2**30,
    "nvml_utilisation_percent": 93.0,
    "nvml_sm_clock_mhz": 1755.0,
    "nvml_temperature_celsius": 61.0,
    "nvml_throttled": 0.0,
}


@pytest.mark.parametrize(
    ("made", "differs"),
    [
        (driver(), {}),
        (driver(gpus=2), {}),
        (driver(reasons=IDLE), {}),
        (driver(reasons=IDLE | POWER_CAP), {"nvml_throttled": 1.0}),
        (driver(reasons=THERMAL), {"nvml_throttled": 1.0}),
        (driver(lacks=("power",)), {"nvml_power_watts": None}),
    ],
)
def test_each_gpu_has_its_numbers(
    made: SimpleNamespace, differs: dict[str, float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", made)
    page = NvmlPage().read()
    assert isinstance(page, Page)
    assert page.values == {
        sample_key(name, {"gpu": str(number)}): value
        for number in range(made.nvmlDeviceGetCount())
        for name, value in (WHOLE | differs).items()
        if value is not None
    }


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (None, "nvidia-ml-py is not installed (pip install nvidia-ml-py)"),
        (driver(begins=False), "NVML finds no GPU: Driver Not Loaded"),
        (driver(gpus=0), "NVML finds no GPU"),
        (
            driver(lacks=("power", "memory", "use", "clock", "temperature", "reasons")),
            "NVML gives no number of any GPU",
        ),
    ],
)
def test_why_there_are_no_numbers_is_one_sentence(
    made: SimpleNamespace | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", made)
    assert NvmlPage().read() == why
