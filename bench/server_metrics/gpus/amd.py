"""AMD's GPUs: the samples of `bench/target/gpu_pages.py`, and the page of AMD's device metrics exporter."""

from __future__ import annotations

from bench.server_metrics.roles import Role, Samples, ServerTable

MIB = 1024 * 1024

SMI = ServerTable(
    "AMD SMI",
    "amdsmi_",
    {
        Role.GPU_POWER: (Samples("amdsmi_power_watts"),),
        Role.GPU_MEMORY: (Samples("amdsmi_memory_used_bytes"),),
        Role.GPU_UTILISATION: (Samples("amdsmi_utilisation_percent", scale=0.01),),
        Role.GPU_CLOCK: (Samples("amdsmi_clock_mhz"),),
        Role.GPU_TEMPERATURE: (Samples("amdsmi_temperature_celsius"),),
        Role.GPU_THROTTLED: (Samples("amdsmi_throttled"),),
    },
)


def _named(*names: str, scale: float = 1.0, **only: str) -> tuple[Samples, ...]:
    """The samples of these names, with and without the `amd_` prefix of AMD's operator for Kubernetes."""
    labels = {label: (value,) for label, value in only.items()}
    return tuple(Samples(prefix + name, only=labels, scale=scale) for name in names for prefix in ("", "amd_"))


EXPORTER = ServerTable(
    "the AMD exporter",
    "gpu_",
    {
        # A GPU reports its current power or (MI200) its average.
        Role.GPU_POWER: _named("gpu_package_power", "gpu_average_package_power"),
        Role.GPU_MEMORY: _named("gpu_used_vram", scale=MIB),
        Role.GPU_UTILISATION: _named("gpu_gfx_activity", scale=0.01),
        Role.GPU_CLOCK: _named("gpu_clock", clock_type="GPU_CLOCK_TYPE_SYSTEM"),
        Role.GPU_TEMPERATURE: _named("gpu_junction_temperature"),
    },
)
