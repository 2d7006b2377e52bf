"""The Dockerfile makes an image in which every entry point starts as an unprivileged user, on read-only files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from devstack.managed_process import ManagedProcess
from devstack.services import SERVICES, ServiceType
from devstack.stack import STORES, Stack
from tests.kubernetes.dockerfile import (
    ROOT,
    Replay,
    enter_stage,
    leave_stage,
    list_context,
    may_enter_stages,
    run_in,
)
from tests.kubernetes.manifests import pod_of, render

SECRETS: Final = "/run/secrets/parley"
# Files of the development system that no manifest mounts.
_OF_THE_DEVSTACK: Final = ("PARLEY_REFLECTION_FILE", "PARLEY_PUSH_RECORDING_FILE")


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    if not may_enter_stages():
        pytest.skip("this machine lets nobody unshare namespaces")
    return Replay(ROOT / "Dockerfile", tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stores of a system, all of whose services start in the image."""
    with Stack(tmp_path_factory.mktemp("stores"), only=STORES) as stack:
        yield stack


@pytest.fixture(scope="module")
def secrets(stores: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the secrets that the user of the image may read, as Kubernetes mounts them."""
    folder = tmp_path_factory.mktemp("secrets")
    folder.chmod(0o755)
    for file in (stores.layout.secrets.credential.parent).iterdir():
        shutil.copyfile(file, folder / file.name)
    return folder


def run_in_image(replay: Replay, *command: str) -> subprocess.CompletedProcess[str]:
    return run_in(replay.image, command, as_user=True)


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_service_without_settings_says_which_it_needs(replay: Replay, service: ServiceType) -> None:
    done = run_in_image(replay, "python", "-m", service.module)
    assert done.returncode == 1, done.stderr
    assert "PARLEY_ETCD_ENDPOINTS is not set." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_service_with_settings_serves_and_ends(
    replay: Replay, service: ServiceType, stores: Stack, secrets: Path
) -> None:
    spec = stores.layout.replica(service, 1, {}).spec
    environment = {
        name: value.replace(str(stores.layout.folder / "secrets"), SECRETS)
        for name, value in spec.environment.items()
        if name not in _OF_THE_DEVSTACK
    }
    command = ("python", "-m", service.module)
    entering = enter_stage(replay.image, command, as_user=True, environment=environment, folders={SECRETS: secrets})
    process = ManagedProcess(
        replace(spec, command=("/usr/bin/env", *entering), environment={"PATH": os.environ["PATH"]})
    )
    process.start()
    try:
        process.wait_healthy()
        assert process.terminate() == 0
    finally:
        process.kill()
        leave_stage(replay.image)


def test_default_command_of_the_image_starts(replay: Replay) -> None:
    done = run_in_image(replay, *replay.image.command)
    assert done.returncode == 0, done.stderr
    assert "Usage: parley" in done.stdout


def test_preparation_starts(replay: Replay) -> None:
    done = run_in_image(replay, "python", "-m", "devstack.preparation", "--help")
    assert done.returncode == 0, done.stderr


def test_image_runs_as_the_user_of_the_manifests_and_changes_no_file(replay: Replay) -> None:
    done = run_in_image(replay, "sh", "-c", "id -u; id -g; touch /opt/parley/changed")
    assert done.stdout.split() == replay.image.user.split(":")
    assert "Read-only file system" in done.stderr
    for workload in render("base").workloads:
        context = pod_of(workload)["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == replay.image.user


def test_image_has_the_code_of_the_wheel_alone(replay: Replay) -> None:
    [library] = replay.image.path("/opt/parley/lib").glob("python3*/site-packages")
    assert (library / "chat_service" / "__main__.py").is_file()
    assert (library / "parley" / "chat" / "v1" / "chat_pb2.py").is_file()
    assert not (library / "tests").exists()
    assert not replay.image.path("/src/protos").exists(), "a stage of its own builds"


def test_docker_gets_no_data_and_no_secrets() -> None:
    tops = {path.parts[0] for path in list_context(ROOT)}
    assert {"pyproject.toml", "protos", "chat_service"} <= tops
    assert tops.isdisjoint({".git", ".venv", ".parley", "build", "tests", "k8s"})
    assert not [path for path in list_context(ROOT) if path.suffix in {".pem", ".key", ".pyc"}]
