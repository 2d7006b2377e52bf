"""The failures of accounts: one class for each reason.

Failure
├── CredentialsInvalid, RefreshTokenInvalid, DeviceRevoked   UNAUTHENTICATED
├── PasswordTooWeak                                          INVALID_ARGUMENT
├── LoginNameTaken                                           ALREADY_EXISTS
├── DeviceNotFound                                           NOT_FOUND
└── TooManyDevices                                           RESOURCE_EXHAUSTED
"""

from __future__ import annotations

from typing import ClassVar

from servicekit.errors import Exhausted, Invalid, NotFound, Unauthenticated
from servicekit.failure import Failure


class CredentialsInvalid(Unauthenticated):
    """Login name or password is wrong. The failure does not tell which."""

    default_reason: ClassVar[str] = "CREDENTIALS_INVALID"


class RefreshTokenInvalid(Unauthenticated):
    """The refresh token is unknown, used up, or of a device that was signed out."""

    default_reason: ClassVar[str] = "REFRESH_TOKEN_INVALID"


class DeviceRevoked(Unauthenticated):
    """The device was signed out."""

    default_reason: ClassVar[str] = "DEVICE_REVOKED"


class PasswordTooWeak(Invalid):
    """The new password is not acceptable."""

    default_reason: ClassVar[str] = "PASSWORD_TOO_WEAK"


class LoginNameTaken(Failure):
    """The login name belongs to another account."""

    default_code: ClassVar[str] = "ALREADY_EXISTS"
    default_reason: ClassVar[str] = "LOGIN_NAME_TAKEN"


class DeviceNotFound(NotFound):
    """The account has no such device."""

    default_reason: ClassVar[str] = "DEVICE_NOT_FOUND"


class TooManyDevices(Exhausted):
    """The account has the maximum number of signed-in devices."""

    default_reason: ClassVar[str] = "TOO_MANY_DEVICES"
