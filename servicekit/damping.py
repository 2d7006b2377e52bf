"""When a new view of the ring comes into force: at once, unless it loses so much that etcd is likelier to be ill."""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, TypeVar

from servicekit.clock import Clock

V = TypeVar("V")


def is_drastic(members: Collection[str], left: Collection[str]) -> bool:
    """Whether `members` without those who `left` is too great a loss to believe at once.

    More than a third and more than one of them; or all of them, since a ring without members helps nobody.
    """
    count, lost = len(set(members)), len(set(left))
    return (lost > 1 and 3 * lost > count) or (count > 0 and lost == count)


class Damping(Generic[V]):
    """Holds a view with a drastic loss back until it has stood for `hold` seconds, or nobody is lost any more.

    Every further member that is lost meanwhile starts the time anew; one that comes back does not.
    """

    def __init__(self, hold: float, clock: Clock) -> None:
        self._hold = hold
        self._clock = clock
        self._held: V | None = None
        self._lost: frozenset[str] = frozenset()
        self._until = 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds until a view held back is due; None when there is none."""
        return None if self._held is None else max(0.0, self._until - self._clock.monotonic())

    def admit(self, view: V, members: Collection[str], in_force: Collection[str]) -> bool:
        """Whether `view` comes into force now; if not, it is held back in place of the one before."""
        lost = frozenset(in_force) - frozenset(members)
        if not lost or (self._held is None and not is_drastic(in_force, lost)):
            self._held = None
            return True
        if self._held is None or lost - self._lost:
            self._until = self._clock.monotonic() + self._hold
        self._held, self._lost = view, lost
        return False

    def due(self) -> V | None:
        """The view held back, once, when it has stood for long enough."""
        if self._held is None or self._clock.monotonic() < self._until:
            return None
        view, self._held = self._held, None
        return view
