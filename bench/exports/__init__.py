"""Our results in other formats: the command export. docs/comparison.md

numbers     the numbers of a run, each under one flat name, for experiment trackers
llm_d       the benchmark report of llm-d
mlflow      a run of MLflow
wandb       a run of Weights & Biases

A new format is one file with a FORMAT and one line in FORMATS.
"""

from __future__ import annotations

from bench.exports import llm_d, mlflow, wandb
from bench.exports.interface import Format

FORMATS: dict[str, Format] = {"llm-d": llm_d.FORMAT, "mlflow": mlflow.FORMAT, "wandb": wandb.FORMAT}
"""By the name that --format takes."""
