"""The command `parley`: accounts, messages, groups, a live chat and the demo, from a terminal."""

import os
import sys

__all__ = ["main"]


def main() -> None:
    """The entry point. Whoever is tired of waiting for it to begin may leave quietly too."""
    # What gRPC's core would write into a conversation is not for a person.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from parley_client.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)
