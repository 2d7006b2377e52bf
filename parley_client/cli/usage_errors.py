"""The errors of wrong options and arguments, in sentences of the command's own."""

from __future__ import annotations

from typing import Any, Final

import typer
from typer.core import TyperGroup

# By kind of the validation error, which typer passes on in the words of pydantic.
_SENTENCES: Final = {
    "value_error": "{error}",
    "int_parsing": "{input!r} is not a whole number.",
    "int_parsing_size": "{input!r} is too large.",
    "bool_parsing": "{input!r} is neither true nor false.",
    "greater_than_equal": "{input!r} is less than {ge}.",
    "less_than_equal": "{input!r} is greater than {le}.",
}


class ParleyGroup(TyperGroup):
    """The root of all commands: it reports a wrong value of any of their options and arguments in a sentence."""

    def invoke(self, ctx: Any) -> Any:
        """Parse the words of the command and run it. Raise BadParameter for a wrong value."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as refusal:
            refusal.message = _describe(refusal)
            raise


def _describe(refusal: typer.BadParameter) -> str:
    """Return what is wrong with a value; the message of `refusal` unless a validation error caused it."""
    # Versions of typer before 0.29 validate without pydantic.
    list_errors = getattr(refusal.__cause__, "errors", None)
    if list_errors is None:
        return refusal.message
    error = list_errors()[0]
    sentence = _SENTENCES.get(error["type"])
    if sentence is None:
        return refusal.message
    return sentence.format(input=error["input"], **error.get("ctx", {}))
