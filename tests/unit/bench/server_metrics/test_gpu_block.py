"""Energy, costs and levels of GPUs, against the input."""

from __future__ import annotations

from typing import Any

import pytest

from bench.results.base import to_plain
from bench.results.summary import SummaryNumbers
from bench.server_metrics.exposition import read_page
from bench.server_metrics.gpu_block import describe, over_steps
from bench.server_metrics.gpus import GPUS
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.roles import Role
from bench.server_metrics.scrapes import Scrape
from tests.support.made_scrapes import made_gpu
from tests.support.results import filled

DCGM = b"""# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-1",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="h"} 1980
DCGM_FI_DEV_SM_CLOCK{gpu="1",UUID="GPU-2",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",Hostname="h"} 1580
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1"} 61
DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="GPU-2"} 63
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-1"} 512.345
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-2"} 500
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-1"} 98765432
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1"} 97
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-2"} 91
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-1"} 70000
DCGM_FI_DEV_FB_USED{gpu="1",UUID="GPU-2"} 30000
"""


def summary(tokens_per_s: float) -> Any:
    rates = {"output_tokens_per_s": tokens_per_s, "total_tokens_per_s": 10 * tokens_per_s, "duration_s": 4.0}
    window = {"start_s": 1.0, "end_s": 3.0}
    return filled(SummaryNumbers, window=window, steady={"throughput": rates}, throughput=rates)


def test_energy_is_the_area_under_the_power_of_all_gpus() -> None:
    found = describe(made_gpu(0, 4), summary(500.0), 0, gpus=None, hour_cost=None)
    assert found is not None
    # 310 to 330 W and 311 to 331 W over two seconds: 320 and 321 on average.
    assert to_plain(found.levels["gpu_power_w"]) == {"mean": pytest.approx(641.0), "max": pytest.approx(661.0)}
    assert found.energy_j == pytest.approx(1_282.0)
    assert found.joules_per_output_token == pytest.approx(1_282.0 / 1_000)
    assert found.levels["gpu_utilisation"].mean == pytest.approx(0.905)
    assert found.levels["gpu_memory_bytes"].mean == pytest.approx(2 * 2.0**34 + 1)
    assert (found.source, found.output_tokens_per_s_per_gpu) == ("NVML", None)


def test_what_a_million_tokens_cost_needs_no_gpu_to_be_read() -> None:
    found = describe(ServerSeries(GPUS), summary(500.0), 0, gpus=2, hour_cost=3.6)
    assert found is not None
    assert found.output_tokens_per_s_per_gpu == 250.0
    # $7.2 per hour for 1.8 million tokens per hour.
    assert found.cost_per_million_output_tokens == pytest.approx(4.0)
    assert found.cost_per_million_tokens == pytest.approx(0.4)
    assert (found.energy_j, found.levels) == (None, {})


def test_nothing_known_is_nothing() -> None:
    assert describe(ServerSeries(GPUS), summary(500.0), 0, gpus=None, hour_cost=None) is None


def test_a_page_of_dcgm_has_the_roles_of_gpus() -> None:
    page = read_page(DCGM)
    assert page is not None
    series = ServerSeries(GPUS).add_all([Scrape(t_ns=0, asked_ns=0, page=0, values=page.values)])
    assert {role: series.level_at(role, 0) for role in Role if series.level_at(role, 0) is not None} == {
        Role.GPU_CLOCK: 1_780.0,
        Role.GPU_TEMPERATURE: 62.0,
        Role.GPU_POWER: pytest.approx(1_012.345),
        Role.GPU_UTILISATION: pytest.approx(0.94),
        Role.GPU_MEMORY: 100_000 * 1024 * 1024,
    }
    assert [table.name for table in series.found] == ["DCGM"]


# Made-up pages of exporters for other accelerators, with the real names, labels and units.
AMD = """gpu_package_power{gpu_id="0",card_model="MI300X",hostname="h"} 650
gpu_package_power{gpu_id="1",card_model="MI300X",hostname="h"} 550
gpu_used_vram{gpu_id="0"} 1024
gpu_used_vram{gpu_id="1"} 2048
gpu_gfx_activity{gpu_id="0"} 80
gpu_gfx_activity{gpu_id="1"} 40
gpu_clock{gpu_id="0",clock_index="0",clock_type="GPU_CLOCK_TYPE_SYSTEM"} 2100
gpu_clock{gpu_id="0",clock_index="1",clock_type="GPU_CLOCK_TYPE_MEMORY"} 900
gpu_junction_temperature{gpu_id="0"} 70
"""
ASCEND = """npu_chip_info_power{id="0",model_name="910B"} 250.5
npu_chip_info_power{id="1",model_name="910B"} 249.5
npu_chip_info_hbm_used_memory{id="0"} 512
npu_chip_info_utilization{id="0"} 60
npu_chip_info_aicore_current_freq{id="0"} 1800
npu_chip_info_temperature{id="0"} 55
"""
GAUDI = """habanalabs_power_mW{device="0"} 400000
habanalabs_power_mW{device="1"} 350000
habanalabs_memory_used_bytes{device="0"} 1073741824
habanalabs_utilization{device="0"} 90
habanalabs_clock_soc_mhz{device="0"} 1500
habanalabs_temperature_onchip{device="0"} 48
"""
MI200 = 'amd_gpu_average_package_power{gpu_id="0"} 300\namd_gpu_used_vram{gpu_id="0"} 1\n'


