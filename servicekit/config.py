"""Configuration: settings from the environment as one frozen object per service, and errors for the operator."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "PARLEY_"

# A type and a subtype, each a restricted name of RFC 6838, or all subtypes.
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]{1,63}/([\w!#$&^.+-]{1,63}|\*)", re.ASCII)

T = TypeVar("T")


class ConfigurationError(Exception):
    """A configuration that the operator must correct; the message is one or more sentences for a terminal."""


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[v6]:port`. Raise ValueError if `address` has another form."""
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
    return tuple(_validate_address(address) for address in value)


def _validate_media_types(value: tuple[str, ...]) -> tuple[str, ...]:
    for media_type in value:
        if _MEDIA_TYPE.fullmatch(media_type) is None:
            raise ValueError("must name media types, such as image/png or image/*")
    return tuple(media_type.lower() for media_type in value)


Address = Annotated[str, AfterValidator(_validate_address)]
"""An address of the form `host:port`."""

Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas), AfterValidator(_validate_addresses)]
"""One or more addresses of the form `host:port`, separated by commas."""


MediaTypes = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas), AfterValidator(_validate_media_types)
]
"""Media types of the form `image/png` or `image/*`, separated by commas; may be empty."""


class Settings(BaseSettings):
    """The base class of a service's settings: a field `some_name` is read from `PARLEY_SOME_NAME`.

    Secrets must be `SecretStr`, so that logs never contain them.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Return the settings of the environment; `overrides` take precedence. Raise ConfigurationError."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise ConfigurationError(_format_errors(error)) from None


def describe_settings(settings: Settings) -> dict[str, str]:
    """Return the settings in order of name, without secrets: by variable its value as text, empty if it is not set."""
    values = {name: getattr(settings, name) for name in sorted(type(settings).model_fields)}
    return {
        ENV_PREFIX + name.upper(): _format_value(value)
        for name, value in values.items()
        if not isinstance(value, SecretStr)
    }


def _format_value(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
    return str(value)


def read_file(path: Path, parse: Callable[[bytes], T], description: str) -> T:
    """Return the parsed contents of a file. Raise ConfigurationError if it cannot be read or parsed.

    `description` names the expected contents in the error message, for example "a JWKS".
    """
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"Cannot read {description} from {path}: {error.strerror}.") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not {description}: {error}.") from None


def _format_errors(error: ValidationError) -> str:
    return "\n".join(_format_error(item["loc"], item["type"], item["msg"]) for item in error.errors())


def _format_error(path: tuple[int | str, ...], kind: str, message: str) -> str:
    if not path:
        return f"The settings are wrong: {_describe(message)}."
    name = ENV_PREFIX + str(path[0]).upper()
    return f"{name} is not set." if kind == "missing" else f"{name} is wrong: {_describe(message)}."


def _describe(message: str) -> str:
    """Return the message of pydantic as the end of a sentence: "must be a valid number"."""
    return message.removeprefix("Value error, ").replace("Input should", "must", 1).partition(", unable to ")[0]
