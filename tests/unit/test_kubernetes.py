"""The manifests of deploy/kubernetes match Kubernetes' schemas, and the chart of deploy/helm renders to them."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bench.commands.run import main as run

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "trueload"
RUN, CONSOLE, RAYJOB = (ROOT / "deploy" / "kubernetes" / name for name in ("run.yaml", "console.yaml", "rayjob.yaml"))
KUBERNETES = ("1.31", kubernetes_validate.latest_version())


def objects(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each is not None]


PLAIN = [*objects(RUN.read_text()), *objects(CONSOLE.read_text())]


def pods() -> Iterator[dict[str, Any]]:
    for each in PLAIN:
        if each["kind"] in ("Job", "Deployment"):
            yield each["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("each", PLAIN, ids=lambda each: each["kind"])
def test_a_manifest_keeps_the_schema(each: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(each, version, strict=True)


def test_a_mistake_is_seen() -> None:
    job = next(each for each in objects(RUN.read_text()) if each["kind"] == "Job")
    job["spec"]["backofLimit"] = 0
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, KUBERNETES[0], strict=True)


def test_a_pod_has_no_rights_and_whole_processors() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for pod in pods():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"USER {pod['securityContext']['runAsUser']}\n" in dockerfile
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert container["resources"]["requests"]["cpu"].isdecimal()
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/srv/trueload/runs", "/tmp"}
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_the_pods_of_ray_have_no_rights_either() -> None:
    (job,) = objects(RAYJOB.read_text())
    (of_a_run, *_), cluster = list(pods()), job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        spec = group["template"]["spec"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
        kubernetes_validate.validate(pod, KUBERNETES[0], strict=True)
        # The image is the user's and has its own user; Ray writes to other places.
        expected = {key: value for key, value in of_a_run["securityContext"].items() if key != "runAsUser"}
        assert (spec["securityContext"], spec["automountServiceAccountToken"]) == (expected, False)
        (container,) = spec["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_what_the_objects_name_is_there() -> None:
    names = {(each["kind"], each["metadata"]["name"]) for each in PLAIN}
    for pod in pods():
        assert ("ServiceAccount", pod["serviceAccountName"]) in names
        claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "emptyDir" not in volume]
        assert [("PersistentVolumeClaim", claim) in names for claim in claims] == [True]
    deployment = next(each for each in PLAIN if each["kind"] == "Deployment")
    service = next(each for each in PLAIN if each["kind"] == "Service")
    assert deployment["spec"]["template"]["metadata"]["labels"] == service["spec"]["selector"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]


def test_the_flags_of_the_job_are_flags_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    (job,) = [each for each in PLAIN if each["kind"] == "Job"]
    command, *flags = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert command == "run"
    # With a fixed --out a second load is refused, because the directory holds a run. Without it, each load has its own
    # in runs/.
    assert not any(flag.startswith("--out") for flag in flags)
    assert "WORKDIR /srv/trueload\n" in (ROOT / "Dockerfile").read_text()
    with pytest.raises(SystemExit, match="0"):  # With an unknown flag it would be 2.
        run([*flags, "--help"])
    capsys.readouterr()


def test_the_chart_has_the_version_of_the_package_and_the_arguments_of_the_manifest() -> None:
    chart, values = (yaml.safe_load((CHART / name).read_text()) for name in ("Chart.yaml", "values.yaml"))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["appVersion"], chart["version"]) == (version, version)
    (job,) = [each for each in PLAIN if each["kind"] == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert (values["run"]["args"], values["run"]["out"]) == (container["args"], "")
    assert values["resources"] == container["resources"]
    assert container["envFrom"] == [{"secretRef": {"name": values["storeSecret"], "optional": True}}]
    assert container["image"] == f"{values['image']['repository']}:{version}"


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("helm") is None, reason="no helm renders the chart here")
def test_the_chart_renders_to_the_manifests() -> None:
    def rendered(*words: str) -> list[dict[str, Any]]:
        command = ["helm", "template", "x", str(CHART), *words]
        return objects(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def by_kind(each: dict[str, Any]) -> str:
        return str(each["kind"])

    found = rendered()
    for each in found:
        kubernetes_validate.validate(each, KUBERNETES[0], strict=True)
        each["metadata"]["name"] = each["metadata"]["name"].removesuffix("-1")
    assert sorted(found, key=by_kind) == sorted(PLAIN, key=by_kind)
    stored = next(each for each in rendered("--set", "run.out=s3://bucket/key") if each["kind"] == "Job")
    assert stored["spec"]["template"]["spec"]["containers"][0]["args"][-1] == "--out=s3://bucket/key"
    without = rendered("--set", "run.enabled=false,console.enabled=false")
    assert {each["kind"] for each in without} == {"ServiceAccount", "PersistentVolumeClaim"}
