"""The Dockerfile makes an image in which every entry point starts as an unprivileged user, on read-only files."""

from __future__ import annotations

import subprocess

import pytest

from devstack.services import SERVICES, ServiceType
from tests.kubernetes.dockerfile import ROOT, Replay, list_context, may_enter_stages, run_in
from tests.kubernetes.manifests import pod_of, render


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    if not may_enter_stages():
        pytest.skip("this machine lets nobody unshare namespaces")
    return Replay(ROOT / "Dockerfile", tmp_path_factory.mktemp("image"))


def run_in_image(replay: Replay, *command: str) -> subprocess.CompletedProcess[str]:
    return run_in(replay.image, command, as_user=True)


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_service_without_settings_says_which_it_needs(replay: Replay, service: ServiceType) -> None:
    done = run_in_image(replay, "python", "-m", service.module)
    assert done.returncode == 1, done.stderr
    assert "PARLEY_ETCD_ENDPOINTS is not set." in done.stderr
    assert "Traceback" not in done.stderr


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
