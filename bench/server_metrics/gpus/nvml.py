"""This machine's driver (NVML), through the samples of `bench/target/gpu_pages.py`."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

TABLE = ServerTable(
    "NVML",
    "nvml_",
    {
        Role.GPU_POWER: (Samples("nvml_power_watts"),),
        Role.GPU_MEMORY: (Samples("nvml_memory_used_bytes"),),
        Role.GPU_UTILISATION: (Samples("nvml_utilisation_percent", scale=0.01),),
        Role.GPU_CLOCK: (Samples("nvml_sm_clock_mhz"),),
        Role.GPU_TEMPERATURE: (Samples("nvml_temperature_celsius"),),
        Role.GPU_THROTTLED: (Samples("nvml_throttled"),),
    },
)
