"""Servers listen at the ports that others reach them at."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.kubernetes.manifests import Rendering, is_selected, pod_of, render
from tools import kubernetes

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
LISTENED: Final = (
    ("public", "LISTEN"),
    ("internal", "INTERNAL_LISTEN"),
    ("metrics", "METRICS_LISTEN"),
    ("health", "HEALTH_LISTEN"),
)


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


@pytest.mark.parametrize("target", ["overlays/dev", "overlays/production"])
def test_origin_of_presigned_addresses_is_a_port_that_leads_to_them(target: str) -> None:
    rendering = render(target)
    variables = rendering.shared_variables(rendering.container("media"))
    origin = urlsplit(variables["PARLEY_S3_PUBLIC_URL"])
    assert (origin.port or DEFAULT_PORTS[origin.scheme]) in ports_to(rendering, "media")


def test_clients_of_production_make_calls_at_the_port_of_https() -> None:
    assert ports_to(render("overlays/production"), "door") == {DEFAULT_PORTS["https"]}


def ports_to(rendering: Rendering, listener: str) -> set[int]:
    """Return the ports of the load balancers that lead to a listener of Envoy."""
    envoy = rendering.container("envoy")
    return {
        port["port"]
        for service in rendering.of_kind("Service")
        if service["spec"].get("type") == "LoadBalancer" and is_selected(service["spec"]["selector"], envoy.workload)
        for port in service["spec"]["ports"]
        if port["targetPort"] == listener
    }


def test_envoy_listens_at_the_ports_of_its_configuration(rendering: Rendering) -> None:
    assert rendering.container("envoy").ports == {
        "door": kubernetes.DOOR_PORT,
        "media": kubernetes.MEDIA_PORT,
        "metrics": kubernetes.METRICS_PORT,
        "lifecycle": kubernetes.LIFECYCLE_PORT,
    }


def test_services_have_the_ports_that_envoy_calls(rendering: Rendering) -> None:
    assert {name: each.ports["public"] for name, each in rendering.services()} == kubernetes.PORTS
