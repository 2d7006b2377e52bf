"""No dataclass prints a token, a password or a hash of one: what is printed ends up in logs."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Final

import pytest

import chat_service
import notify_service
import parley_client
import servicekit
from chat_service.accounts.account import Account, Profile
from chat_service.accounts.sign_in_sessions import SignInSession
from parley_client import Session
from servicekit.config import Settings

SECRET: Final = re.compile(r"(access_|refresh_|^)token|password|secret(?!s_)|credential|private_key|cookie")
# A token of a page or of a lane is no secret, and a time or a limit of a token is none either.
PLAIN: Final = re.compile(r"page_token|_(ends|expires_at|seconds|bytes|lifetime\w*)$|^tokens$|^token_url$")


def dataclasses_of(package: str, path: list[str]) -> Iterator[type]:
    """Yield the dataclasses that the modules of a package define."""
    for module in pkgutil.walk_packages(path, f"{package}."):
        if module.name.endswith("__main__"):
            continue
        loaded = importlib.import_module(module.name)
        for each in vars(loaded).values():
            if isinstance(each, type) and is_dataclass(each) and each.__module__ == module.name:
                yield each


def printed_secrets(kind: type) -> list[str]:
    """Return the fields of a dataclass whose names say that they are secret, and that its repr prints."""
    # The repr that `dataclass` makes is wrapped; another one chooses what it prints.
    if not hasattr(kind.__repr__, "__wrapped__"):
        return []
    return [
        each.name
        for each in fields(kind)
        if each.repr and SECRET.search(each.name) and not PLAIN.search(each.name) and each.type not in ("bool", "int")
    ]


def settings_of(base: type[Settings]) -> Iterator[type[Settings]]:
    """Yield the classes of settings of all services."""
    for each in base.__subclasses__():
        yield each
        yield from settings_of(each)


def test_settings_that_are_secret_are_of_a_type_that_nobody_is_shown() -> None:
    for service in ("chat_service", "media_service", "notify_service", "presence_service"):
        importlib.import_module(f"{service}.settings")
    named = {
        f"{settings.__name__}.{name}": info.annotation
        for settings in settings_of(Settings)
        if not settings.__module__.startswith("tests")
        for name, info in settings.model_fields.items()
        # The path of a file with a secret, or the names of a token's claims, are none.
        if re.search(r"secret|password|credential|token|mongo_uri|redis_url", name)
        and not re.search(r"_file$|^token_(issuer|audience|lifetime)$", name)
    }
    assert len(named) >= 4
    assert {name for name, kind in named.items() if "SecretStr" not in str(kind)} == set()


PACKAGES: Final = (parley_client, chat_service, notify_service, servicekit)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda each: each.__name__)
def test_dataclasses_print_no_secret(package: object) -> None:
    name, path = package.__name__, list(package.__path__)  # type: ignore[attr-defined]
    printed = {kind.__qualname__: secrets for kind in dataclasses_of(name, path) if (secrets := printed_secrets(kind))}
    assert printed == {}


def test_sessions_and_accounts_print_who_and_not_the_secret() -> None:
    session = Session("a-user", "a-device", "alice", "hush-1", 1.0, "hush-2")
    issued = SignInSession("a-user", "a-device", "hush-1", 1.0, "hush-2", "home:1")
    account = Account(Profile("a-user", "alice", "Alice"), "hush-3", 1)
    for each in (session, issued, account):
        assert "a-user" in repr(each)
        assert "hush" not in repr(each)
