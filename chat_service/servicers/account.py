"""AccountService: signing in, devices, profiles, privacy and blocks."""

from __future__ import annotations

from typing import Final

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.blocking import Blocking
from chat_service.accounts.people import People
from chat_service.servicers.people import PeopleCalls
from chat_service.servicers.sign_in import SignInCalls

OPEN_METHODS: Final = frozenset({"Register", "Login", "RefreshToken"})
# Signing out again ends the streams of a device that was signed out, in case the first time did not.
ADMITTED_ANYWAY: Final = frozenset({"Logout"})
NOT_YET_SERVED: Final = frozenset({"DeleteAccount", "ExportAccount"})


class AccountServicer(SignInCalls, PeopleCalls):
    """Serves AccountService."""

    def __init__(self, accounts: Accounts, people: People, blocking: Blocking) -> None:
        SignInCalls.__init__(self, accounts)
        PeopleCalls.__init__(self, people, blocking)
