"""Envoy in a cluster has the configuration of `make run`, with the names and ports of the manifests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from bench.capacity.costs import choose_costs
from bench.capacity.measured_costs import RECORDED
from bench.results import read_result
from devstack.binaries import server_binary
from devstack.certificates import DOOR, StackCertificates
from devstack.envoy_template import render_configuration
from devstack.secret_files import ensure_secret_files
from devstack.services import SERVICES
from servicekit.transport import GATEWAY
from tests.kubernetes.manifests import K8S, Rendering, render
from tools import kubernetes


def files_of(rendering: Rendering) -> dict[str, str]:
    """Return the files that Envoy has in its configuration folder, by name."""
    volumes = {each["name"]: each for each in rendering.container("envoy").pod["volumes"]}
    data = rendering.find("ConfigMap", volumes["configuration"]["configMap"]["name"])["data"]
    return {name: str(text) for name, text in data.items()}


def configuration_of(rendering: Rendering) -> str:
    """Return the file that the arguments of Envoy name, as Kubernetes fills variables in."""
    container = rendering.container("envoy")
    argument = container.spec["args"][container.spec["args"].index("-c") + 1]
    # A variable is a value of a later one, and of the arguments.
    for name, variable in reversed(container.environment.items()):
        argument = argument.replace(f"$({name})", variable["value"])
    folder, _, name = argument.rpartition("/")
    assert folder == "/etc/envoy"
    return files_of(rendering)[name]


def test_files_that_follow_from_the_contract_are_up_to_date() -> None:
    assert (K8S / "base/envoy/envoy.yaml").read_text() == kubernetes.envoy_configuration(), "run `make k8s`"
    for component, files in (
        ("tls", kubernetes.envoy_files_with_tls()),
        ("tracing", kubernetes.envoy_files_with_traces()),
    ):
        written = {each.name: each.read_text() for each in (K8S / "components" / component / "envoy").iterdir()}
        assert written == files, "run `make k8s`"
    assert (K8S / "base/contract.binpb").read_bytes() == kubernetes.contract(), "run `make k8s`"


def test_envoy_accepts_its_configuration(rendering: Rendering, tmp_path: Path) -> None:
    check_configuration(rendering, tmp_path)


def check_configuration(rendering: Rendering, tmp_path: Path) -> None:
    secrets = ensure_secret_files(tmp_path / "secrets")
    certificates = StackCertificates(tmp_path / "tls", [])
    here = {
        "/etc/parley/keys/jwks.json": secrets.jwks,
        "/etc/envoy": tmp_path,
        str(kubernetes.DOOR_FOLDER): certificates.folder_of(DOOR),
        str(kubernetes.GATEWAY_FOLDER): certificates.folder_of(GATEWAY),
    }

    def place(text: str) -> str:
        for there, path in here.items():
            text = text.replace(there, str(path))
        return text

    for name, text in files_of(rendering).items():
        (tmp_path / name).write_text(place(text))
    configuration = tmp_path / "read.yaml"
    configuration.write_text(place(configuration_of(rendering)))
    command = (str(server_binary("envoy")), "--mode", "validate", "-c", str(configuration))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_cluster_adds_listeners_to_the_configuration_of_make_run_and_changes_none() -> None:
    here = yaml.safe_load(render_configuration(kubernetes.VALUES, SERVICES))["static_resources"]["listeners"]
    cluster = yaml.safe_load(kubernetes.envoy_configuration())["static_resources"]["listeners"]
    assert cluster[: len(here)] == here
    assert [each["name"] for each in cluster[len(here) :]] == ["metrics", "lifecycle"]


@pytest.mark.parametrize("target", ["overlays/dev", "overlays/production"])
def test_envoy_serves_the_bucket_that_the_media_service_uses(target: str) -> None:
    rendering = render(target)
    [(_, media)] = [each for each in rendering.services() if each[0] == "media"]
    bucket = rendering.shared_variables(media)["PARLEY_S3_BUCKET"]
    for text in files_of(rendering).values():
        for path in re.findall(r"regex: (/\S*)\(/\[A-Za-z", text):
            assert path.replace("[.]", ".") == f"/{bucket}", "set S3_BUCKET in tools/kubernetes.py, and run `make k8s`"
    assert f"/{bucket}(/" in configuration_of(rendering).replace("[.]", ".")


def test_memory_of_the_pod_holds_the_heap_and_the_heap_all_connections(rendering: Rendering) -> None:
    costs = choose_costs(read_result(RECORDED), {}).costs
    bytes_each = (costs.envoy_stream_kib + costs.envoy_tls_kib) * 1024
    limit = rendering.container("envoy").spec["resources"]["limits"]["memory"]
    memory = int(limit.removesuffix("Gi")) << 30
    overload = yaml.safe_load(configuration_of(rendering))["overload_manager"]
    heap, connections = (each["typed_config"] for each in overload["resource_monitors"])
    thresholds = {
        each["name"].rpartition(".")[2]: trigger["threshold"]["value"]
        for each in overload["actions"]
        for trigger in each["triggers"]
    }
    assert list(thresholds) == ["shrink_heap", "reject_incoming_connections", "stop_accepting_requests"]
    assert sorted(thresholds.values()) == list(thresholds.values())
    used = connections["max_active_downstream_connections"] * bytes_each
    # What Envoy takes without any connection has room, too.
    assert used + (100 << 20) < thresholds["shrink_heap"] * heap["max_heap_size_bytes"]
    assert heap["max_heap_size_bytes"] + (200 << 20) < memory


def test_administration_is_reachable_from_the_pod_alone(rendering: Rendering) -> None:
    address = yaml.safe_load(configuration_of(rendering))["admin"]["address"]["socket_address"]
    assert address == {"address": "127.0.0.1", "port_value": kubernetes.ADMIN_PORT}