@pytest.mark.parametrize(
    ("page", "name", "levels"),
    [
        (AMD, "the AMD exporter", [1_200.0, 3 * 2**30, 0.6, 2_100.0, 70.0]),
        (ASCEND, "npu-exporter", [500.0, 2**29, 0.6, 1_800.0, 55.0]),
        (GAUDI, "the Gaudi exporter", [750.0, 2**30, 0.9, 1_500.0, 48.0]),
        (MI200, "the AMD exporter", [300.0, 2**20, None, None, None]),
    ],
)
def test_exporters_of_other_makers_give_the_same_levels_and_energy(
    page: str, name: str, levels: list[float | None]
) -> None:
    read = read_page(page.encode())
    assert read is not None
    scrapes = [Scrape(t_ns=at, asked_ns=at, page=0, values=read.values) for at in (0, 4 * 10**9)]
    series = ServerSeries(GPUS).add_all(scrapes)
    roles = (Role.GPU_POWER, Role.GPU_MEMORY, Role.GPU_UTILISATION, Role.GPU_CLOCK, Role.GPU_TEMPERATURE)
    assert [series.level_at(role, 0) for role in roles] == [None if v is None else pytest.approx(v) for v in levels]
    found = describe(series, summary(100.0), 0, gpus=None, hour_cost=None)
    assert found is not None
    assert found.source == name
    assert levels[0] is not None
    assert found.joules_per_output_token == pytest.approx(levels[0] / 100)


def whole_run(tokens_per_s: float | None) -> Any:
    """A summary without a steady window, of 4 s."""
    rates = {"output_tokens_per_s": tokens_per_s, "total_tokens_per_s": None, "duration_s": 4.0}
    return filled(SummaryNumbers, throughput=rates)


def test_without_a_steady_window_energy_is_that_of_the_whole_run() -> None:
    found = describe(made_gpu(0, 4), whole_run(500.0), 0, gpus=2, hour_cost=None)
    assert found is not None
    # 300 to 340 W, and 301 to 341 W, over four seconds.
    assert found.energy_j == pytest.approx((320 + 321) * 4)
    assert found.joules_per_output_token == pytest.approx((320 + 321) * 4 / 2000)
    assert (found.gpus, found.output_tokens_per_s_per_gpu) == (2, 250)
    assert (found.cost_per_million_output_tokens, found.cost_per_million_tokens) == (None, None)


@pytest.mark.parametrize("tokens_per_s", [None, 0.0])
def test_without_tokens_nothing_costs_anything_for_each(tokens_per_s: float | None) -> None:
    found = describe(made_gpu(0, 4), whole_run(tokens_per_s), 0, gpus=2, hour_cost=3.6)
    assert found is not None
    assert found.joules_per_output_token is None
    assert found.cost_per_million_output_tokens is None
    assert found.cost_per_million_tokens is None
    assert found.output_tokens_per_s_per_gpu == tokens_per_s


def test_a_cost_an_hour_needs_the_number_of_gpus() -> None:
    found = describe(made_gpu(0, 4), summary(500.0), 0, gpus=None, hour_cost=3.6)
    assert found is not None
    assert (found.gpus, found.cost_per_million_output_tokens) == (None, None)


def test_a_run_that_ended_in_its_warm_up_has_none() -> None:
    numbers = filled(SummaryNumbers)
    assert describe(made_gpu(0, 4), numbers, 0, gpus=2, hour_cost=3.6) is None


def test_pages_that_have_nothing_of_a_gpu_are_none() -> None:
    other = ServerSeries(GPUS).add_all([Scrape(t_ns=0, asked_ns=0, page=0, values={"up": 1.0})])
    assert describe(other, summary(500.0), 0, gpus=None, hour_cost=None) is None
    found = describe(other, summary(500.0), 0, gpus=1, hour_cost=None)
    assert found is not None
    assert (found.source, found.levels, found.energy_j) == (None, {}, None)


def test_a_chart_has_the_levels_at_the_middle_of_its_steps() -> None:
    found = over_steps(made_gpu(7 * 10**9, 4), [0.0, 1.0, 9.0], 2.0, 7 * 10**9)
    # 300 + 10 t and 301 + 10 t W at 1 and 2 s. There is no scrape at 10 s.
    assert found["gpu_power_w"] == [pytest.approx(621), pytest.approx(641), None]
    assert found["gpu_temperature_c"] == [pytest.approx(61.5), pytest.approx(62.5), None]
    assert {*found} == {
        "gpu_power_w", "gpu_memory_bytes", "gpu_utilisation", "gpu_clock_mhz", "gpu_temperature_c", "gpu_throttled",
    }  # fmt: skip
    assert over_steps(ServerSeries(GPUS), [0.0], 2.0, 0) == {}
