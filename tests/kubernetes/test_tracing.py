"""The component for traces, without TLS and with it: who sends traces, and whom the policies let through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from devstack.services import SERVICES
from servicekit.settings import ServiceSettings
from tests.kubernetes.manifests import K8S, Rendering
from tests.kubernetes.test_envoy import check_configuration, configuration_of
from tests.kubernetes.test_network import Network, Pod, pods_of, policies_of
from tests.kubernetes.test_schemas import VERSIONS, check_schemas
from tests.kubernetes.test_tls import mounted_secrets
from tools import kubernetes

COLLECTOR: Final = Pod("collector", "observability", {"otlp": 4318, "other": 4317}, {})
SENDERS: Final = {each.name for each in SERVICES} | {"envoy"}


@pytest.fixture(scope="module", params=["tracing", "tls tracing", "tracing tls"])
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rendering:
    """Return the base with components, in each order."""
    folder = tmp_path_factory.mktemp("traced")
    k8s = Path(os.path.relpath(K8S, folder))
    kustomization = {
        "resources": [str(k8s / "base")],
        "components": [str(k8s / "components" / name) for name in request.param.split()],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return Rendering(str(folder))


def has_tls(rendering: Rendering) -> bool:
    return bool(rendering.of_kind("Certificate"))


def test_services_and_envoy_send_traces_to_the_same_collector_at_the_same_ratio(traced: Rendering) -> None:
    configuration = yaml.safe_load(configuration_of(traced))
    [cluster] = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "otlp"]
    [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = endpoint["endpoint"]["address"]["socket_address"]
    for _, container in traced.services():
        variables = traced.shared_variables(container)
        assert variables["PARLEY_OTLP_ENDPOINT"] == f"http://{address['address']}:{address['port_value']}"
        assert "PARLEY_TRACE_RATIO" not in variables
    ratio = ServiceSettings.model_fields["trace_ratio"].default
    assert tracing_of(configuration)["random_sampling"]["value"] == ratio * 100


def tracing_of(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return the tracing of Envoy's listener for clients."""
    door = configuration["static_resources"]["listeners"][0]
    found: dict[str, Any] = door["filter_chains"][0]["filters"][-1]["typed_config"]["tracing"]
    return found


def test_envoy_reads_the_configuration_with_traces_that_fits_its_tls(traced: Rendering) -> None:
    files = kubernetes.envoy_files_with_traces()
    expected = files["traced-tls.yaml" if has_tls(traced) else "traced.yaml"]
    assert configuration_of(traced) == expected
    mounted = mounted_secrets(traced.container("envoy"))
    assert (str(kubernetes.GATEWAY_FOLDER) in mounted) == has_tls(traced)


def test_envoy_accepts_its_configuration_with_traces(traced: Rendering, tmp_path: Path) -> None:
    check_configuration(traced, tmp_path)


def test_services_and_envoy_alone_reach_the_collector_and_no_other_port_of_it(traced: Rendering) -> None:
    network = Network({each.name: each for each in pods_of(traced)}, policies_of(traced))
    for pod in network.pods.values():
        assert network.reaches(pod, COLLECTOR, "otlp") == (pod.name in SENDERS), pod.name
        assert not network.reaches(pod, COLLECTOR, "other"), pod.name


def test_manifests_with_traces_are_valid(traced: Rendering) -> None:
    check_schemas(traced, VERSIONS[-1])
