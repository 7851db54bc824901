"""A run of Weights & Biases: settings as its configuration, numbers as its summary, the report as an artifact."""

from __future__ import annotations

from bench.errors import UsageError
from bench.exports.interface import Export, Format, files_of, needs, numbers_of, settings_of


def _write(export: Export) -> str:
    try:
        import wandb
    except ImportError:
        raise needs("wandb", "wandb") from None
    summary = export.summary
    name = summary.run.name or export.path.name
    try:
        with wandb.init(
            project=export.project or "trueload",
            name=name,
            config=settings_of(summary),
            tags=[str(summary.verdict.status)],
        ) as run:
            run.summary.update(numbers_of(summary))
            artifact = wandb.Artifact(f"run-{summary.run.id or name}", type="benchmark")
            for file in files_of(export):
                artifact.add_file(str(file))
            run.log_artifact(artifact)
            return f"wandb run: {run.id}\n"
    except wandb.Error as e:
        raise UsageError(f"--format wandb: {e}") from e


FORMAT = Format(
    "a run of Weights & Biases; WANDB_MODE=offline keeps it on this machine", _write, frozenset({"project"})
)
