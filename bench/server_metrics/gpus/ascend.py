"""The page of Huawei's npu-exporter, for Ascend NPUs."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

MIB = 1024 * 1024

TABLE = ServerTable(
    "npu-exporter",
    "npu_chip_",
    {
        Role.GPU_POWER: (Samples("npu_chip_info_power"),),
        Role.GPU_MEMORY: (
            Samples("npu_chip_info_hbm_used_memory", scale=MIB),
            Samples("npu_chip_info_used_memory", scale=MIB),
        ),
        Role.GPU_UTILISATION: (Samples("npu_chip_info_utilization", scale=0.01),),
        Role.GPU_CLOCK: (Samples("npu_chip_info_aicore_current_freq"),),
        Role.GPU_TEMPERATURE: (Samples("npu_chip_info_temperature"),),
    },
)
