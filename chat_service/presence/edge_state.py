"""The devices, watches and pending changes of this edge, as frames of a report."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chat_service.model.delivery import AttachedSession
from parley.internal.v1.presence_report_pb2 import DeviceState, ReportRequest, Transition
from servicekit.clock import Clock
from servicekit.durations import to_duration

PAGE: Final = 1000
# Watches that are sent in one go.
WATCHES: Final = 100
# While no presence server answers, so many ends of sessions, and so many relations, are kept at most, the newest.
MAX_KEPT: Final = 10_000
OPEN_STATES: Final = (DeviceState.DEVICE_STATE_FOREGROUND, DeviceState.DEVICE_STATE_BACKGROUND)


_TimedTransition = tuple[float, Transition]


@dataclass(slots=True)
class _Device:
    session: AttachedSession
    state: DeviceState.ValueType
    sequence: int


class EdgeState:
    """Implements Reporter: the devices, watches and pending changes of this edge, as frames of a report. No call waits.

    A report sends `start_report` and then, whenever `changed` is set, `take_changes`; `acknowledge` takes the answers.
    The ends of sessions and the changed relations of a report that was not answered are sent by the next one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By session id.
        self._devices: dict[str, _Device] = {}
        # By device id: the watching user and the watched ones.
        self._watches: dict[str, tuple[str, Sequence[str]]] = {}
        # What the present report has not sent yet: transitions with their time, watches by device, relations.
        self._transitions: deque[_TimedTransition] = deque()
        self._changed_watches = dict[str, str]()
        self._relations: deque[tuple[str, str]] = deque(maxlen=MAX_KEPT)
        # What was sent and not acknowledged, by report_seq: ends of sessions, or a relation.
        self._unacknowledged: deque[tuple[int, list[_TimedTransition] | tuple[str, str]]] = deque()
        self._report_seq = 0
        self._reporting = False
        self.changed = asyncio.Event()

    def set_state(self, session: AttachedSession, state: DeviceState.ValueType) -> None:
        """See Reporter."""
        known = self._devices.get(session.session_id)
        if known is not None and known.state == state:
            return
        device = _Device(session, state, known.sequence + 1 if known is not None else 1)
        self._devices[session.session_id] = device
        # Without a report, the next snapshot has what is open.
        if self._reporting or state not in OPEN_STATES:
            self._transitions.append((self._clock.monotonic(), _transition(device)))
            self._forget_oldest()
        self.changed.set()

    def end_session(self, session: AttachedSession, state: DeviceState.ValueType) -> None:
        """See Reporter."""
        if session.session_id in self._devices:
            self.set_state(session, state)
            del self._devices[session.session_id]

    def watch(self, user_id: str, device_id: str, watched: Sequence[str]) -> None:
        """See Reporter."""
        if watched:
            self._watches[device_id] = user_id, watched
        elif self._watches.pop(device_id, None) is None:
            return
        self._changed_watches[device_id] = user_id
        self.changed.set()

    def change_relation(self, user_id: str, other_id: str) -> None:
        """See Reporter."""
        self._relations.append((user_id, other_id))
        self.changed.set()

    def start_report(self) -> list[ReportRequest]:
        """Return what earlier reports did not deliver, and the snapshot of all devices; watches follow as changes."""
        self._keep_unacknowledged()
        self._changed_watches = {device_id: user_id for device_id, (user_id, _) in self._watches.items()}
        self._report_seq, self._reporting = 0, True
        self.changed.set()
        ends = [self._take_transitions() for _ in range(0, len(self._transitions), PAGE)]
        devices = [_transition(each) for each in self._devices.values() if each.state in OPEN_STATES]
        pages = [devices[start : start + PAGE] for start in range(0, max(len(devices), 1), PAGE)]
        return ends + [
            ReportRequest(snapshot=ReportRequest.Snapshot(devices=page, last=page is pages[-1])) for page in pages
        ]

    def take_changes(self) -> Iterator[ReportRequest]:
        """Yield what the present report has not sent yet; what changes meanwhile does not wait for many watches."""
        self.changed.clear()
        while self._transitions or self._relations or self._changed_watches:
            while self._transitions:
                yield self._take_transitions()
            while self._relations:
                yield self._take_relation()
            for _ in range(min(len(self._changed_watches), WATCHES)):
                yield self._take_watch()

    def acknowledge(self, report_seq: int) -> None:
        """Forget what was sent in frames up to `report_seq`, which are kept now."""
        while self._unacknowledged and self._unacknowledged[0][0] <= report_seq:
            self._unacknowledged.popleft()

    def end_report(self) -> None:
        """Keep what the report that has ended did not send, or was not acknowledged."""
        self._reporting = False
        self._keep_unacknowledged()

    def _keep_unacknowledged(self) -> None:
        ends = [each for each in self._transitions if each[1].state not in OPEN_STATES]
        relations = list(self._relations)
        for _, sent in reversed(self._unacknowledged):
            if isinstance(sent, tuple):
                relations.insert(0, sent)
            else:
                ends = sent + ends
        self._unacknowledged.clear()
        self._transitions, self._relations = deque(ends), deque(relations, maxlen=MAX_KEPT)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while not self._reporting and len(self._transitions) > MAX_KEPT:
            self._transitions.popleft()

    def _take_transitions(self) -> ReportRequest:
        now, taken = self._clock.monotonic(), list[_TimedTransition]()
        while self._transitions and len(taken) < PAGE:
            time, transition = self._transitions.popleft()
            transition.age.CopyFrom(to_duration(max(0.0, now - time)))
            taken.append((time, transition))
        self._report_seq += 1
        self._unacknowledged.append((self._report_seq, [each for each in taken if each[1].state not in OPEN_STATES]))
        transitions = [transition for _, transition in taken]
        frame = ReportRequest.Transitions(report_seq=self._report_seq, transitions=transitions)
        return ReportRequest(transitions=frame)

    def _take_watch(self) -> ReportRequest:
        device_id = next(iter(self._changed_watches))
        user_id = self._changed_watches.pop(device_id)
        _, watched = self._watches.get(device_id, (user_id, ()))
        return ReportRequest(watch=ReportRequest.Watch(user_id=user_id, device_id=device_id, watched_user_ids=watched))

    def _take_relation(self) -> ReportRequest:
        user_id, other_id = relation = self._relations.popleft()
        self._report_seq += 1
        self._unacknowledged.append((self._report_seq, relation))
        return ReportRequest(
            relation_changed=ReportRequest.RelationChanged(
                user_id=user_id, other_user_id=other_id, report_seq=self._report_seq
            )
        )


def _transition(device: _Device) -> Transition:
    return Transition(
        user_id=device.session.user_id,
        device_id=device.session.device_id,
        session_id=device.session.session_id,
        state=device.state,
        sequence=device.sequence,
    )
