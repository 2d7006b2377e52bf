"""The domain model of chat: conversations, their entries and members. It imports no transport and no store."""
