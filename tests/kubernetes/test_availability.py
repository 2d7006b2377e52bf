"""Replicas are spread over machines and zones, are not disrupted together, and ask for what they need."""

from __future__ import annotations

import tomllib
from typing import Final

import yaml

from tests.kubernetes.manifests import ROOT, STORES_EXAMPLE, Rendering, is_selected, labels_of, pod_of, render
from tests.kubernetes.test_envoy import configuration_of

VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
# Seconds for which CoreDNS and NodeLocal DNSCache keep an answer, by default.
DNS_CACHE_S: Final = 30
PLACES: Final = {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


def test_replicas_are_spread_and_not_disrupted_together(rendering: Rendering) -> None:
    check_replicas(rendering)


def test_replicas_of_the_example_of_stores_are_too() -> None:
    check_replicas(render(STORES_EXAMPLE))


def check_replicas(rendering: Rendering) -> None:
    budgets = [each["spec"] for each in rendering.of_kind("PodDisruptionBudget")]
    # There is one pod for operators, which may be disrupted at any time.
    workloads = [
        each
        for each in rendering.of_kind("Deployment", "StatefulSet")
        if "parley.dev/store" not in labels_of(each) and each["metadata"]["name"] != "operator"
    ]
    assert len(workloads) == len(budgets)
    for workload in workloads:
        name = workload["metadata"]["name"]
        [budget] = [each for each in budgets if is_selected(each["selector"]["matchLabels"], workload)]
        assert budget["maxUnavailable"] == 1, name
        constraints = pod_of(workload)["topologySpreadConstraints"]
        assert {each["topologyKey"] for each in constraints} == PLACES, name
        assert all(is_selected(each["labelSelector"]["matchLabels"], workload) for each in constraints), name


def test_next_pod_is_replaced_once_envoy_has_found_the_one_before(rendering: Rendering) -> None:
    clusters = {
        each["name"]: each for each in yaml.safe_load(configuration_of(rendering))["static_resources"]["clusters"]
    }
    workloads = [container.workload for _, container in rendering.services()]
    for workload in workloads:
        cluster = clusters[workload["metadata"]["name"]]
        [check] = cluster["health_checks"]
        finds = [cluster["dns_refresh_rate"], check["no_traffic_interval"]]
        delay = DNS_CACHE_S + sum(float(each.removesuffix("s")) for each in finds)
        assert workload["spec"]["minReadySeconds"] > delay, workload["metadata"]["name"]
    envoy = rendering.container("envoy").workload
    assert envoy["spec"]["minReadySeconds"] > DNS_CACHE_S


def test_containers_ask_for_what_they_need_and_have_a_limit_of_memory(rendering: Rendering) -> None:
    for container in rendering.containers():
        resources = container.spec["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), container.label
        assert "memory" in resources["limits"], container.label
        # A limit of CPU would stop a server for the rest of each period.
        assert "cpu" not in resources["limits"], container.label


def test_envoy_has_a_worker_for_each_core_that_it_asks_for(rendering: Rendering) -> None:
    spec = rendering.container("envoy").spec
    assert spec["args"][spec["args"].index("--concurrency") + 1] == spec["resources"]["requests"]["cpu"]


def test_images_have_a_fixed_version(rendering: Rendering) -> None:
    for container in rendering.containers():
        name, _, tag = container.spec["image"].partition(":")
        assert tag not in ("", "latest"), container.label
        assert name.rpartition("/")[2] != "parley" or tag == VERSION, container.label
