"""Servers are probed at their health, and have the time that they need to end."""

from __future__ import annotations

from typing import Any, Final

from chat_service.server import COMMIT_TIMEOUT_S
from devstack.servers.service import AFTER_DRAIN_S
from servicekit.etcd import TIMEOUT_S
from servicekit.health import LIVENESS
from servicekit.registration import LEAVING_TIMEOUT_S
from servicekit.server import EXIT_DEADLINE_S
from servicekit.service import STOP_TIMEOUT_S
from servicekit.settings import ServiceSettings
from tests.kubernetes.manifests import ROOT, Container, Rendering
from tools import kubernetes

# Seconds between the end of the drain of an Envoy and the end of its process.
ENVOY_MARGIN_S: Final = 10
DEFAULT_DRAIN_S: Final = ServiceSettings.model_fields["drain_seconds"].default
PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")


def test_services_are_ready_by_their_health_and_alive_while_they_answer(rendering: Rendering) -> None:
    for _, container in rendering.services():
        assert "service" not in container.spec["startupProbe"]["grpc"], container.label
        assert "service" not in container.spec["readinessProbe"]["grpc"], container.label
        # The kernel accepts connections for a process that hangs. The health of the server is NOT_SERVING while it
        # drains, or has lost a store: a restart would not help.
        assert container.spec["livenessProbe"]["grpc"]["service"] == LIVENESS, container.label


def test_services_are_probed_at_a_port_that_never_has_tls(rendering: Rendering) -> None:
    for _, container in rendering.services():
        for probe in PROBES:
            assert probed_port(container, container.spec[probe]) == container.ports["health"], container.label


def test_busy_server_has_the_time_to_answer(rendering: Rendering) -> None:
    for _, container in rendering.services():
        probe = container.spec["livenessProbe"]
        assert probe["failureThreshold"] * probe["periodSeconds"] >= 60, container.label


def test_probes_lead_to_ports_of_the_container(rendering: Rendering) -> None:
    for container in rendering.containers():
        for name in PROBES:
            if name in container.spec:
                assert probed_port(container, container.spec[name]) in container.ports.values(), container.label


def probed_port(container: Container, probe: dict[str, Any]) -> int:
    [port] = [each["port"] for each in probe.values() if isinstance(each, dict)]
    return container.ports[port] if isinstance(port, str) else int(port)


def test_services_end_after_their_drain(rendering: Rendering) -> None:
    for _, container in rendering.services():
        drain = float(rendering.shared_variables(container).get("PARLEY_DRAIN_SECONDS", DEFAULT_DRAIN_S))
        assert container.pod["terminationGracePeriodSeconds"] >= drain + AFTER_DRAIN_S, container.label


def test_time_after_the_drain_is_the_one_of_the_code_and_the_documents() -> None:
    leaves = LEAVING_TIMEOUT_S + TIMEOUT_S
    assert COMMIT_TIMEOUT_S + leaves + 2 * STOP_TIMEOUT_S + EXIT_DEADLINE_S <= AFTER_DRAIN_S
    operations = " ".join((ROOT / "docs" / "operations.md").read_text().split())
    assert f"{DEFAULT_DRAIN_S:.0f} s for the devices to move, then at most {AFTER_DRAIN_S:.0f} s to end" in operations
    assert f"at least `PARLEY_DRAIN_SECONDS` + {AFTER_DRAIN_S:.0f} s before it kills" in operations


def test_envoy_drains_before_it_ends(rendering: Rendering) -> None:
    container = rendering.container("envoy")
    hook = container.spec["lifecycle"]["preStop"]["httpGet"]
    assert hook == {"path": "/drain", "port": "lifecycle"}
    assert container.ports["lifecycle"] == kubernetes.LIFECYCLE_PORT
    arguments = container.spec["args"]
    accepting = float(arguments[arguments.index("--drain-time-s") + 1])
    assert accepting < kubernetes.ENVOY_DRAIN_S
    assert container.pod["terminationGracePeriodSeconds"] >= kubernetes.ENVOY_DRAIN_S + ENVOY_MARGIN_S
