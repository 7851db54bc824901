"""The metric tables of GPUs and other accelerators. A new source is a file with a table, and a line in GPUS."""

from __future__ import annotations

from bench.server_metrics.gpus import amd, ascend, dcgm, gaudi, nvml
from bench.server_metrics.roles import ServerTable

GPUS: tuple[ServerTable, ...] = (
    nvml.TABLE,
    dcgm.TABLE,
    amd.SMI,
    amd.EXPORTER,
    ascend.TABLE,
    gaudi.TABLE,
)
