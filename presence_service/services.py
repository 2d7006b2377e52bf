"""A presence server, assembled from its stores: its gRPC services and its loops."""

from __future__ import annotations

from typing import Final

from parley.internal.v1 import personal_data_pb2, presence_report_pb2
from parley.presence.v1 import presence_pb2
from presence_service.model.ports import Directory, LastSeenStore, PresenceStore, VisibilityStore
from presence_service.reports.last_seen_writer import LastSeenWriter
from presence_service.reports.lease_watch import LeaseWatch
from presence_service.reports.report import ReportDependencies, Reports
from presence_service.servicers.personal_data import PersonalDataServicer
from presence_service.servicers.presence import PresenceServicer
from presence_service.servicers.report import PresenceReportServicer
from presence_service.watching.channels import RedisChannels
from presence_service.watching.device_watches import DeviceWatches
from presence_service.watching.observer import PresenceObserver
from presence_service.watching.permissions import Permissions
from presence_service.watching.refresher import PermissionRefresher
from presence_service.watching.watches import Watches
from servicekit.audit import AuditRule, AuditTable, Fields
from servicekit.clock import Clock
from servicekit.rpc import Admit
from servicekit.service import ServedService, Service

PRESENCE: Final = presence_pb2.DESCRIPTOR.services_by_name["PresenceService"]
PERSONAL_DATA: Final = personal_data_pb2.DESCRIPTOR.services_by_name["PersonalDataService"]
REPORTS: Final = presence_report_pb2.DESCRIPTOR.services_by_name["PresenceReportService"]


def _visibility(request: presence_pb2.SetVisibilityRequest, _: object) -> Fields:
    audiences = {"online": request.visibility.online, "last_seen": request.visibility.last_seen}
    return {
        name: presence_pb2.Audience.Name(value).removeprefix("AUDIENCE_").lower()
        for name, value in audiences.items()
        if value
    }


PRESENCE_AUDIT: Final[AuditTable] = {"SetVisibility": AuditRule("visibility_change", details=_visibility)}


def presence_services(
    store: PresenceStore,
    last_seen: LastSeenStore,
    settings: VisibilityStore,
    directory: Directory,
    channels: RedisChannels,
    admit: Admit | None,
    drain_seconds: float,
    clock: Clock,
) -> Service:
    """Return the services of a presence server and its loops."""
    permissions = Permissions(settings, directory)
    observer = PresenceObserver(store, last_seen, channels, clock)
    watches = Watches(observer, permissions, clock)
    refresher = PermissionRefresher(watches, permissions, clock)
    devices = DeviceWatches(admit, drain_seconds, clock)
    writer = LastSeenWriter(store, last_seen, clock)
    reports = Reports(ReportDependencies(store, watches, writer, channels.publish_permissions, clock))
    leases = LeaseWatch(store, observer.on_leases, reports.end_all, writer.note, clock)

    def on_reconnected() -> None:
        observer.on_reconnected()
        refresher.refresh_all()

    channels.connect(observer.on_record, refresher.on_changed, devices.on_opened, on_reconnected)
    return Service(
        public=[
            ServedService(
                PRESENCE,
                PresenceServicer(watches, refresher, settings, channels, devices, clock),
                audited=PRESENCE_AUDIT,
            )
        ],
        internal=[
            ServedService(REPORTS, PresenceReportServicer(reports), allowed_callers=["chat"]),
            ServedService(
                PERSONAL_DATA,
                PersonalDataServicer(store, last_seen, settings, channels.publish_permissions),
                allowed_callers=["chat"],
            ),
        ],
        admit=admit,
        components=[leases.run, channels.run, observer.run, watches.run, refresher.run, devices.run, writer.run],
        jobs=[reports.run, devices.run_until_drain],
    )
