"""The page of NVIDIA's DCGM exporter. Its throttle reasons are bit sets, which have no mean: left out."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

MIB = 1024 * 1024

TABLE = ServerTable(
    "DCGM",
    "DCGM_",
    {
        Role.GPU_POWER: (Samples("DCGM_FI_DEV_POWER_USAGE"),),
        Role.GPU_MEMORY: (Samples("DCGM_FI_DEV_FB_USED", scale=MIB),),
        Role.GPU_UTILISATION: (Samples("DCGM_FI_DEV_GPU_UTIL", scale=0.01),),
        Role.GPU_CLOCK: (Samples("DCGM_FI_DEV_SM_CLOCK"),),
        Role.GPU_TEMPERATURE: (Samples("DCGM_FI_DEV_GPU_TEMP"),),
    },
)
