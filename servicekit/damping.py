"""Damping of membership changes: a view that loses many members is held back, because etcd is the likelier fault."""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, TypeVar

from servicekit.clock import Clock

V = TypeVar("V")


def is_drastic(members: Collection[str], lost: Collection[str]) -> bool:
    """Return True if losing `lost` of `members` is too large a loss to apply immediately.

    That is a loss of more than one member and more than a third, or of all members: an empty ring can serve no key.
    """
    total, losses = len(set(members)), len(set(lost))
    return (losses > 1 and 3 * losses > total) or (total > 0 and losses == total)


class Damping(Generic[V]):
    """A filter that holds back a view with a drastic loss until `hold` seconds pass without a further loss.

    A held view is discarded if a later view has all active members again. Losses within `hold` seconds are added up,
    because an etcd that was frozen expires all leases one after the other. A further loss restarts the hold time; a
    member that returns does not.
    """

    def __init__(self, hold: float, clock: Clock) -> None:
        self._hold = hold
        self._clock = clock
        self._held: V | None = None
        self._held_losses: frozenset[str] = frozenset()
        self._due_at = 0.0
        self._lost_at: dict[str, float] = {}

    @property
    def remaining_s(self) -> float | None:
        """The seconds until the held view is due; None if no view is held."""
        return None if self._held is None else max(0.0, self._due_at - self._clock.monotonic())

    def admit(self, view: V, members: Collection[str], active: Collection[str]) -> bool:
        """Return True if `view` becomes active now; otherwise hold it back, and drop the view held before.

        `members` are the members of `view`, `active` those of the active view.
        """
        now = self._clock.monotonic()
        lost = frozenset(active) - frozenset(members)
        recent = {name for name, when in self._lost_at.items() if now - when < self._hold} - set(members)
        if not lost or (self._held is None and not is_drastic(recent.union(active), recent | lost)):
            self._held = None
            self._lost_at = {name: self._lost_at.get(name, now) for name in recent | lost}
            return True
        if self._held is None or lost - self._held_losses:
            self._due_at = now + self._hold
        self._held, self._held_losses = view, lost
        return False

    def take_due(self) -> V | None:
        """Return the held view once its hold time has passed, and release it; else None."""
        if self._held is None or self._clock.monotonic() < self._due_at:
            return None
        view, self._held = self._held, None
        self._lost_at.clear()
        return view
