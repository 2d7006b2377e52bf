"""Settings from the environment into one frozen object per service, and mistakes told in sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "PARLEY_"

T = TypeVar("T")


class ConfigurationError(Exception):
    """What the person who starts the service can mend, in sentences for a terminal."""


def split_address(address: str) -> tuple[str, int]:
    """`host:port` (or `[v6]:port`) as its two halves. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:5101")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _validate_address(value: str) -> str:
    split_address(value)
    return value


def _split_at_commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _validate_addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must name at least one host:port")
    return tuple(_validate_address(each) for each in value)


Address = Annotated[str, AfterValidator(_validate_address)]
"""`host:port`."""

Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas), AfterValidator(_validate_addresses)]
"""One or more `host:port`, separated by commas."""


class Settings(BaseSettings):
    """The base of a service's settings: every field `some_name` is read from `PARLEY_SOME_NAME`.

    Secrets are `SecretStr`, so that they never show in a log.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    @classmethod
    def load(cls, **given: Any) -> Self:
        """The settings as the environment has them, `given` first. Raises ConfigurationError."""
        try:
            return cls(**given)
        except ValidationError as error:
            raise ConfigurationError(_format_errors(error)) from None


def read_file(path: Path, parse: Callable[[bytes], T], description: str) -> T:
    """The contents of a file; `what` says in words what it should be. Raises ConfigurationError."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"Cannot read {description} from {path}: {error.strerror}.") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not {description}: {error}.") from None


def _format_errors(error: ValidationError) -> str:
    return "\n".join(_format_error(each["loc"], each["type"], each["msg"]) for each in error.errors())


def _format_error(path: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ENV_PREFIX + "_".join(str(part) for part in path[:1]).upper() if path else "The settings"
    if kind == "missing":
        return f"{name} is not set."
    return f"{name} is wrong: {message.removeprefix('Value error, ')}."
