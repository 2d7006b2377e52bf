"""The presence of this edge: the states of its devices, and the presence sent to watching devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from chat_service.model.delivery import AttachedSession
from chat_service.stream.ports import Homes
from chat_service.stream.session import StreamSession
from chat_service.stream.session_registry import SessionRegistry
from chat_service.wire.presence import encode_presence
from parley.chat.v1 import chat_pb2
from parley.internal.v1.presence_report_pb2 import DeviceState, ReportResponse
from servicekit.clock import Clock
from servicekit.errors import Disabled, ServiceUnavailable
from servicekit.tasks import cancel_requested

# A device that has sent nothing for this time is offline, though its stream is open.
FOREGROUND_SILENCE_S: Final = 10.0
BACKGROUND_SILENCE_S: Final = 150.0
SWEEP_INTERVAL_S: Final = 0.4
# Presence that was lost is rebuilt within 5 s.
WATCH_TIMEOUT_S: Final = 7.0
SIGNED_OUT_REASONS: Final = frozenset({"DEVICE_REVOKED"})


class Reporter(Protocol):
    """Tells presence_service of this edge; no call waits."""

    def set_state(self, session: AttachedSession, state: DeviceState.ValueType) -> None:
        """Tell the state of a stream of a device."""

    def end_session(self, session: AttachedSession, state: DeviceState.ValueType) -> None:
        """Tell that a stream of a device ended, if it was told before."""

    def watch(self, user_id: str, device_id: str, watched: Sequence[str]) -> None:
        """Replace the users that a device watches."""

    def change_relation(self, user_id: str, other_id: str) -> None:
        """Tell that a block between two users, or what makes them acquainted, has changed."""


class EdgePresence:
    """Tells presence_service of the sessions of this edge, and the sessions of the users they watch.

    Without a `reporter` the deployment has no presence: nothing is reported, and watches are refused.
    """

    def __init__(self, sessions: SessionRegistry, homes: Homes, reporter: Reporter | None, clock: Clock) -> None:
        self._sessions = sessions
        self._homes = homes
        self._reporter = reporter
        self._clock = clock
        # By device id: the session that watches.
        self._watching: dict[str, StreamSession] = {}

    async def run(self) -> None:
        """Report devices that have become silent, or are heard again, until cancelled."""
        while not cancel_requested():
            await self._clock.sleep(SWEEP_INTERVAL_S)
            now = self._clock.monotonic()
            for session in self._sessions:
                if session.reported and _is_silent(session, now) != session.silent:
                    self._report_state(session)
                if session.watched.has_untold:
                    session.watched.flush()

    def change_relation(self, user_id: str, other_id: str) -> None:
        """Tell that a block between two users has changed: what they see of each other is decided again."""
        if self._reporter is not None:
            self._reporter.change_relation(user_id, other_id)

    def start_session(self, session: StreamSession) -> None:
        """Report a session from now on: its device may use the service."""
        session.reported = True
        self._report_state(session)

    def note_frame(self, session: StreamSession, activity: chat_pb2.Activity.ValueType) -> None:
        """Note that a device has sent something, and whether it is in the foreground if it says so."""
        session.note_frame(activity)
        self._report_state(session)

    def end_session(self, session: StreamSession) -> None:
        """Report that a session has ended, and end its watch."""
        if not session.reported:
            return
        session.reported = False
        if self._reporter is None:
            return
        failure = session.outbox.failure
        signed_out = failure is not None and failure.reason in SIGNED_OUT_REASONS
        state = DeviceState.DEVICE_STATE_SIGNED_OUT if signed_out else DeviceState.DEVICE_STATE_CLOSED
        self._reporter.end_session(session.attached_session, state)
        if self._watching.get(session.claims.device_id) is session:
            del self._watching[session.claims.device_id]
            self._reporter.watch(session.claims.user_id, session.claims.device_id, ())

    def watch(self, session: StreamSession, user_ids: Sequence[str]) -> None:
        """Watch exactly these users: the device is told the presence of all, then each change. Raise Disabled."""
        reporter = self._require_reporter()
        session.watched.replace(user_ids, partial(reporter.change_relation, session.claims.user_id))
        self._start_watch(reporter, session)

    async def watch_and_wait(self, session: StreamSession, user_ids: Sequence[str]) -> chat_pb2.Presence:
        """Watch exactly these users, and return the presence of all.

        Raise Disabled, ServiceUnavailable, and SessionSuperseded if the device replaces the watch.
        """
        reporter = self._require_reporter()
        on_first_word = partial(reporter.change_relation, session.claims.user_id)
        session.watched.replace(user_ids, on_first_word, tells_answer=False)
        self._start_watch(reporter, session)
        try:
            return await session.watched.wait_answered(WATCH_TIMEOUT_S)
        except TimeoutError:
            raise ServiceUnavailable("no presence server answers; try again") from None

    def take_presences(self, presences: ReportResponse.Presences) -> None:
        """Tell the devices what presence_service says of the users they watch."""
        for device in presences.devices:
            if (session := self._watching.get(device.device_id)) is not None:
                session.watched.update([encode_presence(each) for each in device.presences])
        for change in presences.changes:
            encoded = [encode_presence(change.presence)]
            for device_id in change.device_ids:
                if (session := self._watching.get(device_id)) is not None:
                    session.watched.update(encoded)

    def _require_reporter(self) -> Reporter:
        if self._reporter is None:
            raise Disabled("this deployment has no presence service")
        return self._reporter

    def _start_watch(self, reporter: Reporter, session: StreamSession) -> None:
        self._watching[session.claims.device_id] = session
        reporter.watch(session.claims.user_id, session.claims.device_id, session.watched.user_ids)

    def _report_state(self, session: StreamSession) -> None:
        if not session.reported:
            return
        session.silent = _is_silent(session, self._clock.monotonic())
        state = _state_of(session)
        foreground = state == DeviceState.DEVICE_STATE_FOREGROUND
        if foreground != session.attached_session.foreground:
            session.attached_session = replace(session.attached_session, foreground=foreground, silent=session.silent)
            if session.home:
                self._homes.set_activity(session.home, session.attached_session)
        if self._reporter is not None:
            self._reporter.set_state(session.attached_session, state)


def _is_silent(session: StreamSession, now: float) -> bool:
    limit = BACKGROUND_SILENCE_S if session.activity == chat_pb2.ACTIVITY_BACKGROUND else FOREGROUND_SILENCE_S
    return now - session.heard_at >= limit


def _state_of(session: StreamSession) -> DeviceState.ValueType:
    if session.silent:
        return DeviceState.DEVICE_STATE_SILENT
    background = session.activity == chat_pb2.ACTIVITY_BACKGROUND
    return DeviceState.DEVICE_STATE_BACKGROUND if background else DeviceState.DEVICE_STATE_FOREGROUND
