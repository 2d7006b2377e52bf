"""Reading what was written: ranges of logs, messages as shown, conversations with heads and unread counts."""
