"""Accounts and their profiles."""

from __future__ import annotations

from dataclasses import dataclass, field

from chat_service.accounts.privacy import PUBLIC, Privacy
from chat_service.accounts.user_search import SearchKeys, hidden_keys, search_keys


@dataclass(frozen=True, slots=True)
class Profile:
    """The public data of a user.

    `picture_media_id` is empty without a picture. The profile of a `deleted` user has only the id.
    """

    user_id: str
    login_name: str
    display_name: str
    picture_media_id: str = ""
    about: str = ""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """An account: a profile and its private data. `created_ms` is in milliseconds since 1970.

    `listed` is set once the account has claimed its login name: from then on searches find it. `deleting` is set once
    the deletion has begun: from then on no user sees the account. `password_hash` is empty for users of another
    issuer.
    """

    profile: Profile
    password_hash: str = field(repr=False)
    created_ms: int
    listed: bool = False
    privacy: Privacy = PUBLIC
    deleting: bool = False

    @property
    def search_keys(self) -> SearchKeys:
        """Return the keys by which searches find the account once it is listed."""
        if not self.privacy.found_by_search:
            return hidden_keys(self.profile.login_name)
        return search_keys(self.profile.login_name, self.profile.display_name)

    @property
    def user_id(self) -> str:
        """Return the id of the user."""
        return self.profile.user_id


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """A change of a profile; None leaves a field unchanged."""

    display_name: str | None = None
    picture_media_id: str | None = None
    about: str | None = None
