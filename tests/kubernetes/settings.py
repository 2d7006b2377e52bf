"""The settings that the services read, for comparison with what manifests set."""

from __future__ import annotations

import importlib
from typing import get_args

from pydantic import SecretStr

from servicekit.config import ENV_PREFIX, Settings
from servicekit.settings import ServiceSettings


def settings_of(service: str) -> type[Settings]:
    """Return the settings class of a service."""
    module = importlib.import_module(f"{service}_service.settings")
    [found] = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, ServiceSettings) and each.__module__ == module.__name__
    ]
    return found


def variables_of(settings: type[Settings]) -> set[str]:
    """Return the variables that a service reads."""
    return {ENV_PREFIX + name.upper() for name in settings.model_fields}


def secret_variables_of(settings: type[Settings]) -> set[str]:
    """Return the variables whose values nobody but the service may read."""
    return {
        ENV_PREFIX + name.upper()
        for name, info in settings.model_fields.items()
        if SecretStr in (info.annotation, *get_args(info.annotation))
    }


def required_variables_of(settings: type[Settings]) -> set[str]:
    """Return the variables without which a service does not start."""
    return {ENV_PREFIX + name.upper() for name, info in settings.model_fields.items() if info.is_required()}
