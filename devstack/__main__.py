"""The command line of `make run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from devstack.display import create_display
from devstack.errors import SetupError
from devstack.launcher import launch
from devstack.options import parse_options
from devstack.ports import Ports
from devstack.tracing import Tracing


def main(arguments: Sequence[str] | None = None) -> None:
    """Run Parley on one machine, with real servers; exit with a message if it cannot run."""
    options = parse_options(arguments)
    environment = {"PARLEY_LOG_LEVEL": options.log_level}
    ports = Ports(door=options.port, media=options.media_port, base=options.base_port)
    try:
        tracing = Tracing(options.otlp_endpoint, options.trace_ratio) if options.otlp_endpoint else None
        launch(
            options.folder, ports, options.chat_servers, environment, create_display(), tls=options.tls, tracing=tracing
        )
    except SetupError as trouble:
        sys.exit(str(trouble))
    except OSError as error:
        # A full disk, a read-only folder, a file where a folder is needed.
        sys.exit(
            f"Cannot use {error.filename or options.folder}: {error.strerror}. Make room there, or name another folder:"
            ' make run ARGS="--folder FOLDER"'
        )


if __name__ == "__main__":
    main()
