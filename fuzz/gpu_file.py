"""gpu.jsonl, what the GPUs said: see run_files.py."""

from __future__ import annotations

from fuzz.run_files import target

TARGET = target("gpu.jsonl", b"DCGM_FI_DEV_GPU_UTIL", b"DCGM_FI_DEV_POWER_USAGE", b'{gpu="0"}')
