"""Autoscalers scale workloads that exist, by metrics that the code exports."""

from __future__ import annotations

from prometheus_client import REGISTRY

import chat_service.__main__  # noqa: F401  all that a chat server counts
from tests.kubernetes.manifests import Manifest, pod_of, render


def autoscalers() -> list[tuple[Manifest, Manifest]]:
    """Return the autoscalers of production, each with its workload."""
    rendering = render("overlays/production")
    scalers = rendering.of_kind("HorizontalPodAutoscaler")
    targets = [each["spec"]["scaleTargetRef"] for each in scalers]
    return [(scaler, rendering.find(to["kind"], to["name"])) for scaler, to in zip(scalers, targets, strict=True)]


def test_every_workload_of_production_but_the_pod_of_operators_is_scaled() -> None:
    scaled = [workload["metadata"]["name"] for _, workload in autoscalers()]
    workloads = [each["metadata"]["name"] for each in render("overlays/production").workloads]
    assert sorted([*scaled, "operator"]) == sorted(workloads)


def test_apply_leaves_the_number_of_replicas_to_the_autoscaler() -> None:
    for scaler, workload in autoscalers():
        assert "replicas" not in workload["spec"], workload["metadata"]["name"]
        base = render("base").find(workload["kind"], workload["metadata"]["name"])
        assert scaler["spec"]["minReplicas"] == base["spec"]["replicas"]


def test_metrics_exist() -> None:
    exported = {metric.name for metric in REGISTRY.collect()}
    names = set()
    for scaler, workload in autoscalers():
        assert all("cpu" in each["resources"]["requests"] for each in pod_of(workload)["containers"])
        names |= {each["pods"]["metric"]["name"] for each in scaler["spec"]["metrics"] if each["type"] == "Pods"}
    assert names
    assert names <= exported
