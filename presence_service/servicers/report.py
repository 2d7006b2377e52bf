"""PresenceReportService: the reports of chat servers."""

from __future__ import annotations

from presence_service.reports.report import Reports
from servicekit.rpc import ByteStream, Call


class PresenceReportServicer:
    """Serves the reports of chat servers."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def Report(self, stream: ByteStream, call: Call) -> None:
        """Serve the report of a chat server until it half-closes it."""
        del call
        await self._reports.serve(stream)
