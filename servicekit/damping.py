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

    Losses count together within `hold` seconds: an etcd that was frozen ends all leases, but one by one. Every further
    loss starts the time anew; a return does not.
    """

    def __init__(self, hold: float, clock: Clock) -> None:
        self._hold = hold
        self._clock = clock
        self._held: V | None = None
        self._lost: frozenset[str] = frozenset()
        self._until = 0.0
        self._let_go: dict[str, float] = {}

    @property
    def remaining(self) -> float | None:
        """Seconds until a view held back is due; None when there is none."""
        return None if self._held is None else max(0.0, self._until - self._clock.monotonic())

    def admit(self, view: V, members: Collection[str], in_force: Collection[str]) -> bool:
        """Whether `view` comes into force now; if not, it is held back in place of the one before."""
        now = self._clock.monotonic()
        lost = frozenset(in_force) - frozenset(members)
        recent = {name for name, when in self._let_go.items() if now - when < self._hold} - set(members)
        if not lost or (self._held is None and not is_drastic(recent.union(in_force), recent | lost)):
            self._held = None
            self._let_go = {name: self._let_go.get(name, now) for name in recent | lost}
            return True
        if self._held is None or lost - self._lost:
            self._until = now + self._hold
        self._held, self._lost = view, lost
        return False

    def due(self) -> V | None:
        """The view held back, once, when it has stood for long enough."""
        if self._held is None or self._clock.monotonic() < self._until:
            return None
        view, self._held = self._held, None
        self._let_go.clear()
        return view
