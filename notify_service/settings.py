"""The settings of a notify server, read from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, model_validator
from pydantic_settings import NoDecode

from notify_service.providers.push_hosts import DEFAULT_HOSTS
from servicekit.config import Address, Settings
from servicekit.settings import MongoSettings, RedisSettings, ServiceSettings


def _split_at_commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
"""Names, separated by commas; may be empty."""


class ProviderSettings(Settings):
    """The settings of the push providers. A provider that is not set is not used."""

    # The JSON file of a service account of the Firebase project.
    fcm_service_account_file: Path | None = None
    # The .p8 file of Apple.
    apns_key_file: Path | None = None
    # The id of Apple's key.
    apns_key_id: str = ""
    # The id of the team at Apple.
    apns_team_id: str = ""
    # The bundle ids of the apps, separated by commas.
    apns_topics: Names = ()
    # The private key (PEM, P-256) of Web Push.
    vapid_key_file: Path | None = None
    # The contact for push services, mailto: or https:.
    vapid_subject: str = ""
    # The push services to which subscriptions of Web Push may lead.
    web_push_hosts: Names = DEFAULT_HOSTS
    # For development: pushes of all providers are appended to this file, a JSON object a line, and not sent.
    push_recording_file: Path | None = None
    # True: tokens without a key for the encryption of the content are refused.
    push_require_encryption: bool = False

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        """Refuse a provider that is set in part."""
        if self.apns_key_file is not None and not (self.apns_key_id and self.apns_team_id and self.apns_topics):
            raise ValueError(
                "PARLEY_APNS_KEY_FILE needs PARLEY_APNS_KEY_ID, PARLEY_APNS_TEAM_ID and PARLEY_APNS_TOPICS"
            )
        if self.vapid_key_file is not None and not self.vapid_subject:
            raise ValueError("PARLEY_VAPID_KEY_FILE needs PARLEY_VAPID_SUBJECT")
        return self


class NotifySettings(ServiceSettings, MongoSettings, RedisSettings, ProviderSettings):
    """The settings of a notify server."""

    # As for every service.
    listen: Address = "127.0.0.1:5401"
    # As for every service.
    internal_listen: Address = "127.0.0.1:6401"
