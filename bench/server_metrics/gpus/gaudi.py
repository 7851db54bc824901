"""The page of Intel's exporter for Gaudi (habanalabs)."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

TABLE = ServerTable(
    "the Gaudi exporter",
    "habanalabs_",
    {
        Role.GPU_POWER: (Samples("habanalabs_power_mW", scale=0.001),),
        Role.GPU_MEMORY: (Samples("habanalabs_memory_used_bytes"),),
        Role.GPU_UTILISATION: (Samples("habanalabs_utilization", scale=0.01),),
        Role.GPU_CLOCK: (Samples("habanalabs_clock_soc_mhz"),),
        Role.GPU_TEMPERATURE: (Samples("habanalabs_temperature_onchip"),),
    },
)
