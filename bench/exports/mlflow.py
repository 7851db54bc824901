"""A run of MLflow: settings as parameters, numbers as metrics, the report as an artifact."""

from __future__ import annotations

from bench.errors import UsageError
from bench.exports.interface import Export, Format, files_of, needs, numbers_of, settings_of

_LONGEST = 6_000
"""The longest parameter that MLflow accepts, in characters."""


def _write(export: Export) -> str:
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise needs("mlflow", "mlflow-skinny") from None
    summary = export.summary
    try:
        mlflow.set_experiment(export.project or "trueload")
        with mlflow.start_run(run_name=summary.run.name or export.path.name) as run:
            mlflow.log_params({name: value[:_LONGEST] for name, value in settings_of(summary).items()})
            mlflow.log_metrics(numbers_of(summary))
            mlflow.set_tags({"verdict": str(summary.verdict.status), "run_id": summary.run.id or ""})
            for file in files_of(export):
                mlflow.log_artifact(str(file))
    except MlflowException as e:
        raise UsageError(f"--format mlflow: {e}") from e
    return f"mlflow run: {run.info.run_id}\n"


FORMAT = Format("a run of MLflow, on the server of MLFLOW_TRACKING_URI", _write, frozenset({"project"}))
