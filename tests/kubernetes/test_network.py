"""Network policies: who reaches whom, as a cluster applies them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any, Final

import pytest

from tests.kubernetes.manifests import STORES_EXAMPLE, Rendering, labels_of, pod_of, render

NAMESPACE: Final = "parley"
SERVICES: Final = ("chat", "media", "presence", "notify")
OWN_STORES: Final = ("mongodb", "valkey", "etcd", "s3")


@dataclass(frozen=True)
class Pod:
    """A pod with its labels and ports by name. One without a namespace is outside of the cluster."""

    name: str
    namespace: str
    ports: dict[str, int]
    labels: dict[str, str]


OUTSIDE: Final = Pod("outside", "", {"https": 443}, {})
PROMETHEUS: Final = Pod("prometheus", "monitoring", {}, {})
STRANGER: Final = Pod("stranger", "others", {}, {})
# A store of the example: its operator makes the pod.
STORE: Final = Pod("store", "parley-stores", {"mongodb": 27017, "redis": 6379, "etcd": 2379, "s3": 8333}, {})


@dataclass(frozen=True)
class Network:
    """The pods of a rendering, and policies with their namespaces."""

    pods: dict[str, Pod]
    policies: Sequence[tuple[str, dict[str, Any]]]

    def reaches(self, source: Pod, target: Pod, port: str) -> bool:
        """Return whether a connection is let out of the one pod and into the other."""
        return self._allows("Egress", source, target, target, port) and self._allows(
            "Ingress", target, source, target, port
        )

    def _allows(self, direction: str, subject: Pod, peer: Pod, target: Pod, port: str) -> bool:
        policies = [
            policy
            for namespace, policy in self.policies
            if namespace == subject.namespace
            and direction in policy["policyTypes"]
            and matches(policy["podSelector"], subject.labels)
        ]
        side = "to" if direction == "Egress" else "from"
        return not policies or any(
            has_port(rule, target, port) and has_peer(rule.get(side), peer, subject.namespace)
            for policy in policies
            for rule in policy.get(direction.lower(), ())
        )


def has_port(rule: dict[str, Any], target: Pod, port: str) -> bool:
    return "ports" not in rule or any(each["port"] in (port, target.ports[port]) for each in rule["ports"])


def has_peer(peers: Iterable[dict[str, Any]] | None, pod: Pod, namespace: str) -> bool:
    return peers is None or any(is_peer(each, pod, namespace) for each in peers)


def is_peer(peer: dict[str, Any], pod: Pod, namespace: str) -> bool:
    if "ipBlock" in peer or not pod.namespace:
        return "ipBlock" in peer and not pod.namespace
    if "namespaceSelector" not in peer:
        return pod.namespace == namespace and matches(peer["podSelector"], pod.labels)
    named = {"kubernetes.io/metadata.name": pod.namespace}
    return matches(peer["namespaceSelector"], named) and matches(peer.get("podSelector", {}), pod.labels)


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    equal = selector.get("matchLabels", {}).items() <= labels.items()
    return equal and all(holds(each, labels) for each in selector.get("matchExpressions", ()))


def holds(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    key = expression["key"]
    match expression["operator"]:
        case "Exists":
            return key in labels
        case "In":
            return labels.get(key) in expression["values"]
        case operator:
            raise AssertionError(f"unknown operator {operator}")


def policies_of(rendering: Rendering) -> list[tuple[str, dict[str, Any]]]:
    found = rendering.of_kind("NetworkPolicy")
    return [(each["metadata"].get("namespace", NAMESPACE), each["spec"]) for each in found]


def pods_of(rendering: Rendering) -> Iterable[Pod]:
    for workload in rendering.workloads:
        containers = pod_of(workload)["containers"]
        ports = {port["name"]: port["containerPort"] for each in containers for port in each.get("ports", ())}
        yield Pod(workload["metadata"]["name"], NAMESPACE, ports, labels_of(workload))


@pytest.fixture
def network(rendering: Rendering) -> Network:
    return Network({each.name: each for each in pods_of(rendering)}, policies_of(rendering))


@pytest.fixture
def production() -> Network:
    """Return production, with the policies of the example of stores."""
    rendering = render("overlays/production")
    policies = policies_of(rendering) + policies_of(render(STORES_EXAMPLE))
    return Network({each.name: each for each in pods_of(rendering)}, policies)


def test_clients_reach_the_two_listeners_of_envoy_alone(network: Network) -> None:
    for client in (OUTSIDE, STRANGER):
        for pod in network.pods.values():
            for port in pod.ports:
                expected = pod.name == "envoy" and port in ("door", "media")
                assert network.reaches(client, pod, port) == expected, f"{client.name} to {pod.name}:{port}"


def test_no_pod_reaches_the_port_that_drains_envoy(network: Network) -> None:
    for pod in (*network.pods.values(), OUTSIDE, STRANGER, PROMETHEUS):
        assert not network.reaches(pod, network.pods["envoy"], "lifecycle"), pod.name


def test_envoy_reaches_public_ports_alone(network: Network) -> None:
    envoy = network.pods["envoy"]
    for service in SERVICES:
        for port in network.pods[service].ports:
            assert network.reaches(envoy, network.pods[service], port) == (port == "public"), f"{service}:{port}"
    for store in network.pods.keys() & set(OWN_STORES):
        assert network.reaches(envoy, network.pods[store], store) == (store == "s3"), store


def test_services_reach_internal_ports_and_stores(network: Network) -> None:
    for service in SERVICES:
        source = network.pods[service]
        for other in SERVICES:
            for port in network.pods[other].ports:
                allowed = network.reaches(source, network.pods[other], port)
                assert allowed == (port == "internal"), f"{service} to {other}:{port}"
        for store in network.pods.keys() & set(OWN_STORES):
            assert network.reaches(source, network.pods[store], store), f"{service} to {store}"


def test_operator_reaches_internal_ports_and_etcd_alone(network: Network) -> None:
    operator = network.pods["operator"]
    for pod in network.pods.values():
        for port in pod.ports:
            expected = pod.name == "etcd" or (pod.name in SERVICES and port == "internal")
            assert network.reaches(operator, pod, port) == expected, f"{pod.name}:{port}"


def test_nobody_reaches_the_operator(network: Network) -> None:
    # It names no port: this one stands for all.
    operator = replace(network.pods["operator"], ports={"any": 8000})
    for pod in (*network.pods.values(), OUTSIDE, STRANGER, PROMETHEUS, STORE):
        assert not network.reaches(pod, operator, "any"), pod.name


def test_only_notify_reaches_the_world(network: Network) -> None:
    for pod in network.pods.values():
        # The preparation calls the API of the cluster, whose address is not known here.
        assert network.reaches(pod, OUTSIDE, "https") == (pod.name in ("notify", "prepare")), pod.name


def test_pushes_reach_no_private_address(rendering: Rendering) -> None:
    [rule] = rendering.find("NetworkPolicy", "push-providers")["spec"]["egress"]
    [block] = [each["ipBlock"] for each in rule["to"]]
    assert block["cidr"] == "0.0.0.0/0"
    excepted = [ip_network(each) for each in block["except"]]
    # Of pods, nodes, the metadata of a cloud, and of the network that providers give to pods (RFC 6598).
    for address in ("10.96.0.1", "172.20.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.254"):
        assert any(ip_address(address) in each for each in excepted), address


def test_prometheus_reaches_the_metrics_of_production_alone(production: Network) -> None:
    for pod in production.pods.values():
        for port in pod.ports:
            expected = port == "metrics" or (pod.name == "envoy" and port in ("door", "media"))
            assert production.reaches(PROMETHEUS, pod, port) == expected, f"{pod.name}:{port}"


def test_each_store_of_production_is_reached_by_those_alone_that_use_it(production: Network) -> None:
    users = {
        "mongodb": SERVICES,
        "etcd": (*SERVICES, "operator"),
        "redis": ("chat", "presence", "notify"),
        "s3": ("media", "envoy"),
    }
    assert users.keys() == STORE.ports.keys()
    for port in STORE.ports:
        for pod in production.pods.values():
            assert production.reaches(pod, STORE, port) == (pod.name in users[port]), f"{pod.name}:{port}"
        assert not production.reaches(STRANGER, STORE, port), port
        assert not production.reaches(OUTSIDE, STORE, port), port
