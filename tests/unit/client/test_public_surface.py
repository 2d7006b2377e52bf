"""The public surface of the SDK: what an exported class returns or takes is exported, documented and typed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Final, get_type_hints

import pytest

import parley_client
from parley_client import Accounts, Client, Conversations, Messages, Presence

EXPORTED: Final = {name: getattr(parley_client, name) for name in parley_client.__all__}
CLASSES: Final = {name: each for name, each in EXPORTED.items() if isinstance(each, type)}
# Parts of an exported class that applications do not construct.
INTERNAL: Final = {"AuthenticatedCalls", "Channel", "ServerClock", "TokenSource"}


def members(kind: type) -> Iterator[tuple[str, FunctionType]]:
    """Yield the public methods and the getters of the properties that a class defines, and its constructor."""
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if isinstance(function, FunctionType) and (name == "__init__" or not name.startswith("_")):
            yield name, function


def classes_of_the_sdk() -> set[str]:
    names: set[str] = set()
    for module in pkgutil.iter_modules(parley_client.__path__, "parley_client."):
        loaded = importlib.import_module(module.name)
        names |= {
            name for name, each in vars(loaded).items() if inspect.isclass(each) and each.__module__ == loaded.__name__
        }
    return names


@pytest.mark.parametrize("name", CLASSES)
def test_public_members_are_documented_and_typed(name: str) -> None:
    for member, function in members(CLASSES[name]):
        if member != "__init__" and function.__module__.startswith("parley_client"):
            assert function.__doc__, f"{name}.{member}"
            assert "return" in function.__annotations__, f"{name}.{member}"


@pytest.mark.parametrize("name", CLASSES)
def test_classes_in_signatures_are_exported(name: str) -> None:
    ours = classes_of_the_sdk() - INTERNAL - set(EXPORTED)
    for member, function in members(CLASSES[name]):
        named = set(re.findall(r"\w+", " ".join(map(str, function.__annotations__.values()))))
        assert named & ours == set(), f"{name}.{member}"


def test_parts_of_a_client_are_typed_properties() -> None:
    parts = {"accounts": Accounts, "conversations": Conversations, "messages": Messages, "presence": Presence}
    for name, part in parts.items():
        assert get_type_hints(getattr(Client, name).fget)["return"] is part
    shown = inspect.getdoc(Client)
    assert shown is not None
    assert "async with Client" in shown
