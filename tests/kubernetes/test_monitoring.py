"""Prometheus finds and reaches the metrics of every pod of production."""

from __future__ import annotations

from tests.kubernetes.manifests import render


def test_every_pod_names_the_port_of_its_metrics() -> None:
    for container in render("overlays/production").containers():
        annotations = container.workload["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/scrape"] == "true"
        assert annotations["prometheus.io/port"] == str(container.ports["metrics"]), container.label
