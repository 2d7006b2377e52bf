"""Where the command `parley` begins: what must be true before anything of it is loaded."""

import os
import sys

__all__ = ["main"]


def main() -> None:
    """The entry point. Whoever is tired of waiting for it to begin may leave quietly too."""
    # What gRPC's core would write into a conversation is not for a person. It looks at this when it is loaded, which
    # any import of `parley_client` does; that is why this room is not in there.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from parley_client.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)
