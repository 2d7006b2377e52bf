"""Everything that a manifest names exists: config maps, volumes, service accounts, and the names of servers."""

from __future__ import annotations

import yaml

from devstack.services import SERVICES
from tests.kubernetes.manifests import Rendering, pod_of
from tests.kubernetes.test_envoy import configuration_of


def test_config_maps_that_are_used_exist(rendering: Rendering) -> None:
    existing = {each["metadata"]["name"] for each in rendering.of_kind("ConfigMap")}
    for workload in rendering.workloads:
        for volume in pod_of(workload).get("volumes", ()):
            if "configMap" in volume:
                assert volume["configMap"]["name"] in existing


def test_every_mount_has_a_volume_and_every_volume_is_mounted(rendering: Rendering) -> None:
    for workload in rendering.workloads:
        pod = pod_of(workload)
        claims = [each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", ())]
        volumes = {*claims, *(each["name"] for each in pod.get("volumes", ()))}
        mounted = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", ())}
        assert mounted == volumes, workload["metadata"]["name"]


def test_service_accounts_that_are_used_exist(rendering: Rendering) -> None:
    existing = {each["metadata"]["name"] for each in rendering.of_kind("ServiceAccount")}
    assert {
        pod_of(each)["serviceAccountName"] for each in rendering.workloads if "serviceAccountName" in pod_of(each)
    } <= existing


def test_services_run_their_module_under_their_name(rendering: Rendering) -> None:
    modules = {name: container.spec["command"] for name, container in rendering.services()}
    assert modules == {each.name: ["python", "-m", each.module] for each in SERVICES}


def test_server_is_named_after_its_pod_and_reached_at_its_own_address(rendering: Rendering) -> None:
    for name, container in rendering.services():
        assert container.environment["PARLEY_SERVER_ID"]["value"] == "$(POD_NAME)"
        # Envoy compares the address with those that it has found by DNS.
        assert container.environment["PARLEY_ADVERTISE"]["value"].startswith("$(POD_IP):")
        internal = container.environment["PARLEY_INTERNAL_ADVERTISE"]["value"]
        if container.workload["kind"] == "StatefulSet":
            assert container.workload["spec"]["serviceName"] == name
            assert internal.startswith(f"$(POD_NAME).{name}:")
        else:
            assert internal.startswith("$(POD_IP):")


def test_envoy_finds_each_pod_of_every_service_also_one_that_is_not_ready(rendering: Rendering) -> None:
    configuration = yaml.safe_load(configuration_of(rendering))
    clusters = {each["name"]: each for each in configuration["static_resources"]["clusters"]}
    for service in SERVICES:
        [endpoint] = clusters[service.name]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        address = endpoint["endpoint"]["address"]["socket_address"]
        found = rendering.find("Service", address["address"])["spec"]
        assert found["clusterIP"] == "None"
        assert found["publishNotReadyAddresses"] is True
        assert {"name": "public", "port": address["port_value"]} in found["ports"]
