"""Pods run without rights, and only what needs the API of the cluster may call it."""

from __future__ import annotations

from tests.kubernetes.manifests import STORES_EXAMPLE, Rendering, pod_of, render


def test_pods_run_without_rights(rendering: Rendering) -> None:
    check_rights(rendering)


def test_pods_of_the_example_of_stores_run_without_rights() -> None:
    check_rights(render(STORES_EXAMPLE))


def check_rights(rendering: Rendering) -> None:
    assert rendering.workloads
    for workload in rendering.workloads:
        security = pod_of(workload)["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] >= 10_000
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in rendering.containers():
        assert container.spec["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, container.label


def test_only_the_preparation_has_a_token_of_the_cluster(rendering: Rendering) -> None:
    for workload in rendering.workloads:
        may_call = pod_of(workload).get("automountServiceAccountToken", True)
        assert may_call == (workload["metadata"]["name"] == "prepare"), workload["metadata"]["name"]


def test_namespace_refuses_pods_with_rights(rendering: Rendering) -> None:
    for namespace in rendering.of_kind("Namespace"):
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
