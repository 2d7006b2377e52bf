"""Servers listen at the ports that others reach them at."""

from __future__ import annotations

from typing import Final

from tests.kubernetes.manifests import Rendering, is_selected, pod_of
from tools import kubernetes

LISTENED: Final = (("public", "LISTEN"), ("internal", "INTERNAL_LISTEN"), ("metrics", "METRICS_LISTEN"))


def test_services_listen_at_the_ports_that_they_name(rendering: Rendering) -> None:
    for _, container in rendering.services():
        for name, variable in LISTENED:
            listens = container.environment[f"PARLEY_{variable}"]["value"]
            assert listens == f"0.0.0.0:{container.ports[name]}", container.label


def test_services_advertise_the_ports_at_which_they_listen(rendering: Rendering) -> None:
    for _, container in rendering.services():
        for name, variable in (("public", "ADVERTISE"), ("internal", "INTERNAL_ADVERTISE")):
            advertised = container.environment[f"PARLEY_{variable}"]["value"]
            assert advertised.endswith(f":{container.ports[name]}"), container.label


def test_services_lead_to_ports_of_the_pods_that_they_select(rendering: Rendering) -> None:
    for service in rendering.of_kind("Service"):
        if service["spec"].get("type") == "ExternalName":
            continue
        [workload] = [each for each in rendering.workloads if is_selected(service["spec"]["selector"], each)]
        ports = {
            port["name"]: port["containerPort"]
            for container in pod_of(workload)["containers"]
            for port in container["ports"]
        }
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            assert target in ports or target in ports.values(), f"{service['metadata']['name']}:{port['name']}"


def test_envoy_listens_at_the_ports_of_its_configuration(rendering: Rendering) -> None:
    assert rendering.container("envoy").ports == {
        "door": kubernetes.DOOR_PORT,
        "media": kubernetes.MEDIA_PORT,
        "metrics": kubernetes.METRICS_PORT,
        "lifecycle": kubernetes.LIFECYCLE_PORT,
    }


def test_services_have_the_ports_that_envoy_calls(rendering: Rendering) -> None:
    assert {name: each.ports["public"] for name, each in rendering.services()} == kubernetes.PORTS
