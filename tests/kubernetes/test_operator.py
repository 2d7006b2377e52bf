"""The pod in which operators run `parley admin`: it has what the commands need, and ends when it is asked to."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final, get_args

import pytest

from parley_command.admin.options import CredentialOption, EtcdOption
from servicekit.settings import EtcdSettings, TlsSettings
from tests.eventually import eventually
from tests.kubernetes.dockerfile import UNSHARE
from tests.kubernetes.manifests import Rendering, render
from tests.kubernetes.settings import variables_of
from tests.kubernetes.test_secrets import PASSWORD_OF_ETCD

# It ends at once; the rest is for a busy machine, and less than the 30 s after which Kubernetes kills.
END_TIMEOUT_S: Final = 20.0
NAMESPACE: Final = (*UNSHARE, "--pid", "--fork", "--kill-child")


def variable_of(option: Any) -> str:
    """Return the variable of an option of `parley admin`."""
    _, parameter = get_args(option)
    return str(parameter.envvar)


def test_commands_find_the_servers_and_the_credential_without_options(rendering: Rendering) -> None:
    operator = rendering.container("operator")
    read = {variable_of(CredentialOption), *variables_of(EtcdSettings), *variables_of(TlsSettings)}
    assert operator.environment.keys() <= read
    assert operator.environment[variable_of(CredentialOption)]["value"] == "/etc/parley/keys/service-credential"
    if rendering.target != "base":
        [(_, service), *_] = rendering.services()
        etcd = rendering.shared_variables(operator)[variable_of(EtcdOption)]
        assert etcd == rendering.shared_variables(service)[variable_of(EtcdOption)]


def test_operator_has_no_key_but_the_credential_of_the_services_and_the_password_of_etcd(rendering: Rendering) -> None:
    operator = rendering.container("operator")
    secrets = [each["secret"] for each in operator.pod["volumes"] if each["secret"]["secretName"] != "admin-tls"]
    assert [(each["secretName"], [item["key"] for item in each["items"]]) for each in secrets] == [
        ("parley-keys", ["service-credential"])
    ]
    assert operator.secret_keys == {"PARLEY_ETCD_PASSWORD": PASSWORD_OF_ETCD}
    assert not [each for each in operator.spec["envFrom"] if "secretRef" in each]


async def test_operator_ends_on_sigterm_as_the_first_process_of_its_container() -> None:
    if not may_make_namespace():
        pytest.skip("this machine lets this user make no namespace of processes")
    python, *arguments = render("base").container("operator").spec["command"]
    assert python == "python"
    process = await asyncio.create_subprocess_exec(*NAMESPACE, sys.executable, *arguments)

    def is_ended() -> bool:
        # The kernel sends the first process of a container no signal that it neither handles nor blocks: what is sent
        # before Python does so has no effect.
        for child in children_of(process.pid):
            os.kill(child, SIGTERM)
        return process.returncode is not None

    try:
        await eventually(is_ended, END_TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
    assert await process.wait() == 0


def may_make_namespace() -> bool:
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def children_of(pid: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        # Other processes of the machine end meanwhile.
        with suppress(OSError):
            if f"\nPPid:\t{pid}\n" in (folder / "status").read_text():
                yield int(folder.name)
