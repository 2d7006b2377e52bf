"""The notify service: push notifications for users none of whose devices is in the foreground."""
