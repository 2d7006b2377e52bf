"""Password options, read from the environment, a terminal prompt or a line of a pipe.

A password on the command line works too, but other users of the machine see it in the list of processes.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def _read_password(value: str) -> str:
    return value or _prompt_or_read_pipe(confirm=False)


def _read_chosen_password(value: str) -> str:
    return value or _prompt_or_read_pipe(confirm=True)


def _read_new_password(value: str) -> str:
    return value or _prompt_or_read_pipe(confirm=True, prompt="New password", variable="PARLEY_NEW_PASSWORD")


def _prompt_or_read_pipe(*, confirm: bool, prompt: str = "Password", variable: str = "PARLEY_PASSWORD") -> str:
    # typer.prompt would open the controlling terminal even if stdin is a pipe, or warn that there is none.
    if sys.stdin.isatty():
        password: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm)
        return password
    try:
        line = sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise typer.BadParameter("the piped line is not UTF-8.") from None
    if not line:
        raise typer.BadParameter(f"pipe it in as a line, set {variable}, or run the command on a terminal.")
    return line


PasswordOption = Annotated[
    str,
    typer.Option(
        envvar="PARLEY_PASSWORD",
        callback=_read_password,
        help="Default: prompted for on a terminal, or the first line of a pipe. Others can see it on a command line.",
        show_default=False,
    ),
]
ChosenPasswordOption = Annotated[
    str,
    typer.Option(
        envvar="PARLEY_PASSWORD",
        callback=_read_chosen_password,
        help="8 to 256 bytes. Default: prompted for on a terminal, or the first line of a pipe. "
        "Others can see it on a command line.",
        show_default=False,
    ),
]
NewPasswordOption = Annotated[
    str,
    typer.Option(
        "--new",
        envvar="PARLEY_NEW_PASSWORD",
        callback=_read_new_password,
        help="8 to 256 bytes. Default: prompted for on a terminal, or the second line of a pipe. "
        "Others can see it on a command line.",
        show_default=False,
    ),
]
