"""A notify server, assembled from its stores and providers: its gRPC services and its loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from notify_service.delivery.consumer import EventConsumer
from notify_service.delivery.decider import Decider
from notify_service.delivery.dispatcher import PushDispatcher
from notify_service.delivery.job_loop import JobLoop
from notify_service.delivery.push_times import PushTimes
from notify_service.delivery.queue_meter import QueueMeter
from notify_service.delivery.sender import PushSender
from notify_service.delivery.signed_in import SignedInDevices
from notify_service.delivery.withdrawals import Withdrawals
from notify_service.model.ports import Directory, PreferencesStore, PushedEntryStore, PushQueue, TokenStore, TraceStore
from notify_service.provider_setup import ProviderSet
from notify_service.servicers.admin import AUDITED, NotifyAdminServicer
from notify_service.servicers.decisions import DecisionReader
from notify_service.servicers.notify import NotifyDependencies, NotifyServicer
from notify_service.servicers.personal_data import PersonalDataServicer
from notify_service.servicers.trial import TrialPushes
from parley.internal.v1 import notify_pb2 as admin_pb2
from parley.internal.v1 import personal_data_pb2
from parley.notify.v1 import notify_pb2
from servicekit.clock import Clock
from servicekit.rpc import Admit
from servicekit.service import ServedService, Service
from servicekit.transport import OPERATOR

NOTIFY: Final = notify_pb2.DESCRIPTOR.services_by_name["NotifyService"]
ADMIN: Final = admin_pb2.DESCRIPTOR.services_by_name["NotifyAdminService"]
PERSONAL_DATA: Final = personal_data_pb2.DESCRIPTOR.services_by_name["PersonalDataService"]


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of a notify server."""

    tokens: TokenStore
    preferences: PreferencesStore
    queue: PushQueue
    pushed_entries: PushedEntryStore
    traces: TraceStore


def notify_services(
    stores: Stores,
    providers: ProviderSet,
    directory: Directory,
    admit: Admit | None,
    consumer_name: str,
    clock: Clock,
) -> Service:
    """Return the services of a notify server and its loops. Without `admit` all devices count as signed in."""
    tokens, preferences, queue, pushed_entries, traces = (
        stores.tokens,
        stores.preferences,
        stores.queue,
        stores.pushed_entries,
        stores.traces,
    )
    devices = SignedInDevices(directory if admit is not None else None, tokens, clock)
    decider = Decider(tokens, preferences, directory, devices, clock)
    times = PushTimes(tokens, clock)
    sender = PushSender(providers.providers, tokens, times, clock)
    withdrawals = Withdrawals(decider, directory, pushed_entries, sender)
    dispatcher = PushDispatcher(decider, sender, withdrawals, pushed_entries, traces, clock)
    consumer = EventConsumer(queue, dispatcher, consumer_name, clock)
    job_loop = JobLoop(queue, dispatcher, clock)
    trial = TrialPushes(decider, sender)
    decisions = DecisionReader(traces, directory)
    dependencies = NotifyDependencies(tokens, preferences, decisions, providers, trial, clock)
    return Service(
        public=[ServedService(NOTIFY, NotifyServicer(dependencies))],
        internal=[
            ServedService(
                ADMIN, NotifyAdminServicer(queue, decisions, trial, clock), audited=AUDITED, allowed_callers=[OPERATOR]
            ),
            ServedService(
                PERSONAL_DATA,
                PersonalDataServicer(tokens, preferences, pushed_entries, traces, queue),
                allowed_callers=["chat"],
            ),
        ],
        admit=admit,
        components=[consumer.run, job_loop.run, times.run, QueueMeter(queue, clock).run],
        jobs=[consumer.read, consumer.claim, job_loop.take],
    )
