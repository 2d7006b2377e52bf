"""The command `parley`: accounts, messages, groups, a live chat and the demo, from a terminal."""

from parley_client.cli.app import main

__all__ = ["main"]
