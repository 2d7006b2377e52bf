"""The options of `make run`: standard library only, so that `--help` needs no environment.

`python3 -m devstack.options --help` prints them, also on a Python that is too old to run the stack.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

CHAT_SERVERS: Final = 2
MAX_CHAT_SERVERS: Final = 20
DEFAULT_DOOR: Final = 8080
"""The port that the `parley` command connects to by default."""
DEFAULT_MEDIA_PORT: Final = 8090
DEFAULT_BASE_PORT: Final = 5100
DEFAULT_TRACE_RATIO: Final = 0.01
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options by name, such as `chat_servers` and `log_level`.

    Exit on `--help` and on errors. Without `arguments` those of the process are parsed.
    """
    parser = argparse.ArgumentParser(
        prog='make run ARGS="…"',
        usage='make run ARGS="[--chat-servers N] [--port N] [--media-port N] [--base-port N] [--folder FOLDER] '
        '[--tls] [--otlp-endpoint URL] [--trace-ratio N] [--log-level LEVEL]"',
        description="Start the stores, Envoy and the services, and keep them running until Ctrl-C.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    servers = f"the number of chat servers in the ring, 0 to {MAX_CHAT_SERVERS}"
    between = _integer_between(0, MAX_CHAT_SERVERS)
    parser.add_argument("--chat-servers", type=between, default=CHAT_SERVERS, metavar="N", help=servers)
    port = _integer_between(1, 65535)
    parser.add_argument("--port", type=port, default=DEFAULT_DOOR, metavar="N", help="the port of Envoy, for calls")
    presigned = "the port of Envoy for presigned addresses of media"
    parser.add_argument("--media-port", type=port, default=DEFAULT_MEDIA_PORT, metavar="N", help=presigned)
    block = "the first of the 200 ports of the servers behind Envoy"
    base_port = _integer_between(1, 65335)
    parser.add_argument("--base-port", type=base_port, default=DEFAULT_BASE_PORT, metavar="N", help=block)
    folder = "the folder of data, secrets and logs"
    parser.add_argument("--folder", type=Path, default=Path(".parley"), metavar="FOLDER", help=folder)
    tls = "speak TLS with clients and between the services, as TLS=1 does; the certificates are in FOLDER/tls"
    parser.add_argument("--tls", action="store_true", help=tls)
    endpoint = "an OTLP receiver for traces, http://host:4318; unset: nothing is traced"
    parser.add_argument("--otlp-endpoint", metavar="URL", help=endpoint)
    ratio = "the share of messages and calls that is traced, above 0 and at most 1"
    parser.add_argument("--trace-ratio", type=_share, default=DEFAULT_TRACE_RATIO, metavar="N", help=ratio)
    level = f"the log level of the services: {', '.join(LOG_LEVELS)}"
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info", metavar="LEVEL", help=level)
    return parser.parse_args(arguments)


def _integer_between(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {least} to {most}")
        return int(text)

    return parse


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and up to 1")
    return share


if __name__ == "__main__":
    parse_options()
