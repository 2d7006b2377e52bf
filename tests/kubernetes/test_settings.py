"""Every variable in the manifests is a setting that the code has, and every setting without a default has a value."""

from __future__ import annotations

import re

import pytest

from devstack.services import SERVICES
from tests.kubernetes.manifests import Rendering, render
from tests.kubernetes.settings import required_variables_of, settings_of, variables_of

# Given by Kubernetes to the values of other variables.
POD_VARIABLES = {"POD_IP", "POD_NAME"}


def test_every_service_of_the_table_is_deployed(rendering: Rendering) -> None:
    assert {name for name, _ in rendering.services()} == {each.name for each in SERVICES}


def test_every_container_sets_only_variables_that_its_service_reads(rendering: Rendering) -> None:
    for name, container in rendering.services():
        unknown = container.environment.keys() - variables_of(settings_of(name)) - POD_VARIABLES
        assert not unknown, f"{container.label} sets {sorted(unknown)}"


def test_every_shared_variable_is_read_by_a_service(rendering: Rendering) -> None:
    read = {variable for service in SERVICES for variable in variables_of(settings_of(service.name))}
    for _, container in rendering.services():
        unknown = rendering.shared_variables(container).keys() - read
        assert not unknown, f"{container.label} shares {sorted(unknown)}"


OVERLAYS = ("overlays/dev", "overlays/production")


@pytest.mark.parametrize("target", OVERLAYS)
def test_every_setting_without_a_default_has_a_value(target: str) -> None:
    rendering = render(target)
    for name, container in rendering.services():
        given = container.environment.keys() | rendering.shared_variables(container).keys()
        missing = required_variables_of(settings_of(name)) - given
        assert not missing, f"{container.label} lacks {sorted(missing)}"


@pytest.mark.parametrize("etcd_user", ["", "parley"])
@pytest.mark.parametrize("target", OVERLAYS)
def test_services_accept_their_values(target: str, etcd_user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rendering = render(target)
    for name, container in rendering.services():
        own = {
            key: each.get("value", "secret").replace("$(POD_IP)", "10.0.0.7")
            for key, each in container.environment.items()
            # The password of etcd is in a secret only where etcd has users.
            if etcd_user or not each.get("valueFrom", {}).get("secretKeyRef", {}).get("optional")
        }
        variables = {**rendering.shared_variables(container), **own, "PARLEY_ETCD_USER": etcd_user}
        with monkeypatch.context() as patch:
            for key, value in variables.items():
                patch.setenv(key, value)
            settings_of(name).load()


def test_value_that_refers_to_another_variable_comes_after_it(rendering: Rendering) -> None:
    for container in rendering.containers():
        known = set[str]()
        for name, variable in container.environment.items():
            referred = set(re.findall(r"\$\((\w+)\)", variable.get("value", "")))
            assert referred <= known, f"{container.label}: {name}"
            known.add(name)
