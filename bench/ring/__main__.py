"""The command line of the simulation of the ring: `python -m bench.ring`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.capacity.assumption import OutOfBounds, add_options, given_values
from bench.ring.plots import draw_plots
from bench.ring.report import format_simulation
from bench.ring.ring_model import RingModel
from bench.ring.simulation import simulate
from bench.svg_chart import TooManyLines

SERVERS: Final = (5, 10, 30, 100, 300, 1000)
ENVOYS: Final = (5, 20)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and write the plots if a folder is given. Exit with a message if an option is out of bounds."""
    options = create_parser().parse_args(arguments)
    try:
        model = RingModel(**given_values(options, RingModel))
        simulation = simulate(model, options.servers, options.envoys)
        if options.plots:
            for name, text in draw_plots(simulation, int(model.group_size)).items():
                Path(options.plots, name).write_text(text, encoding="utf-8")
    except (OutOfBounds, TooManyLines) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")
    print("\n".join(format_simulation(simulation, model, options.envoys)))


def create_parser() -> ArgumentParser:
    """Return the parser of the options: those of the command, and one for each parameter of the model."""
    parser = ArgumentParser(prog="python -m bench.ring", description=__doc__)
    parser.add_argument(
        "--servers", type=_parse_servers, nargs="+", default=SERVERS, metavar="N", help="compare these chat servers"
    )
    parser.add_argument(
        "--envoys", type=_parse_servers, nargs="+", default=ENVOYS, metavar="N", help="compare these Envoys"
    )
    parser.add_argument("--plots", metavar="FOLDER", help="write the plots, ring-*.svg, to this folder")
    add_options(parser, "parameters", RingModel)
    return parser


def _parse_servers(text: str) -> int:
    """Return the number of servers. Raise ArgumentTypeError if one of them could not leave the others."""
    if not text.isdecimal() or int(text) < 2:
        raise ArgumentTypeError(f"must be a whole number of at least 2, not {text}")
    return int(text)


if __name__ == "__main__":
    main()
