"""compose.yaml starts what `make run` starts, with the same settings."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from devstack.layout import Layout
from devstack.options import DEFAULT_DOOR, DEFAULT_MEDIA_PORT
from devstack.ports import LOOPBACK, Ports
from devstack.servers.service import AFTER_DRAIN_S
from devstack.services import SERVICES, ServiceType
from tests.kubernetes.manifests import ROOT, render
from tests.kubernetes.settings import required_variables_of, settings_of, variables_of
from tests.kubernetes.test_probes import DEFAULT_DRAIN_S
from tools import kubernetes

FILE: Final = ROOT / "compose.yaml"
DOCUMENT: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text())
COMPOSE: Final[dict[str, Any]] = DOCUMENT["services"]
SHARED: Final[dict[str, str]] = DOCUMENT["x-settings"]
# The services of the file that are stores: the process of `make run`, and the one of the cluster for development.
STORES: Final = {"mongod": "mongodb", "valkey": "valkey", "etcd": "etcd", "s3": "s3"}
# Made at the first start, and read by the command.
KEYS_OF_S3: Final = {"PARLEY_S3_ACCESS_KEY", "PARLEY_S3_SECRET_KEY"}
# They differ because each process has a container of its own.
PLACES: Final = ("_LISTEN", "_URI", "_URL", "_ENDPOINTS", "_FILE")
each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)


def variables_in(service: ServiceType) -> dict[str, str]:
    variables: dict[str, str] = COMPOSE[service.name]["environment"]
    return variables


def test_every_process_of_make_run_is_started() -> None:
    replicas = {name: each["scale"] for name, each in COMPOSE.items() if "scale" in each}
    assert replicas == {each.name: each.replicas for each in SERVICES}
    assert COMPOSE.keys() - replicas.keys() == {*STORES, "envoy", "prepare"}


@each_service
def test_service_has_the_settings_of_make_run(service: ServiceType, tmp_path: Path) -> None:
    ports = Ports(DEFAULT_DOOR, DEFAULT_MEDIA_PORT, 5100)
    of_make_run = Layout(tmp_path, ports, SERVICES).replica(service, 1, {}).spec.environment
    variables = variables_in(service)
    assert variables.keys() | (KEYS_OF_S3 if service.uses_s3 else set()) == of_make_run.keys()
    for name, value in variables.items():
        if not name.endswith(PLACES):
            assert value == of_make_run[name], name


@each_service
def test_service_reads_every_variable_and_accepts_its_value(
    service: ServiceType, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(service.name)
    variables = variables_in(service) | (dict.fromkeys(KEYS_OF_S3, "x") if service.uses_s3 else {})
    # Some of the settings that all services share are read by most of them.
    assert variables.keys() - SHARED.keys() <= variables_of(settings)
    assert required_variables_of(settings) <= variables.keys()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings.load()


def test_every_shared_variable_is_read_by_a_service() -> None:
    assert SHARED.keys() <= {variable for each in SERVICES for variable in variables_of(settings_of(each.name))}


@each_service
def test_server_gives_others_an_address_of_its_own(service: ServiceType) -> None:
    script = COMPOSE[service.name]["entrypoint"][2].replace("$$", "$")
    host = subprocess.run(["hostname", "-i"], capture_output=True, text=True, check=True).stdout.strip()
    environment = {**variables_in(service), "PATH": os.environ["PATH"]}
    command = ["sh", "-c", script, "sh", "sh", "-c", "echo $PARLEY_ADVERTISE $PARLEY_INTERNAL_ADVERTISE"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    port = kubernetes.PORTS[service.name]
    assert done.stdout.strip() == f"{host}:{port} {host}:{port + 1000}"


@each_service
def test_server_listens_where_envoy_expects_it_and_runs_its_module(service: ServiceType) -> None:
    assert variables_in(service)["PARLEY_LISTEN"] == f"0.0.0.0:{kubernetes.PORTS[service.name]}"
    assert f"python -m {service.module}" in " ".join(COMPOSE[service.name]["command"])


@each_service
def test_server_has_time_to_drain(service: ServiceType) -> None:
    drain = float(variables_in(service).get("PARLEY_DRAIN_SECONDS", DEFAULT_DRAIN_S))
    assert float(COMPOSE[service.name]["stop_grace_period"].removesuffix("s")) >= drain + AFTER_DRAIN_S


def test_only_the_ports_of_make_run_are_published_and_only_on_this_machine() -> None:
    published = {port for each in COMPOSE.values() for port in each.get("ports", ())}
    assert published == {
        f"{LOOPBACK}:{DEFAULT_DOOR}:{kubernetes.DOOR_PORT}",
        f"{LOOPBACK}:{DEFAULT_MEDIA_PORT}:{kubernetes.MEDIA_PORT}",
    }
    assert COMPOSE["media"]["environment"]["PARLEY_S3_PUBLIC_URL"] == f"http://{LOOPBACK}:{DEFAULT_MEDIA_PORT}"


def test_images_are_those_of_the_cluster() -> None:
    images = {each.workload["metadata"]["name"]: each.spec["image"] for each in render("overlays/dev").containers()}
    for name, each in COMPOSE.items():
        assert each["image"] == images[STORES.get(name, name)], name


def test_files_that_are_mounted_exist() -> None:
    for each in COMPOSE.values():
        for volume in each.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file(), source


def compose_client() -> list[str] | None:
    """Return the command of Docker's client for compose files, or None where it is not installed."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version"], capture_output=True, check=False)
            if done.returncode == 0:
                return command
    return None


def test_docker_accepts_the_file() -> None:
    if (client := compose_client()) is None:
        pytest.skip("Docker's client is not installed")
    done = subprocess.run([*client, "-f", str(FILE), "config", "-q"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
