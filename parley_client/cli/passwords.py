"""Passwords: from the environment, asked for on a terminal, or the first line of a pipe."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def _read_password(given: str) -> str:
    return given or _prompt_or_read_pipe(confirm=False)


def _read_chosen_password(given: str) -> str:
    return given or _prompt_or_read_pipe(confirm=True)


def _read_new_password(given: str) -> str:
    return given or _prompt_or_read_pipe(confirm=True, prompt="New password", variable="PARLEY_NEW_PASSWORD")


def _prompt_or_read_pipe(*, confirm: bool, prompt: str = "Password", variable: str = "PARLEY_PASSWORD") -> str:
    # What asks on a terminal would look for one behind the pipe too, or warn that it found none.
    if sys.stdin.isatty():
        asked: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm)
        return asked
    try:
        piped = sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise typer.BadParameter("what the pipe holds is not UTF-8.") from None
    if not piped:
        raise typer.BadParameter(f"pipe it in as a line, set {variable}, or run this on a terminal to be asked.")
    return piped


PasswordOption = Annotated[
    str,
    typer.Option(
        envvar="PARLEY_PASSWORD",
        callback=_read_password,
        help="Asked for if it is not given; from a pipe the first line is taken.",
        show_default=False,
    ),
]
ChosenPasswordOption = Annotated[
    str,
    typer.Option(
        envvar="PARLEY_PASSWORD",
        callback=_read_chosen_password,
        help="8 to 256 bytes. Asked for if it is not given; from a pipe the first line is taken.",
        show_default=False,
    ),
]
NewPasswordOption = Annotated[
    str,
    typer.Option(
        "--new",
        envvar="PARLEY_NEW_PASSWORD",
        callback=_read_new_password,
        help="8 to 256 bytes. Asked for if it is not given; from a pipe the second line is taken.",
        show_default=False,
    ),
]
