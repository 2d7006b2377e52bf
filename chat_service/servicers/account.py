"""AccountService: signing in, devices, profiles, privacy, blocks and archives."""

from __future__ import annotations

from typing import Final

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.blocking import BlockService
from chat_service.accounts.people import ProfileService
from chat_service.history.history import History
from chat_service.servicers.export import ExportCalls
from chat_service.servicers.people import PeopleCalls
from chat_service.servicers.sign_in import SignInCalls
from servicekit.clock import Clock

OPEN_METHODS: Final = frozenset({"Register", "Login", "RefreshToken"})
# What signs a device out may be asked for again by it: to end its streams, or the account, in case it was cut short.
ADMITTED_ANYWAY: Final = frozenset({"Logout", "DeleteAccount"})
NOT_YET_SERVED: Final[frozenset[str]] = frozenset()


class AccountServicer(SignInCalls, PeopleCalls, ExportCalls):
    """Serves AccountService."""

    def __init__(
        self, accounts: Accounts, people: ProfileService, blocking: BlockService, history: History, clock: Clock
    ) -> None:
        SignInCalls.__init__(self, accounts)
        PeopleCalls.__init__(self, people, blocking)
        ExportCalls.__init__(self, accounts, people, blocking, history, clock)
