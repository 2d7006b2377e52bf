"""A situation in which an alert fires, and others in which it does not, as series of samples a minute apart."""

from __future__ import annotations

from dataclasses import dataclass, field

Series = dict[str, str]
"""The samples of each series, in the notation of promtool: `0+5x60` rises by 5 a minute, `0x60` stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCase:
    """One alert: it fires with the labels `labels` at `minute` of `fires`, and at no minute of any of `quiet`.

    With `fires` it does not fire before the minute `earliest`, nor at the minute `over`. `fires_too` are further
    situations, each with the labels with which it fires at `minute`.
    """

    fires: Series
    quiet: tuple[Series, ...]
    labels: dict[str, str] = field(default_factory=dict)
    earliest: int = 0
    minute: int = 30
    over: int | None = None
    fires_too: tuple[tuple[Series, dict[str, str]], ...] = ()
