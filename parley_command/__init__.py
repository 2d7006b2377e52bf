"""The entry point of the `parley` command, which sets the environment before gRPC is loaded."""

import gc
import os
import sys

from parley_command.output import quiet_output

__all__ = ["main"]


def main() -> None:
    """Run the command. Ctrl-C exits with 130, without a traceback, even while modules are being loaded."""
    # gRPC's core would write its log lines between the lines of a chat. It reads this variable when it is loaded, and
    # any import of `parley_client` loads it; that is why this package is separate.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # What is loaded stays: the collector would look at it again and again, now and at the exit, for half a second.
    gc.disable()
    try:
        with quiet_output():
            from parley_client.cli.app import app
            from parley_command.admin.app import app as admin

            app.add_typer(admin, name="admin")
            gc.freeze()
            gc.enable()
            app()
    except KeyboardInterrupt:
        sys.exit(130)
