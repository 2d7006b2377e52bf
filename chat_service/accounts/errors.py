"""How accounts say no: one class a reason.

Failure
├── CredentialsInvalid, RefreshTokenInvalid, DeviceRevoked   UNAUTHENTICATED
├── PasswordTooWeak                                          INVALID_ARGUMENT
├── LoginNameTaken                                           ALREADY_EXISTS
├── DeviceNotFound                                           NOT_FOUND
├── TooManyDevices                                           RESOURCE_EXHAUSTED
└── SignInDisabled                                           PERMISSION_DENIED
"""

from __future__ import annotations

from typing import ClassVar

from servicekit.failure import Failure


class Unauthenticated(Failure):
    """The caller has not shown who it is."""

    default_code: ClassVar[str] = "UNAUTHENTICATED"


class CredentialsInvalid(Unauthenticated):
    """Login name or password is wrong; which of them is not told."""

    default_reason: ClassVar[str] = "CREDENTIALS_INVALID"


class RefreshTokenInvalid(Unauthenticated):
    """The refresh token is unknown, used up, or of a device that was signed out."""

    default_reason: ClassVar[str] = "REFRESH_TOKEN_INVALID"


class DeviceRevoked(Unauthenticated):
    """The device was signed out."""

    default_reason: ClassVar[str] = "DEVICE_REVOKED"


class PasswordTooWeak(Failure):
    """The new password is not acceptable."""

    default_code: ClassVar[str] = "INVALID_ARGUMENT"
    default_reason: ClassVar[str] = "PASSWORD_TOO_WEAK"


class LoginNameTaken(Failure):
    """The login name belongs to another account."""

    default_code: ClassVar[str] = "ALREADY_EXISTS"
    default_reason: ClassVar[str] = "LOGIN_NAME_TAKEN"


class DeviceNotFound(Failure):
    """No such device of the account."""

    default_code: ClassVar[str] = "NOT_FOUND"
    default_reason: ClassVar[str] = "DEVICE_NOT_FOUND"


class TooManyDevices(Failure):
    """The account has as many devices signed in as it may have."""

    default_code: ClassVar[str] = "RESOURCE_EXHAUSTED"
    default_reason: ClassVar[str] = "TOO_MANY_DEVICES"


class SignInDisabled(Failure):
    """This deployment signs its users in elsewhere."""

    default_code: ClassVar[str] = "PERMISSION_DENIED"
    default_reason: ClassVar[str] = "DISABLED"
