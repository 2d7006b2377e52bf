"""An account and what others see of it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from chat_service.accounts.privacy import PUBLIC, Privacy
from chat_service.accounts.user_search import SearchKeys, hidden_keys, search_keys


@dataclass(frozen=True, slots=True)
class Profile:
    """What others may see of a user. `picture_media_id` is empty when there is no picture.

    Of one who is `deleted` nothing but the id.
    """

    user_id: str
    login_name: str
    display_name: str
    picture_media_id: str = ""
    about: str = ""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """An account: its profile, and what only we know of it.

    `listed` is set once the login name is its own: from then on it is found by searches. `leaving` is set once it is
    to be deleted: then it is gone for everybody.
    """

    profile: Profile
    password_hash: str
    created_ms: int
    listed: bool = False
    privacy: Privacy = PUBLIC
    deleting: bool = False

    @property
    def search_keys(self) -> SearchKeys:
        """By what searches find the account, once it is listed."""
        if not self.privacy.found_by_search:
            return hidden_keys(self.profile.login_name)
        return search_keys(self.profile.login_name, self.profile.display_name)

    @property
    def user_id(self) -> str:
        """Whose account it is."""
        return self.profile.user_id


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """What shall become of a profile; None leaves it."""

    display_name: str | None = None
    picture_media_id: str | None = None
    about: str | None = None


def normalize_display_name(name: str) -> str:
    """A display name on one line: control characters dropped, runs of white space made one space."""
    spaced = " ".join(name.split())
    return "".join(char for char in spaced if unicodedata.category(char) != "Cc")
