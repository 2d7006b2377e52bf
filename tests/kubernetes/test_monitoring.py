"""Prometheus, in a namespace of its own, loads its configuration, may list the pods, and finds the metrics of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
import yaml

from tests.kubernetes.manifests import MONITORING, Manifest, Rendering, labels_of, render
from tests.kubernetes.test_network import PROMETHEUS

NAMESPACE: Final = "parley"
PODS: Final = "__meta_kubernetes_pod"


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """Return the files of Prometheus, by name."""
    data: dict[str, str] = render(MONITORING).find("ConfigMap", "parley-prometheus")["data"]
    return data


@pytest.fixture(scope="module")
def scrape(files: dict[str, str]) -> dict[str, Any]:
    [found] = yaml.safe_load(files["prometheus.yaml"])["scrape_configs"]
    scrape: dict[str, Any] = found
    return scrape


@pytest.fixture(scope="module")
def production() -> Rendering:
    return render("overlays/production")


def test_what_prometheus_and_grafana_load_is_in_their_namespace(files: dict[str, str]) -> None:
    found = render(MONITORING).manifests
    assert {(each["kind"], each["metadata"]["namespace"]) for each in found} == {("ConfigMap", PROMETHEUS.namespace)}
    assert set(yaml.safe_load(files["prometheus.yaml"])["rule_files"]) <= files.keys()


def test_prometheus_keeps_the_port_of_the_metrics_of_every_server_alone(
    scrape: dict[str, Any], production: Rendering
) -> None:
    kept = [labels for labels in discovered(production) if is_kept(scrape["relabel_configs"], labels)]
    jobs = [(each[f"{PODS}_label_app_kubernetes_io_name"], each[f"{PODS}_container_port_number"]) for each in kept]
    ports = {each.workload["metadata"]["name"]: each.ports.get("metrics") for each in production.containers()}
    assert ports.pop("operator") is None
    assert sorted(jobs) == sorted((name, str(port)) for name, port in ports.items())


def test_prometheus_drops_a_pod_that_has_ended(scrape: dict[str, Any], production: Rendering) -> None:
    for labels in discovered(production):
        assert not is_kept(scrape["relabel_configs"], {**labels, f"{PODS}_phase": "Failed"})


def test_prometheus_may_list_the_pods_of_the_namespace_that_it_discovers(
    scrape: dict[str, Any], production: Rendering
) -> None:
    [discovery] = scrape["kubernetes_sd_configs"]
    assert discovery == {"role": "pod", "namespaces": {"names": [NAMESPACE]}}
    binding = production.find("RoleBinding", "prometheus")
    assert binding["metadata"]["namespace"] == NAMESPACE
    assert [(each["kind"], each["namespace"]) for each in binding["subjects"]] == [
        ("ServiceAccount", PROMETHEUS.namespace)
    ]
    role = production.find(binding["roleRef"]["kind"], binding["roleRef"]["name"])
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]


def discovered(rendering: Rendering) -> Iterator[dict[str, str]]:
    """Yield the labels of the targets that Prometheus discovers: one for each port of each pod."""
    for container in rendering.containers():
        for name, port in container.ports.items():
            yield {
                **pod_labels(container.workload),
                f"{PODS}_phase": "Running",
                f"{PODS}_container_port_name": name,
                f"{PODS}_container_port_number": str(port),
            }


def pod_labels(workload: Manifest) -> dict[str, str]:
    return {f"{PODS}_label_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}": value for key, value in labels_of(workload).items()}


def is_kept(rules: list[dict[str, Any]], labels: Mapping[str, str]) -> bool:
    """Return whether the rules that keep and drop targets let one pass."""
    for rule in rules:
        value = ";".join(labels.get(each, "") for each in rule["source_labels"])
        matches = re.fullmatch(rule.get("regex", "(.*)"), value) is not None
        if matches is not {"keep": True, "drop": False}.get(rule.get("action", "replace"), matches):
            return False
    return True
