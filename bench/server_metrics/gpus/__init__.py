"""The tables of the metrics of GPUs. A new source of them is a file with a TABLE, and a line in GPUS."""

from __future__ import annotations

from bench.server_metrics.gpus import dcgm, nvml
from bench.server_metrics.roles import ServerTable

GPUS: tuple[ServerTable, ...] = (nvml.TABLE, dcgm.TABLE)
