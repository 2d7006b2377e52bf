"""Accounts between the contract's messages and the domain's dataclasses."""

from __future__ import annotations

from chat_service.accounts.account import Profile, ProfileChange
from chat_service.accounts.devices import Device, DeviceDescription, Platform
from chat_service.accounts.privacy import Privacy, PrivacyChange, WhoMayAdd
from chat_service.accounts.profiles import ProfilePage
from chat_service.accounts.sign_in_sessions import SignInSession
from chat_service.errors import Invalid
from chat_service.wire.entries import to_timestamp
from parley.chat.v1 import account_pb2
from servicekit.failure import Violation


def session_to_proto(session: SignInSession) -> account_pb2.Session:
    """A session as a device gets it."""
    return account_pb2.Session(
        user_id=session.user_id,
        device_id=session.device_id,
        access_token=session.access_token,
        access_token_expire_time=to_timestamp(round(session.access_token_expires_at * 1000)),
        refresh_token=session.refresh_token,
        home=session.home,
    )


def device_from_proto(told: account_pb2.DeviceDescription) -> DeviceDescription:
    """What a device tells about itself."""
    return DeviceDescription(told.name, Platform(told.platform), told.device_id)


def first_device_from_proto(told: account_pb2.DeviceDescription) -> DeviceDescription:
    """What the first device of an account tells about itself. Raises Invalid when it has an id already."""
    if told.device_id:
        violation = Violation("device.device_id", "must be empty: a new account has no devices")
        raise Invalid("a new account has no devices", violations=(violation,))
    return device_from_proto(told)


def device_to_proto(device: Device, calling_device_id: str) -> account_pb2.Device:
    """A device as the user who owns it sees it."""
    return account_pb2.Device(
        device_id=device.device_id,
        name=device.name,
        platform=account_pb2.Platform.ValueType(device.platform),
        create_time=to_timestamp(device.created_ms),
        last_seen_time=to_timestamp(device.seen_ms),
        current=device.device_id == calling_device_id,
    )


def profile_to_proto(profile: Profile) -> account_pb2.Profile:
    """What others see of a user."""
    return account_pb2.Profile(
        user_id=profile.user_id,
        login_name=profile.login_name,
        display_name=profile.display_name,
        picture_media_id=profile.picture_media_id,
        about=profile.about,
        deleted=profile.deleted,
    )


def profile_change_from_proto(request: account_pb2.UpdateProfileRequest) -> ProfileChange:
    """What shall become of a profile."""
    return ProfileChange(
        display_name=request.display_name if request.HasField("display_name") else None,
        picture_media_id=request.picture_media_id if request.HasField("picture_media_id") else None,
        about=request.about if request.HasField("about") else None,
    )


def privacy_to_proto(privacy: Privacy) -> account_pb2.Privacy:
    """What a user lets others do."""
    return account_pb2.Privacy(
        who_may_add=account_pb2.WhoMayAdd.ValueType(privacy.who_may_add), found_by_search=privacy.found_by_search
    )


def privacy_change_from_proto(request: account_pb2.UpdatePrivacyRequest) -> PrivacyChange:
    """What shall become of a privacy."""
    return PrivacyChange(
        who_may_add=WhoMayAdd(request.who_may_add) if request.who_may_add else None,
        found_by_search=request.found_by_search if request.HasField("found_by_search") else None,
    )


def page_to_proto(page: ProfilePage) -> account_pb2.SearchUsersResponse:
    """A page of users."""
    return account_pb2.SearchUsersResponse(
        profiles=[profile_to_proto(each) for each in page.profiles], next_page_token=page.next_page_token
    )
