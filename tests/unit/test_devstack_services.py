"""The table of services agrees with the protos and with the services themselves."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from chat_service import services
from chat_service.server import COMMIT_TIMEOUT_S
from chat_service.servicers.account import OPEN_METHODS
from devstack.contract import descriptor_set, method_path, packages_of, services_in
from devstack.ports import Ports
from devstack.services import CHAT, SERVICES, ServiceType, find_service, with_replicas
from devstack.stack import Stack
from servicekit.service import STOP_TIMEOUT_S
from tests.raw import calls

PROTOS = Path(__file__).parents[2] / "protos"
PORTS = Ports(door=8080, media=8090, base=5100)


def test_contract_has_every_public_service_of_the_protos() -> None:
    public = [path for path in PROTOS.glob("parley/*/v1/*.proto") if path.parts[-3] != "internal"]
    names = [str(path.relative_to(PROTOS)).removesuffix(".proto").replace("/", ".") for path in public]
    found = services_in(*(importlib.import_module(f"{name}_pb2") for name in names))
    assert {each.full_name for each in found} == {each.full_name for each in calls.services()}, "tests/raw/calls.py"


def test_chat_entry_agrees_with_the_chat_service() -> None:
    served = {services.CHAT.full_name, services.CONVERSATION.full_name, services.ACCOUNT.full_name}
    assert {each.full_name for each in CHAT.contract} == served
    accounts = next(each for each in CHAT.contract if each.name == "AccountService")
    assert set(CHAT.open_methods) == {method_path(accounts.methods_by_name[name]) for name in OPEN_METHODS}


def test_no_two_services_share_a_name_or_a_package() -> None:
    packages = [package for each in SERVICES for package in packages_of(each.contract)]
    names = [each.name for each in SERVICES]
    assert len(set(packages)) == len(packages)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_open_methods_are_methods_of_their_service(service: ServiceType) -> None:
    methods = {method_path(method) for each in service.contract for method in each.methods}
    assert set(service.open_methods) <= methods


def test_replica_is_not_killed_while_it_drains(tmp_path: Path) -> None:
    [replica] = Stack(
        tmp_path, 1, services=(CHAT,), ports=PORTS, environment={"PARLEY_DRAIN_SECONDS": "30"}
    ).chat_servers
    # The public and the internal server stop one after the other.
    assert replica.spec.grace > 30 + COMMIT_TIMEOUT_S + 2 * STOP_TIMEOUT_S


def test_replicas_of_one_service_are_changed() -> None:
    other = ServiceType("other", "other", "another server", ())
    table = with_replicas((CHAT, other), "chat", 5)
    assert [each.replicas for each in table] == [5, 1]
    assert find_service(table, "other") is other
    with pytest.raises(KeyError, match="nobody"):
        find_service(table, "nobody")


def test_descriptor_set_has_every_import_before_its_importer() -> None:
    files = descriptor_set(CHAT.contract).file
    names = [file.name for file in files]
    assert len(set(names)) == len(names)
    for number, file in enumerate(files):
        assert set(file.dependency) <= set(names[:number])
    assert [name for name in names if "internal" in name] == []
    # Chat refers to media by their messages.
    assert "parley/media/v1/media.proto" in names
    listed = {f"{file.package}.{service.name}" for file in files for service in file.service}
    assert listed == {service.full_name for service in CHAT.contract}
    assert descriptor_set(CHAT.contract).SerializeToString() == descriptor_set(CHAT.contract).SerializeToString()
