"""Autoscalers scale workloads that exist, by metrics that the code exports."""

from __future__ import annotations

from prometheus_client import REGISTRY

import chat_service.__main__  # noqa: F401  all that a chat server counts
from tests.kubernetes.manifests import ROOT, Manifest, pod_of, render
from tools import kubernetes


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


def metrics_of_pods() -> dict[str, dict[str, int]]:
    """Return for each workload the metrics of its pods that it is scaled by, with their targets."""
    return {
        workload["metadata"]["name"]: {
            each["pods"]["metric"]["name"]: int(each["pods"]["target"]["averageValue"])
            for each in scaler["spec"]["metrics"]
            if each["type"] == "Pods"
        }
        for scaler, workload in autoscalers()
    }


def test_metrics_exist() -> None:
    exported = {metric.name for metric in REGISTRY.collect()}
    for _, workload in autoscalers():
        assert all("cpu" in each["resources"]["requests"] for each in pod_of(workload)["containers"])
    by_workload = metrics_of_pods()
    # That Envoy exports its own, test_envoy_clients.py shows on a real one.
    assert by_workload.pop("envoy").keys() == {"envoy_http_downstream_cx_active"}
    names = {name for metrics in by_workload.values() for name in metrics}
    assert names
    assert names <= exported


def test_envoy_of_two_takes_over_the_connections_of_the_other() -> None:
    target = metrics_of_pods()["envoy"]["envoy_http_downstream_cx_active"]
    assert 2 * target <= kubernetes.ENVOY_MAX_CONNECTIONS


def test_document_has_a_rule_of_the_adapter_for_each_metric() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    for metrics in metrics_of_pods().values():
        for name in metrics:
            assert f"seriesQuery: '{name}{{" in text, name
