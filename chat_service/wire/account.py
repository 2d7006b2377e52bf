"""Conversion of accounts, devices and profiles between the domain's dataclasses and protobuf messages."""

from __future__ import annotations

from chat_service.accounts.account import Profile, ProfileChange
from chat_service.accounts.devices import Device, DeviceDescription, Platform
from chat_service.accounts.privacy import Privacy, PrivacyChange, WhoMayAdd
from chat_service.accounts.sign_in_sessions import SignInSession
from chat_service.model.names import normalize_name
from chat_service.wire.entries import to_timestamp
from parley.chat.v1 import account_pb2
from servicekit.errors import Invalid
from servicekit.failure import Violation


def session_to_proto(session: SignInSession) -> account_pb2.Session:
    """Return the session of a sign-in response."""
    return account_pb2.Session(
        user_id=session.user_id,
        device_id=session.device_id,
        access_token=session.access_token,
        access_token_expire_time=to_timestamp(round(session.access_token_expires_at * 1000)),
        refresh_token=session.refresh_token,
        home=session.home,
    )


def device_from_proto(description: account_pb2.DeviceDescription) -> DeviceDescription:
    """Return a device's description of itself."""
    return DeviceDescription(normalize_name(description.name), Platform(description.platform), description.device_id)


def first_device_from_proto(description: account_pb2.DeviceDescription) -> DeviceDescription:
    """Return the description of the first device of an account. Raise Invalid if it has an id already."""
    if description.device_id:
        violation = Violation("device.device_id", "must be empty: a new account has no devices")
        raise Invalid("a new account has no devices", violations=(violation,))
    return device_from_proto(description)


def device_to_proto(device: Device, calling_device_id: str) -> account_pb2.Device:
    """Return a device for its own user; `current` is set for the calling device."""
    return account_pb2.Device(
        device_id=device.device_id,
        name=device.name,
        platform=account_pb2.Platform.ValueType(device.platform),
        create_time=to_timestamp(device.created_ms),
        last_seen_time=to_timestamp(device.seen_ms),
        current=device.device_id == calling_device_id,
    )


def profile_to_proto(profile: Profile) -> account_pb2.Profile:
    """Return a profile as other users see it."""
    return account_pb2.Profile(
        user_id=profile.user_id,
        login_name=profile.login_name,
        display_name=profile.display_name,
        picture_media_id=profile.picture_media_id,
        about=profile.about,
        deleted=profile.deleted,
    )


def profile_change_from_proto(request: account_pb2.UpdateProfileRequest) -> ProfileChange:
    """Return the change of a profile: None for each field the request does not set."""
    return ProfileChange(
        display_name=request.display_name if request.HasField("display_name") else None,
        picture_media_id=request.picture_media_id if request.HasField("picture_media_id") else None,
        about=request.about if request.HasField("about") else None,
    )


def privacy_to_proto(privacy: Privacy) -> account_pb2.Privacy:
    """Return the privacy settings of a user."""
    return account_pb2.Privacy(
        who_may_add=account_pb2.WhoMayAdd.ValueType(privacy.who_may_add), found_by_search=privacy.found_by_search
    )


def privacy_change_from_proto(request: account_pb2.UpdatePrivacyRequest) -> PrivacyChange:
    """Return the change of privacy settings: None for each field the request does not set."""
    return PrivacyChange(
        who_may_add=WhoMayAdd(request.who_may_add) if request.who_may_add else None,
        found_by_search=request.found_by_search if request.HasField("found_by_search") else None,
    )
