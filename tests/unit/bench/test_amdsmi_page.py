"""The numbers of AMD GPUs, from a driver played by the test: units by hand, and unsupported values."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bench.server_metrics.exposition import Page, sample_key
from bench.target.gpu_pages import AmdSmiPage


class AmdSmiException(Exception):
    pass


CALM = dict.fromkeys(
    ("active_prochot_thrm", "active_ppt_pwr", "active_socket_thrm", "active_vr_thrm", "active_hbm_thrm"), False
)


def driver(gpus: int = 1, begins: bool = True, **says: Any) -> SimpleNamespace:
    """A stub of the package amdsmi, in its units: watts, MiB, percent, MHz and degrees. An exception in `says` means
    not supported."""
    says = {
        "power": {"socket_power": 312, "average_socket_power": 300}, "memory": {"vram_used": 7 * 1024},
        "activity": {"gfx_activity": 93}, "clock": {"clk": 1755}, "temperature": 61, "violations": CALM, **says,
    }  # fmt: skip

    def given(name: str) -> Callable[..., Any]:
        def ask(handle: object, *more: object) -> Any:
            if isinstance(says[name], Exception):
                raise says[name]
            return says[name]

        return ask

    def init() -> None:
        if not begins:
            raise AmdSmiException("no driver")

    return SimpleNamespace(
        AmdSmiException=AmdSmiException,
        AmdSmiClkType=SimpleNamespace(GFX=1),
        AmdSmiTemperatureType=SimpleNamespace(HOTSPOT=1),
        AmdSmiTemperatureMetric=SimpleNamespace(CURRENT=1),
        amdsmi_init=init,
        amdsmi_get_processor_handles=lambda: [*range(gpus)],
        amdsmi_get_power_info=given("power"),
        amdsmi_get_gpu_vram_usage=given("memory"),
        amdsmi_get_gpu_activity=given("activity"),
        amdsmi_get_clock_info=given("clock"),
        amdsmi_get_temp_metric=given("temperature"),
        amdsmi_get_violation_status=given("violations"),
    )


WHOLE = {
    "amdsmi_power_watts": 312.0,
    "amdsmi_memory_used_bytes": 7.0 * 2**30,
    "amdsmi_utilisation_percent": 93.0,
    "amdsmi_clock_mhz": 1755.0,
    "amdsmi_temperature_celsius": 61.0,
    "amdsmi_throttled": 0.0,
}


@pytest.mark.parametrize(
    ("made", "differs"),
    [
        (driver(), {}),
        (driver(gpus=2), {}),
        (driver(power={"socket_power": "N/A", "current_socket_power": 250}), {"amdsmi_power_watts": 250.0}),
        (driver(power={"average_socket_power": 240}), {"amdsmi_power_watts": 240.0}),
        (driver(power={"socket_power": "N/A"}), {"amdsmi_power_watts": None}),
        (driver(memory={}), {"amdsmi_memory_used_bytes": None}),
        (driver(activity={"gfx_activity": "N/A"}), {"amdsmi_utilisation_percent": None}),
        (driver(temperature=AmdSmiException("not supported")), {"amdsmi_temperature_celsius": None}),
        (driver(violations=CALM | {"active_hbm_thrm": True}), {"amdsmi_throttled": 1.0}),
        (driver(violations={"active_ppt_pwr": True, "active_vr_thrm": "N/A"}), {"amdsmi_throttled": 1.0}),
        (driver(violations=dict.fromkeys(CALM, "N/A")), {"amdsmi_throttled": None}),
    ],
)
def test_each_gpu_has_its_numbers(
    made: SimpleNamespace, differs: dict[str, float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", made)
    page = AmdSmiPage().read()
    assert isinstance(page, Page)
    assert page.values == {
        sample_key(name, {"gpu": str(number)}): value
        for number in made.amdsmi_get_processor_handles()
        for name, value in (WHOLE | differs).items()
        if value is not None
    }


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (None, "amdsmi is not installed (pip install amdsmi)"),
        (driver(begins=False), "AMD SMI finds no GPU: no driver"),
        (driver(gpus=0), "AMD SMI finds no GPU"),
        (
            driver(power={}, memory={}, activity={}, clock={}, temperature="N/A", violations={}),
            "AMD SMI gives no number of any GPU",
        ),
    ],
)
def test_why_there_are_no_numbers_is_one_sentence(
    made: SimpleNamespace | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", made)
    assert AmdSmiPage().read() == why
