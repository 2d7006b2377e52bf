"""A parameter of the model: a field of a dataclass with a default, a unit and a meaning, which is an option too."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from math import ceil, inf
from typing import Any


class OutOfBounds(ValueError):
    """A parameter is outside of its bounds; the message names its option."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a model: its name as an attribute, its default, its unit, its meaning and its bounds.

    `whole` is True for a number of things that cannot be divided.
    """

    name: str
    default: float
    unit: str
    meaning: str
    minimum: float
    maximum: float
    whole: bool

    @property
    def option(self) -> str:
        """The option of the command, such as `--peak-factor`."""
        return f"--{self.name.replace('_', '-')}"

    def nearest(self, value: float) -> float:
        """Return the value within the bounds that is nearest to `value`; a whole number is rounded up."""
        return min(max(ceil(value) if self.whole else value, self.minimum), self.maximum)


def assumption(
    default: float, unit: str, meaning: str, minimum: float = 0.0, maximum: float = inf, whole: bool = False
) -> Any:
    """Return a field of a model; its value is from `minimum` to `maximum`, both included, and finite."""
    metadata = {"unit": unit, "meaning": meaning, "minimum": minimum, "maximum": maximum, "whole": whole}
    return field(default=default, metadata=metadata)


def share(default: float, meaning: str, minimum: float = 0.0) -> Any:
    """Return a field of a model that is a fraction."""
    return assumption(default, "", meaning, minimum, 1.0)


def count(default: float, meaning: str, minimum: float = 1.0) -> Any:
    """Return a field of a model that is a whole number."""
    return assumption(default, "", meaning, minimum, whole=True)


def parameters(model: type[Any]) -> Iterator[Parameter]:
    """Yield the parameters of a model in their order."""
    for each in fields(model):
        default: Any = each.default
        yield Parameter(each.name, default, **each.metadata)


def check_bounds(model: Any) -> None:
    """Raise OutOfBounds if a parameter of `model` is outside of its bounds, infinite, no number, or should be whole."""
    for each in parameters(type(model)):
        value = getattr(model, each.name)
        if not (each.minimum <= value <= each.maximum and value < inf):
            upper = f"at most {each.maximum:g}" if each.maximum < inf else "finite"
            raise OutOfBounds(f"{each.option} must be at least {each.minimum:g} and {upper}, not {value:g}")
        if each.whole and value % 1:
            raise OutOfBounds(f"{each.option} must be a whole number, not {value:g}")


def add_options(parser: ArgumentParser, title: str, model: type[Any]) -> None:
    """Add an option for each parameter of a model, under a title of the help text."""
    group = parser.add_argument_group(title)
    for each in parameters(model):
        unit = f", {each.unit}" if each.unit else ""
        # argparse formats the help text, where a percent sign is special.
        text = f"{each.meaning}{unit} (default {each.default:g})".replace("%", "%%")
        group.add_argument(each.option, type=float, metavar="X", help=text)


def given_values(options: Namespace, model: type[Any]) -> Mapping[str, float]:
    """Return the parameters of a model that the command line gives."""
    values = {each.name: getattr(options, each.name) for each in parameters(model)}
    return {name: value for name, value in values.items() if value is not None}
