"""Passwords: from the environment, asked for on a terminal, or the first line of a pipe."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def _asked(given: str) -> str:
    return given or _from_person_or_pipe(again=False)


def _asked_twice(given: str) -> str:
    return given or _from_person_or_pipe(again=True)


def _new_asked_twice(given: str) -> str:
    return given or _from_person_or_pipe(again=True, words="New password", variable="PARLEY_NEW_PASSWORD")


def _from_person_or_pipe(*, again: bool, words: str = "Password", variable: str = "PARLEY_PASSWORD") -> str:
    # What asks on a terminal would look for one behind the pipe too, or warn that it found none.
    if sys.stdin.isatty():
        asked: str = typer.prompt(words, hide_input=True, confirmation_prompt=again)
        return asked
    try:
        piped = sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise typer.BadParameter("what the pipe holds is not UTF-8.") from None
    if not piped:
        raise typer.BadParameter(f"pipe it in as a line, set {variable}, or run this on a terminal to be asked.")
    return piped


Password = Annotated[
    str,
    typer.Option(
        envvar="PARLEY_PASSWORD",
        callback=_asked,
        help="Asked for if it is not given; from a pipe the first line is taken.",
        show_default=False,
    ),
]
NewPassword = Annotated[
    str,
    typer.Option(
        envvar="PARLEY_PASSWORD",
        callback=_asked_twice,
        help="8 to 256 bytes. Asked for if it is not given; from a pipe the first line is taken.",
        show_default=False,
    ),
]
AnotherPassword = Annotated[
    str,
    typer.Option(
        "--new",
        envvar="PARLEY_NEW_PASSWORD",
        callback=_new_asked_twice,
        help="8 to 256 bytes. Asked for if it is not given; from a pipe the second line is taken.",
        show_default=False,
    ),
]
