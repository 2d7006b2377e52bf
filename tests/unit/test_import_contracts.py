"""The import contracts, the wheel and the checks cover every service, so that a new one cannot be left out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from devstack.services import SERVICES

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS: Final = PROJECT["tool"]["importlinter"]["contracts"]
FOLDERS: Final = {path.parent.name for path in ROOT.glob("*_service/__main__.py")}
MODULES: Final = sorted({service.module for service in SERVICES} | FOLDERS)


def forbidden_imports() -> set[tuple[str, str]]:
    """Return the (importer, imported) pairs of packages that the contracts forbid."""
    forbidden = [contract for contract in CONTRACTS if contract["type"] == "forbidden"]
    return {
        (importer, imported)
        for contract in forbidden
        for importer in contract["source_modules"]
        for imported in contract["forbidden_modules"]
    }


def lists_with(name: str, node: Any) -> Iterator[list[str]]:
    """Yield each list within `node` that has the element `name`."""
    if isinstance(node, list) and name in node:
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from lists_with(name, child)


def test_every_service_folder_is_in_the_table() -> None:
    assert {service.module for service in SERVICES} == FOLDERS, "devstack/services.py::SERVICES"


@pytest.mark.parametrize("service", MODULES)
def test_nothing_imports_a_service_and_a_service_imports_no_client(service: str) -> None:
    importers = {(importer, service) for importer in ("servicekit", "parley_client", "devstack")}
    imports = {(service, imported) for imported in ("parley_client", "parley_command", "devstack")}
    missing = (importers | imports) - forbidden_imports()
    assert missing == set(), "add (source, forbidden) to the import contracts in pyproject.toml"


def test_services_are_independent() -> None:
    [contract] = [contract for contract in CONTRACTS if contract["type"] == "independence"]
    # lint-imports refuses a name that is no package, and a package may come before its process.
    assert set(MODULES) <= set(contract["modules"]), f'pyproject.toml, the contract "{contract["name"]}"'


def test_each_list_of_packages_has_every_service() -> None:
    found = list(lists_with("chat_service", PROJECT))
    assert len(found) >= 9
    for packages in found:
        missing = set(MODULES) - set(packages)
        assert missing == set(), f"add to this list in pyproject.toml: {packages}"


def test_type_check_covers_every_service() -> None:
    typed = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("TYPED :="))
    assert set(MODULES) - set(typed.split()) == set(), "add to TYPED in the Makefile"
