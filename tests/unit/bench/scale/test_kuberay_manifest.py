"""deploy/kubernetes/rayjob.yaml against KubeRay's published schema of a RayJob (tests/support/rayjob_schema.json)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "tests" / "support" / "rayjob_schema.json").read_text(encoding="utf-8"))


def the_job() -> dict[str, Any]:
    job = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "rayjob.yaml").read_text(encoding="utf-8"))
    assert isinstance(job, dict)
    return job


def errors(job: dict[str, Any]) -> list[str]:
    return [error.json_path for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(job)]


def head(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    return found


def group(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    return found


def container(of: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = of["template"]["spec"]["containers"][0]
    return found


def test_the_manifest_is_one_that_kuberay_takes() -> None:
    assert errors(the_job()) == []


@pytest.mark.parametrize(
    ("defect", "where"),
    [
        (lambda job: job.update(apiVersion="ray.io/v1alpha2"), "$.apiVersion"),
        (lambda job: job["spec"].update(submissionMode="K8sJob"), "$.spec.submissionMode"),
        (lambda job: job["spec"].update(entryPoint="x"), "$.spec"),
        (lambda job: job["spec"]["rayClusterSpec"].pop("headGroupSpec"), "$.spec.rayClusterSpec"),
        (lambda job: head(job).pop("rayStartParams"), "$.spec.rayClusterSpec.headGroupSpec"),
        # Ray's parameters are strings: a bare 0 is the usual mistake.
        (
            lambda job: head(job)["rayStartParams"].update({"num-cpus": 0}),
            "$.spec.rayClusterSpec.headGroupSpec.rayStartParams['num-cpus']",
        ),
        (lambda job: group(job).update(replicas="4"), "$.spec.rayClusterSpec.workerGroupSpecs[0].replicas"),
        (lambda job: group(job).pop("groupName"), "$.spec.rayClusterSpec.workerGroupSpecs[0]"),
        (
            lambda job: container(group(job)).pop("name"),
            "$.spec.rayClusterSpec.workerGroupSpecs[0].template.spec.containers[0]",
        ),
        (
            lambda job: container(group(job))["resources"]["limits"].update(cpu="6 cores"),
            "$.spec.rayClusterSpec.workerGroupSpecs[0].template.spec.containers[0].resources.limits.cpu",
        ),
        (
            lambda job: container(head(job))["volumeMounts"][0].pop("mountPath"),
            "$.spec.rayClusterSpec.headGroupSpec.template.spec.containers[0].volumeMounts[0]",
        ),
        (
            lambda job: head(job)["template"]["spec"]["volumes"][0].update(persistentVolumeClaim={}),
            "$.spec.rayClusterSpec.headGroupSpec.template.spec.volumes[0].persistentVolumeClaim",
        ),
    ],
)
def test_a_manifest_with_a_defect_is_refused(defect: Callable[[dict[str, Any]], Any], where: str) -> None:
    job = the_job()
    defect(job)
    assert where in errors(job)
