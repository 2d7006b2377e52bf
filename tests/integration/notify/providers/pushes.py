"""Pushes for the tests of this folder."""

from __future__ import annotations

from notify_service.model.push import Notification, Withdrawal

MESSAGE = Notification(
    collapse_id="conversation-7",
    conversation_id="0123456789abcdef0123456789abcdef",
    seq=12,
    title="Alice",
    body="Shall we meet at eight? 🎉",
    badge=3,
    lifetime_s=3600,
    language="de-AT",
)

# A text whose first thousand characters no provider can carry: characters of three and four bytes, and what JSON
# escapes.
LONG_TEXT = '👍🏽🎉🎈😀🎊"€' * 2000

READ = Withdrawal(
    collapse_id=MESSAGE.collapse_id,
    conversation_id=MESSAGE.conversation_id,
    seq=MESSAGE.seq,
    badge=0,
    lifetime_s=3600,
)
