"""The public contract contains the promised services and methods."""

import importlib

import pytest

SERVICES = {
    "parley.chat.v1.chat": ("ChatService", {"Connect", "Subscribe", "SendMessage", "ListChanges", "Locate"}),
    "parley.chat.v1.conversation": (
        "ConversationService",
        {"GetOrCreateDirect", "CreateGroup", "ListConversations"},
    ),
    "parley.chat.v1.account": ("AccountService", {"Register", "Login", "RefreshToken", "Logout"}),
    "parley.presence.v1.presence": ("PresenceService", {"GetPresence", "WatchPresence", "SetVisibility"}),
    "parley.media.v1.media": (
        "MediaService",
        {
            "CreateUpload",
            "CompleteUpload",
            "AbortUpload",
            "Upload",
            "GetMedia",
            "GetDownloadUrl",
            "Download",
        },
    ),
    "parley.notify.v1.notify": (
        "NotifyService",
        {"RegisterPushToken", "UnregisterPushToken", "ListPushTokens", "SetPreferences"},
    ),
}


@pytest.mark.parametrize("module", SERVICES)
def test_service_has_its_methods(module: str) -> None:
    name, methods = SERVICES[module]
    descriptor = importlib.import_module(f"{module}_pb2").DESCRIPTOR.services_by_name[name]
    assert methods <= set(descriptor.methods_by_name)
